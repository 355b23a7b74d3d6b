"""The promise: of a damaged file, everything that is intact can be had, and what is lost is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec import container
from aecodec.canvas import LOST
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import FormatError
from aecodec.picture.filling import fill
from aecodec.tiling import Box

TILE = 64
HALO = 96  # pixels around a lost tile that depend on it
WIDTH, HEIGHT = 420, 330  # 7 x 6 tiles


@pytest.fixture
def picture(photo: np.ndarray) -> Image.Image:
    """With an alpha channel, EXIF and an ICC profile."""
    tiled = np.tile(photo, (4, 3, 1))[:HEIGHT, :WIDTH]
    image = Image.fromarray(np.dstack([tiled, tiled[:, :, 0]]))
    exif = Image.Exif()
    exif[0x010F] = "somebody's camera"
    image.info |= {"exif": exif.tobytes(), "icc_profile": b"profile" * 10}
    return image


def changed(data: bytes, *places: int) -> bytes:
    broken = bytearray(data)
    for place in places:
        broken[place] ^= 0xFF
    return bytes(broken)


def place_of_tile(data: bytes, number: int) -> int:
    """Its first byte."""
    return len(data) - sum(len(tile) + 4 for tile in container.read(data).tiles[number:])


def test_an_undamaged_file_is_as_without_salvage(codec: Codec, picture: Image.Image) -> None:
    data = codec.compress(picture, tile=TILE)
    image, damage, filled = codec.salvage(data)
    assert not filled.any()
    assert damage == []
    assert image == codec.decompress(data)


def test_intact_tiles_of_a_damaged_picture(codec: Codec, picture: Image.Image) -> None:
    data = codec.compress(picture, tile=TILE)
    whole = np.asarray(codec.decompress(data)).astype(int)
    number = 9  # second row, third column
    broken = changed(data, place_of_tile(data, number))
    with pytest.raises(FormatError, match="tile 9"):
        codec.decompress(broken)
    image, damage, filled = codec.salvage(broken)
    assert len(damage) == 1
    assert re.match(r"damaged: tile 9, bytes \d+ to \d+, .* \(pixels from 128,64 on\)", damage[0])
    pixels = np.asarray(image).astype(int)
    assert filled[64:128, 128:192].all()
    assert filled.sum() == TILE**2
    lost, ground = pixels[64:128, 128:192, :3], whole[64:128, 128:192, :3]
    assert np.square(lost - ground).mean() < 0.7 * np.square(LOST - ground).mean()  # better than grey
    far = np.ones(pixels.shape[:2], bool)
    far[: 128 + HALO, 128 - HALO : 192 + HALO] = False
    assert far.mean() > 0.3
    assert np.abs(pixels - whole)[far].max() <= 1  # sums in another order may round to the neighbouring level
    near = np.abs(pixels - whole)[64 - HALO // 2 : 128 + HALO // 2, 128 - HALO // 2 : 192 + HALO // 2]
    assert np.median(near) < 16  # less exact, but the picture
    assert (pixels[:, :, 3] == whole[:, :, 3]).all()
    region, _, inside = codec.salvage(broken, region=(150, 90, 100, 20))
    assert (inside == filled[90:110, 150:250]).all()
    assert np.abs(np.asarray(region).astype(int) - pixels[90:110, 150:250]).max() <= 1


def test_the_beginning_of_a_truncated_picture(codec: Codec, picture: Image.Image) -> None:
    data = codec.compress(picture, tile=TILE)
    image, damage, filled = codec.salvage(data[: place_of_tile(data, 30) + 1])
    assert filled[320:].all()
    assert [re.search(r"tile \d+", phrase)[0] for phrase in damage] == [f"tile {k}" for k in range(30, 42)]  # type: ignore[index]
    whole = np.asarray(codec.decompress(data)).astype(int)
    assert np.abs(np.asarray(image)[: 256 - HALO] - whole[: 256 - HALO]).max() <= 1


@pytest.mark.parametrize("tile", [0, TILE])
def test_pixels_survive_damaged_metadata(codec: Codec, picture: Image.Image, tile: int) -> None:
    data = codec.compress(picture, tile=tile)
    whole = codec.decompress(data)
    image, damage, _ = codec.salvage(changed(data, data.index(b"exif") + 20))
    assert len(damage) == 1
    assert "chunk exif" in damage[0]
    assert "exif" not in image.info
    assert image.info["icc_profile"] == picture.info["icc_profile"]
    assert np.array_equal(np.asarray(image), np.asarray(whole))
    image, damage, _ = codec.salvage(changed(data, data.index(b"ALPH") + 20))
    assert image.mode == "RGB"
    assert damage[-1] == "the alpha channel is lost"
    assert np.array_equal(np.asarray(image), np.asarray(whole)[:, :, :3])


def test_a_damaged_length_of_a_chunk_loses_no_tile(codec: Codec, picture: Image.Image) -> None:
    data = codec.compress(picture, tile=TILE)
    image, damage, _ = codec.salvage(changed(data, data.index(b"ALPH") + 4))
    assert not any("tile" in phrase for phrase in damage)
    assert np.array_equal(np.asarray(image), np.asarray(codec.decompress(data))[:, :, :3])


def test_where_nothing_is_intact_nothing_is_returned(codec: Codec, photo: np.ndarray) -> None:
    data = codec.compress(photo)
    with pytest.raises(FormatError, match="nothing can be salvaged"):
        codec.salvage(changed(data, len(data) - 9))
    with pytest.raises(FormatError, match="header"):
        codec.salvage(changed(data, 8))


def test_the_command_salvages_and_still_tells_of_the_damage(
    codec: Codec, picture: Image.Image, small_weights: Path, tmp_path: Path
) -> None:
    data = codec.compress(picture, tile=TILE)
    path, target = tmp_path / "a.aec", tmp_path / "a.png"
    path.write_bytes(changed(data, place_of_tile(data, 0), place_of_tile(data, 41)))
    words = ["decompress", str(path), "--model", str(small_weights)]
    assert CliRunner().invoke(main, words).exit_code == 1
    assert not target.exists()
    result = CliRunner().invoke(main, [*words, "--salvage"])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert (
        f"{path}: only partly salvaged to {target}, what is lost filled from around it: damaged: tile 0, bytes "
        in result.stderr
    )
    assert "tile 41, bytes" in result.stderr
    assert Image.open(target).size == (WIDTH, HEIGHT)
    path.write_bytes(data)
    assert CliRunner().invoke(main, [*words, "--salvage", "-f"]).exit_code == 0


def test_a_filled_tile_goes_over_from_one_side_to_the_other() -> None:
    ramp = np.repeat(np.linspace(10, 240, 200)[None], 160, 0).round().astype(np.uint8)
    broken = ramp.copy()
    box = Box(48, 112, 64, 128)
    broken[box.slices] = 0
    found = fill(broken, [box])
    assert np.abs(found.astype(int) - ramp).max() <= 3
    assert np.array_equal(fill(np.full((64, 64, 3), 9, np.uint8), [Box(0, 64, 0, 64)]), np.full((64, 64, 3), 9))
    deep = fill(broken.astype(np.uint16) * 257, [box])
    assert np.abs(deep / 257 - ramp).max() <= 3


def test_the_mask_is_turned_with_the_picture(codec: Codec, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.info["exif"] = exif.tobytes()
    data = codec.compress(picture, tile=TILE)
    image, _, filled = codec.salvage(changed(data, place_of_tile(data, 0)), upright=True)
    assert image.size == (HEIGHT, WIDTH)
    assert filled.shape == (WIDTH, HEIGHT)
    assert filled[:64, -64:].all()
    assert filled.sum() == TILE**2
