"""The promise: an archive finds what is the same but for an edit, what is similar, and what is strange."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from aecodec import archive
from aecodec.archive import alike, descriptions, outlying
from aecodec.archive.manifest import Record
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.description import RECORD
from aecodec.errors import AecodecError


def scene(number: int, size: tuple[int, int] = (192, 128)) -> Image.Image:
    """A picture of shapes and colours of its own."""
    g = np.random.default_rng(number)
    coarse = Image.fromarray(g.integers(0, 256, (5, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = np.asarray(coarse, np.float32) + g.normal(0, 4, (size[1], size[0], 1))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> Path:
    root = tmp_path_factory.mktemp("search")
    (root / "photos").mkdir()
    for number in range(12):
        scene(number).save(root / "photos" / f"scene{number:02}.png")
    scene(3).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "photos" / "mirrored.png")
    scene(3).resize((96, 64)).save(root / "photos" / "small.png")
    scene(5).convert("L").convert("RGB").save(root / "photos" / "grey.png")
    scene(5).save(root / "photos" / "zcopy.png")
    noise = np.random.default_rng(1).integers(0, 256, (128, 192, 3), np.uint8)
    Image.fromarray(noise).save(root / "photos" / "noise.png")
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    assert archive.create(root / "photos", root / "arc", 60, **options).problems == []
    return root / "arc"


def test_copies_are_found_and_told_apart(made: Path) -> None:
    opened = archive.Archive(made)
    groups = alike.duplicates(opened, descriptions.load(opened))
    found = {group.best.name: {copy.record.name: list(copy.differs) for copy in group.others} for group in groups}
    third = found.pop(next(name for name in found if name in ("scene03.png", "mirrored.png")))
    assert "96x64 instead of 192x128" in third.pop("small.png")
    assert [reasons[0] for reasons in third.values()] == ["mirrored"]
    (fifth,) = found.values()
    assert fifth.pop("zcopy.png") == ["the same bytes"]
    assert list(fifth) in (["grey.png"], ["scene05.png"])


def small_of(image: Image.Image) -> np.ndarray:
    """A row with the small pictures of a picture."""
    planes = np.asarray(image.resize((8, 8), Image.Resampling.BOX).convert("YCbCr"))
    row = np.zeros(1, RECORD)
    row["luma"], row["chroma"] = planes[..., 0], planes[..., 1:].transpose(2, 0, 1)
    row["width"], row["height"] = image.size
    return row


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_of_the_same_shape_is_told_from_a_smaller_copy(photo: np.ndarray, mirrored: bool) -> None:
    whole = Image.fromarray(photo)
    small, crop = whole.resize((72, 48)), whole.crop((0, 0, 126, 84))
    best, others = small_of(whole), [small_of(ImageOps.mirror(im) if mirrored else im) for im in (small, crop)]
    told = [alike._differences(other, best, mirrored) for other in others]
    assert ["cropped" in reasons for reasons in told] == [False, True]
    assert all(("mirrored" in reasons) == mirrored for reasons in told)


def test_a_copy_that_lost_its_date_is_not_the_best() -> None:
    original = Record("a.jpg", "picture", width=60, height=40, stored=900, taken="2019-07-14T12:00:00")
    copy = replace(original, name="copy.jpg", stored=1000, taken="")
    smaller = replace(original, width=30, height=20, stored=2000)
    assert max((copy, smaller, original), key=alike._worth) is original


def test_pictures_that_show_nothing_are_not_stretched_until_they_do() -> None:
    rows = np.zeros(2, RECORD)
    rows["luma"] = np.random.default_rng(0).integers(100, 102, (2, 8, 8))
    rows["chroma"] = 128
    assert alike.distances(*2 * [alike.shapes(rows)]).max() < alike.LIMIT
    rows["luma"][1] += 100  # a black frame is no copy of a grey one
    assert alike.distances(*2 * [alike.shapes(rows)])[0, 1] > alike.LIMIT


def test_a_picture_is_most_similar_to_itself(made: Path) -> None:
    described = descriptions.load(archive.Archive(made))
    first, *others = alike.similar(described, alike.described_as(described, "scene07.png"), 4)
    assert (first.record.name, first.distance) == ("scene07.png", 0)
    assert len(others) == 3
    assert all(other.distance > 0 for other in others)


def test_a_picture_from_elsewhere_finds_its_like(made: Path, tmp_path: Path, small_weights: Path) -> None:
    scene(8, (160, 120)).save(tmp_path / "other.png")
    arguments = ["archive", "similar", str(made), str(tmp_path / "other.png"), "--model", str(small_weights)]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--json", "-n", "1"])
    assert [one["name"] for one in json.loads(result.stdout)] == ["scene08.png"]


def test_what_is_strange_is_named_with_the_reason(made: Path) -> None:
    pytest.importorskip("sklearn")
    first = outlying.outliers(descriptions.load(archive.Archive(made)), 3)[0]
    assert first.record.name == "noise.png"
    assert any("noisier" in reason or "noise" in reason for reason in first.reasons)
    result = CliRunner().invoke(main, ["archive", "outliers", str(made), "-n", "2"])
    assert result.exit_code == 0
    assert "noise.png" in result.stdout.splitlines()[0]


def test_what_is_coded_without_loss_is_told(codec: Codec) -> None:
    """Its bits would tell of latents that are not there."""
    photos = [codec.describe(scene(number), 98).record() for number in range(12)]
    page = np.full((128, 192, 3), 255, np.uint8)
    page[::3] = (0, 0, 160)
    drawn = codec.describe(codec.compress(page, 98)).record()
    assert not drawn["bits"].any()
    reasons = outlying._reasons(np.concatenate([*photos, drawn]))
    assert reasons[-1][:2] == ["drawn: coded without loss", "few colours, text-like"]
    assert not any("drawn" in reason for own in reasons[:-1] for reason in own)


def test_among_few_nothing_is_strange(made: Path) -> None:
    described = descriptions.load(archive.Archive(made))
    with pytest.raises(AecodecError, match="fewer than 10"):
        outlying.outliers(described[np.arange(5)])


def test_the_commands_delete_nothing_and_speak_json(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    result = CliRunner().invoke(main, ["archive", "duplicates", str(made), "--json"])
    assert result.exit_code == 0
    group = json.loads(result.stdout)[0]
    assert {"best", "others"} == set(group)
    assert group["best"]["width"] == 192
    assert "2 groups" in CliRunner().invoke(main, ["archive", "duplicates", str(made)]).stdout
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_names_are_the_same_in_every_locale(
    tmp_path: Path, made: Path, small_weights: Path, locale: dict[str, str]
) -> None:
    (tmp_path / "photos").mkdir()
    scene(1).save(tmp_path / "photos" / "Übersee 夏.png")
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    archive.create(tmp_path / "photos", tmp_path / "arc", 60, **options)
    for name in ("Übersee 夏.png", str(tmp_path / "photos" / "Übersee 夏.png")):
        words = ["archive", "similar", str(tmp_path / "arc"), name, "--model", str(small_weights), "--device", "cpu"]
        command = [sys.executable, "-m", "aecodec", *words, "--json"]
        result = subprocess.run(command, capture_output=True, env={**os.environ, **locale}, timeout=120)
        assert result.returncode == 0, result.stderr
        assert b"bersee" in result.stdout


def test_a_picture_that_is_nowhere_is_an_error(made: Path) -> None:
    result = CliRunner().invoke(main, ["archive", "similar", str(made), "nowhere.png"])
    assert result.exit_code == 1
    assert "nowhere.png" in result.output
