"""The promise: an archive knows what its pictures are like; nothing depends on it, and it can be made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strange_pictures
from click.testing import CliRunner
from PIL import Image

from aecodec import archive
from aecodec.archive import descriptions
from aecodec.archive.descriptions import SUFFIX
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError

SHARD = 60_000


@pytest.fixture
def options(small_weights: Path) -> dict[str, Any]:
    return {"model": small_weights, "device": "cpu", "shard_size": SHARD, "min_psnr": None, "min_saving": 0.0}


@pytest.fixture
def made(photo: np.ndarray, tmp_path: Path, options: dict[str, Any]) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(np.roll(photo, 40 * number, 1)).save(tmp_path / "photos" / f"{number}.png")
    Image.fromarray(photo).save(tmp_path / "photos" / "same.png")
    (tmp_path / "photos" / "notes.txt").write_text("sunny")
    assert archive.create(tmp_path / "photos", tmp_path / "arc", **options).problems == []
    return tmp_path / "arc"


def side_files(arc: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in arc.glob("*" + SUFFIX)}


def test_create_describes_each_picture_once(made: Path, codec: Codec) -> None:
    opened = archive.Archive(made)
    described = descriptions.load(opened)
    assert [item.name for item in described.items] == ["0.png", "1.png", "2.png", "3.png"]
    assert described.missing == described.damaged == []
    for number, item in enumerate(described.items):
        assert descriptions.description_of(described, number).to_bytes() == codec.describe(item.read()).to_bytes()


def test_describe_makes_the_same_again(made: Path, small_weights: Path) -> None:
    """As of an archive that was made before there were descriptions."""
    before = side_files(made)
    assert len(before) > 1
    for name in before:
        (made / name).unlink()
    assert len(descriptions.load(archive.Archive(made)).missing) == 4
    report = archive.describe(made, device="cpu", model=small_weights)
    assert (dict(report.counts), report.problems) == ({"described": 4, "present": 0}, [])
    assert side_files(made) == before
    assert archive.describe(made, device="cpu", model=small_weights).counts["present"] == 4


def test_kept_pictures_are_described_when_asked_for(
    photo: np.ndarray, tmp_path: Path, options: dict[str, Any], small_weights: Path
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "a.png")
    Image.fromarray(photo).save(tmp_path / "photos" / "b.jpg", quality=90)
    (tmp_path / "photos" / "raw.dng").write_bytes(strange_pictures.raw())
    archive.create(tmp_path / "photos", tmp_path / "arc", 60, jpeg="keep", **options)
    opened = archive.Archive(tmp_path / "arc")
    assert [opened[name].record.kind for name in sorted(opened)] == ["picture", "original", "original"]
    assert descriptions.load(opened).missing == ["b.jpg", "raw.dng"]
    report = archive.describe(tmp_path / "arc", device="cpu", model=small_weights)
    assert (dict(report.counts), report.problems) == ({"described": 1, "present": 1}, [])
    assert [note.partition(":")[0] for note in report.notes] == ["raw.dng"]
    described = descriptions.load(archive.Archive(tmp_path / "arc"))
    first, second = (descriptions.description_of(described, number) for number in range(2))
    assert (first.model, first.quality) == (second.model, second.quality)
    assert np.abs(first.luma.astype(int) - second.luma).max() < 8
    assert archive.describe(tmp_path / "arc", device="cpu", model=small_weights).counts["described"] == 0


def test_damaged_descriptions_are_written_anew(made: Path, small_weights: Path) -> None:
    whole = side_files(made)
    name, data = next(iter(whole.items()))
    for damaged in (data[:-30], b"", b"PK", data[:500] + b"\xff" * 40 + data[540:]):
        (made / name).write_bytes(damaged)
        with pytest.raises(FormatError, match="describe writes it anew"):
            descriptions.read(archive.Archive(made).folder, name.removesuffix(SUFFIX))
        assert descriptions.load(archive.Archive(made)).damaged[0][0] == name
        report = archive.verify(made, model=small_weights)
        assert ([name for name, _ in report.problems], report.counts["failed"]) == ([name], 0)  # no picture suffers
        assert archive.describe(made, device="cpu", model=small_weights).counts["described"] > 0
        assert side_files(made) == whole


def test_every_bit_flip_of_descriptions_is_found(made: Path) -> None:
    name, data = next(iter(side_files(made).items()))
    folder = archive.Archive(made).folder
    for bit in range(0, len(data) * 8, 7):
        (made / name).write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        with pytest.raises(FormatError, match="describe writes it anew"):
            descriptions.read(folder, name.removesuffix(SUFFIX))


def test_descriptions_of_another_version_are_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(side_files(made)))
    monkeypatch.setattr(descriptions, "VERSION", 2)
    with pytest.raises(FormatError, match="descriptions of version 1; this aecodec reads 2"):
        descriptions.read(archive.Archive(made).folder, name.removesuffix(SUFFIX))


def test_an_archive_in_one_file_has_them_beside_it(made: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    archive.create(tmp_path / "photos", tmp_path / "one.zip", **options)
    assert len(descriptions.load(archive.Archive(tmp_path / "one.zip")).items) == 4
    assert not archive.Archive(tmp_path / "one.zip").notes


def test_too_few_descriptions_are_named_with_the_cure(made: Path) -> None:
    for name in side_files(made):
        (made / name).unlink()
    with pytest.raises(AecodecError, match="aecodec archive describe"):
        descriptions.load_some(archive.Archive(made))


def test_the_command_describes(made: Path, small_weights: Path) -> None:
    for name in side_files(made):
        (made / name).unlink()
    arguments = ["archive", "describe", str(made), "--device", "cpu", "--model", str(small_weights)]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["described"] == 4
    assert "4 there already" in CliRunner().invoke(main, arguments).output
