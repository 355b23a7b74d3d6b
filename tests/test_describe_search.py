"""The promise: an archive finds what is the same but for an edit, what is similar, and what is strange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec import archive
from aecodec.archive import alike, descriptions, outlying
from aecodec.cli import main
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


def test_among_few_nothing_is_strange(made: Path) -> None:
    described = descriptions.load(archive.Archive(made))
    with pytest.raises(AecodecError, match="fewer than 10"):
        outlying.outliers(described[np.arange(5)])


def test_the_commands_delete_nothing_and_speak_json(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    result = CliRunner().invoke(main, ["archive", "duplicates", str(made), "--json"])
    assert result.exit_code == 0
    assert {"best", "others"} == set(json.loads(result.stdout)[0])
    assert "2 groups" in CliRunner().invoke(main, ["archive", "duplicates", str(made)]).stdout
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_picture_that_is_nowhere_is_an_error(made: Path) -> None:
    result = CliRunner().invoke(main, ["archive", "similar", str(made), "nowhere.png"])
    assert result.exit_code == 1
    assert "nowhere.png" in result.output
