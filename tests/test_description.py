"""The promise: a description tells what a picture is like, from its latents alone, in a record that stays readable."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aecodec
from aecodec import canvas, container, description
from aecodec.codec import Codec
from aecodec.description import RECORD, Description
from aecodec.errors import AecodecError, FormatError


def small(picture: np.ndarray) -> np.ndarray:
    """The luma of a picture in 8x8 pixels."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX).convert("YCbCr"))[:, :, 0].astype(int)


def test_a_description_shows_the_picture_in_small(codec: Codec, photo: np.ndarray) -> None:
    described = codec.describe(codec.compress(photo, 90))
    assert np.abs(described.luma - small(photo)).mean() < 6
    assert (described.width, described.height, described.quality) == (144, 96, 90)
    assert described.model == codec.model.id.hex()


def test_padding_does_not_show(codec: Codec) -> None:
    picture = np.full((70, 130, 3), 40, np.uint8)
    picture[:, 65:] = 210
    described = codec.describe(codec.compress(picture, 90))
    assert np.abs(described.luma - small(picture)).max() < 12


def test_a_picture_of_tiles_is_described_as_one_without(codec: Codec, photo: np.ndarray) -> None:
    picture = np.tile(photo, (3, 2, 1))
    one, tiled = (codec.describe(codec.compress(picture, 80, tile=tile)) for tile in (0, 64))
    for name in ("luma", "chroma", "histogram", "features", "hyper", "bits"):
        difference = getattr(one, name).astype(int) - getattr(tiled, name)
        assert np.abs(difference).mean() < 6, name


def test_describing_a_file_makes_no_pixels(codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.compress(photo, 50)
    monkeypatch.setattr(codec.model.family, "synthesise", None)
    monkeypatch.setattr(canvas, "pictures", None)
    assert codec.describe(data).bpp == pytest.approx(8 * len(data) / (96 * 144))


def test_what_is_coded_without_loss_is_described_too(codec: Codec) -> None:
    """And what the network makes of it is not."""
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[::3, :64] = (0, 0, 160)
    data = codec.compress(picture, 98)
    assert container.PATCHES in container.read(data, 2**20).chunks
    assert np.abs(codec.describe(data).luma - small(picture)).max() <= 3


def test_a_picture_is_described_as_its_file(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    file = codec.describe(codec.compress(photo, 60, effort=0))
    for given in (path, str(path), photo, Image.fromarray(photo), path.read_bytes(), io.BytesIO(path.read_bytes())):
        described = codec.describe(given, 60)
        assert np.array_equal(described.record()["luma"], file.record()["luma"])
        assert np.array_equal(described.record()["bits"], file.record()["bits"])


def test_an_aec_file_is_recognised_however_it_is_given(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    data = codec.compress(photo, 60)
    path = tmp_path / "a.aec"
    path.write_bytes(data)
    expected = codec.describe(data).to_bytes()
    for given in (path, str(path), memoryview(data), io.BytesIO(data)):
        assert codec.describe(given).to_bytes() == expected


def test_a_record_is_small_and_comes_back(codec: Codec, photo: np.ndarray) -> None:
    described = codec.describe(photo)
    data = described.to_bytes()
    assert len(data) == 667
    assert Description.from_bytes(data).to_bytes() == data
    assert Description.of_record(described.record()).luma.dtype == np.uint8


def test_the_record_is_what_archives_hold_for_ever() -> None:
    """A change of any of this needs another version."""
    fields = [(name, kind.base.str, kind.shape, offset) for name, (kind, offset, *_) in (RECORD.fields or {}).items()]
    assert description.VERSION == 1
    assert fields == [
        ("model", "|u1", (4,), 0),
        ("quality", "<u2", (), 4),
        ("width", "<u4", (), 6),
        ("height", "<u4", (), 10),
        ("bpp", "<f4", (), 14),
        ("luma", "|u1", (8, 8), 18),
        ("chroma", "|u1", (2, 8, 8), 82),
        ("histogram", "|u1", (72,), 210),
        ("features", "|u1", (128,), 282),
        ("hyper", "|u1", (2, 96), 410),
        ("bits", "|u1", (64,), 602),
    ]


def test_another_version_or_length_is_refused(codec: Codec, photo: np.ndarray) -> None:
    data = codec.describe(photo).to_bytes()
    with pytest.raises(FormatError, match="version 2"):
        Description.from_bytes(b"\2" + data[1:])
    with pytest.raises(FormatError, match="666 bytes"):
        Description.from_bytes(data[:-1])


def test_companding_keeps_small_numbers_apart() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.diff(description.expanded(values)).min() > 0
    assert description.expanded(np.array([128], np.uint8), signed=True) == 0


def test_a_family_that_cannot_describe_says_so(codec: Codec, photo: np.ndarray) -> None:
    class Other:
        geometry = codec.model.family.geometry

    model = replace(codec.model, family_name="other", family=Other())  # type: ignore[arg-type]
    data = codec.compress(photo, 50)
    with pytest.raises(AecodecError, match="family other do not describe"):
        description.describe(container.read(data, 2**20), model, len(data))


def test_a_damaged_file_is_refused(codec: Codec, photo: np.ndarray) -> None:
    data = bytearray(codec.compress(photo, 50))
    data[-20] ^= 1
    with pytest.raises(FormatError):
        codec.describe(bytes(data))


def test_the_package_describes() -> None:
    assert aecodec.describe(np.full((48, 64, 3), 200, np.uint8)).luma.mean() == pytest.approx(200, abs=2)
