"""The promise: what the codec may rely on, whatever the network. Every family has to keep it.

A new family is added to `conftest.py`, with a small model of it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aecodec import container
from aecodec.codec import Codec
from aecodec.container import File
from aecodec.errors import FormatError, ModelError
from aecodec.families.base import Mosaic, Weights
from aecodec.metrics import psnr
from aecodec.models import read_weights, write_weights
from aecodec.options import EncodeOptions
from aecodec.picture.padding import pad
from aecodec.tiling import Box, padded, tiles

TILE = 128


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """(331, 420, 3) uint8: waves and noise, 3 x 4 tiles."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:331, :420]
    waves = [np.sin((c + 1) * x / 31 + y / (17 + c)) + np.cos(y / 9 - c) for c in range(3)]
    picture = 128 + 40 * np.stack(waves, -1) + rng.normal(0, 3, (331, 420, 3))
    return picture.clip(0, 255).astype(np.uint8)


def pixels(codec: Codec, data: bytes, *region: int) -> np.ndarray:
    return np.asarray(codec.decompress(data, region or None)).astype(int)  # type: ignore[arg-type]


def test_distances_are_multiples_of_what_they_have_to_be(codec: Codec) -> None:
    geometry = codec.model.family.geometry
    assert container.TILE_UNIT % geometry.padding == 0
    for distance in (geometry.padding, geometry.analysis_halo, geometry.synthesis_halo):
        assert distance % geometry.stride == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (63, 64), (65, 64), (97, 130), (3, 500)])
@pytest.mark.parametrize("quality", [1, 50.5, 100])
def test_any_size_comes_back_at_any_quality(codec: Codec, size: tuple[int, int], quality: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    image = codec.decompress(codec.compress(picture, quality))
    assert (image.size, image.mode) == ((size[1], size[0]), "RGB")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_kinds_of_pictures_survive(codec: Codec, photo: np.ndarray, mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    assert codec.decompress(codec.compress(image)).mode == mode


def test_samples_of_sixteen_bits_come_back_as_such(codec: Codec, photo: np.ndarray) -> None:
    deep = photo.astype(np.uint16) * 257
    back = codec.decompress(codec.compress(deep, 90), as_array=True)
    assert (back.dtype, back.shape) == (np.uint16, deep.shape)
    assert psnr(back, deep, 65535) > 18


def test_quality_buys_fidelity_with_bytes(codec: Codec, photo: np.ndarray) -> None:
    files = [codec.compress(photo, quality) for quality in (1, 25, 50, 75, 100)]
    fidelity = [psnr(photo, np.asarray(codec.decompress(data))) for data in files]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert fidelity == sorted(fidelity)


def test_effort_is_of_the_encoder_alone(codec: Codec, photo: np.ndarray) -> None:
    for effort in (0, 1, 3):
        assert codec.decompress(codec.compress(photo, effort=effort)).size == (144, 96)


def test_analysis_of_a_tile_with_its_halo_is_that_of_the_whole(codec: Codec, large: np.ndarray) -> None:
    """Told by the payloads, since latents are the family's own: they cost the same."""
    family = codec.model.family
    size = padded(large.shape[:2], family.geometry.padding)  # type: ignore[arg-type]
    whole = pad(large, size)[None]
    box = Box(128, 256, 128, 256)
    window = box.with_halo(family.geometry.analysis_halo, size)
    rows, columns = window.slices
    (one,) = family.analyse(whole, [box])
    (other,) = family.analyse(whole[:, rows, columns].copy(), [box.within(window)])
    options = EncodeOptions(effort=0)
    a, b = (family.encode(latents, lambda: whole, 7000, options)[0] for latents in (one, other))
    assert abs(len(a) - len(b)) <= 8  # sums in another order may move a latent across a rounding edge


def test_synthesis_of_windows_is_that_of_the_whole(codec: Codec, large: np.ndarray) -> None:
    family = codec.model.family
    data = container.read(codec.compress(large, 80, tile=TILE))
    size = padded(large.shape[:2], family.geometry.padding)  # type: ignore[arg-type]
    boxes = tiles(size, TILE)
    states = [family.decode([data.tiles[n]], box.size, 8000)[0] for n, box in enumerate(boxes)]
    covered = list(zip(boxes, states, strict=True))
    everything = family.synthesise([Mosaic(Box.whole(size), covered)], Box.whole(size), 8000)[0].astype(int)
    for wanted in (Box(0, 64, 0, 64), Box(112, 160, 96, 144), boxes[-1]):
        window = wanted.with_halo(family.geometry.synthesis_halo, size)
        mosaic = Mosaic(window, [(box, state) for box, state in covered if box.overlap(window)])
        part = family.synthesise([mosaic], wanted.within(window), 8000)
        assert part.shape == (1, *wanted.size, 3)
        assert part.dtype == np.uint8
        assert np.abs(part[0] - everything[wanted.slices]).max() <= 1


def test_tiles_cost_little(codec: Codec, large: np.ndarray) -> None:
    whole, tiled = (codec.compress(large, 70, tile=tile) for tile in (0, TILE))
    assert container.read_header(tiled).tile == TILE
    a, b = (psnr(large, np.asarray(codec.decompress(data))) for data in (whole, tiled))
    assert a - b < 0.3


@pytest.mark.parametrize("tile", [0, TILE])
def test_a_region_is_what_the_whole_shows_there(codec: Codec, large: np.ndarray, tile: int) -> None:
    data = codec.compress(large, 80, tile=tile)
    whole = pixels(codec, data)
    for x, y, width, height in ((0, 0, 1, 1), (419, 330, 1, 1), (100, 120, 77, 40), (250, 0, 13, 331)):
        part = pixels(codec, data, x, y, width, height)
        assert np.abs(part - whole[y : y + height, x : x + width]).max() <= 1


def test_a_file_decodes_to_the_same_picture_whichever_way(
    make: Callable[..., Codec], codec: Codec, large: np.ndarray
) -> None:
    """Twice, in a batch, with any number of threads, by a codec that was sent to another process."""
    data = codec.compress(large, 60, tile=TILE)
    whole = pixels(codec, data)
    others = [make(threads=1), make(threads=2), make(precision="float32"), pickle.loads(pickle.dumps(codec))]
    for other in (codec, *others):
        assert np.abs(pixels(other, data) - whole).max() <= 1
    for image in codec.decompress_batch([data, codec.compress(large[:70, :80]), data]):
        if image.size == (420, 331):
            assert np.abs(np.asarray(image).astype(int) - whole).max() <= 1


def test_batches_hold_what_single_files_hold(codec: Codec, photo: np.ndarray) -> None:
    pictures = [photo, photo[::-1].copy(), photo[:50, :70], np.dstack([photo, photo[:, :, 0]]), photo[:, :, 1]]
    batch = codec.compress_batch(pictures, 70)
    for data, picture, image in zip(batch, pictures, codec.decompress_batch(batch), strict=True):
        assert abs(len(data) - len(codec.compress(picture, 70))) <= 16
        assert np.abs(np.asarray(image).astype(int) - pixels(codec, data)).max() <= 1


def test_targets_are_met(codec: Codec, photo: np.ndarray) -> None:
    size = (len(codec.compress(photo, 1)) + len(codec.compress(photo, 90))) // 2
    assert len(codec.compress(photo, size=size)) <= size
    aim = psnr(photo, np.asarray(codec.decompress(codec.compress(photo, 40)))) - 0.01
    assert psnr(photo, np.asarray(codec.decompress(codec.compress(photo, psnr=aim)))) >= aim


def test_what_is_intact_can_be_had(codec: Codec, large: np.ndarray) -> None:
    data = bytearray(codec.compress(large, 70, tile=TILE))
    whole = pixels(codec, bytes(data))
    data[-5] ^= 255  # the last tile's
    image, damage, filled = codec.salvage(bytes(data))
    assert len(damage) == 1
    assert "tile 11" in damage[0]
    shown = np.asarray(image).astype(int)
    halo = codec.model.family.geometry.synthesis_halo
    assert filled[256:, 384:].all()
    assert filled.sum() == filled[256:, 384:].size
    assert np.abs(shown - whole)[: 256 - halo].max() <= 1
    assert np.abs(shown - whole)[:, : 384 - halo].max() <= 1


def test_forged_payloads_are_format_errors_or_wrong_pictures(codec: Codec, photo: np.ndarray) -> None:
    file = container.read(codec.compress(photo))
    rng = np.random.default_rng(1)
    forged = [b"", b"\1", file.tiles[0][:-1], file.tiles[0] + b"\1", rng.bytes(len(file.tiles[0]))]
    for _ in range(15):
        payload = bytearray(file.tiles[0])
        payload[rng.integers(0, len(payload))] ^= 1 << int(rng.integers(0, 8))
        forged.append(bytes(payload))
    complaints = 0
    for payload in forged:
        try:
            assert codec.decompress(container.write(File(file.header, {}, [payload]))).size == (144, 96)
        except FormatError:
            complaints += 1
    assert complaints > 0


def test_weights_without_what_a_family_needs_are_refused(codec: Codec, family_weights: Path, tmp_path: Path) -> None:
    weights: Weights = read_weights(family_weights)
    path = tmp_path / "poor.safetensors"
    write_weights(path, codec.model.family_name, {"nothing": np.zeros(1)}, weights.metadata)
    with pytest.raises(ModelError, match=r"poor\.safetensors"):
        Codec("cpu", path)


def test_the_same_weights_are_the_same_file(family_weights: Path, tmp_path: Path) -> None:
    weights = read_weights(family_weights)
    name = weights.metadata["family"]
    assert write_weights(tmp_path / "again.safetensors", name, weights.tensors, weights.metadata) == weights.sha256
