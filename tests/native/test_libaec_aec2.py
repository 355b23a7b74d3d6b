"""The promise: libaec decodes aec2 to the very pixels that torch's exact decoder gives, on every kind of machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from aecodec.codec import Codec
from aecodec.errors import ModelError
from aecodec.native import Decoder, library


@pytest.fixture(scope="module")
def by_torch(small_aec2_weights: Path) -> Codec:
    return Codec("cpu", small_aec2_weights)


@pytest.fixture(scope="module")
def by_libaec(small_aec2_weights: Path) -> Decoder:
    if not library.available():
        pytest.skip("libaec was not built")
    return Decoder(small_aec2_weights, threads=2)


def same(by_torch: Codec, by_libaec: Decoder, data: bytes) -> np.ndarray:
    expected, found = (codec.decompress(data, as_array=True) for codec in (by_torch, by_libaec))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    return np.asarray(found)


@pytest.mark.parametrize("quality", [1, 37.5, 70, 100])
def test_pixels_are_equal_at_all_qualities(
    by_torch: Codec, by_libaec: Decoder, photo: np.ndarray, quality: float
) -> None:
    found = same(by_torch, by_libaec, by_torch.compress(photo, quality, effort=0))
    assert found.std() > 5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 300), (96, 63), (65, 129)])
def test_pixels_are_equal_at_all_sizes(
    by_torch: Codec, by_libaec: Decoder, photo: np.ndarray, height: int, width: int
) -> None:
    same(by_torch, by_libaec, by_torch.compress(np.resize(photo, (height, width, 3)), 60, effort=0))


def test_kinds_of_pictures(by_torch: Codec, by_libaec: Decoder, photo: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    black_and_white = (noise > 127).astype(np.uint8) * 255
    deep = photo.astype(np.uint16) * 257
    for picture in (photo[:, :, 0], np.dstack([photo, photo[:, :, :1]]), noise, black_and_white, deep):
        same(by_torch, by_libaec, by_torch.compress(picture, 90, effort=0))


def test_tiles_regions_and_threads(
    by_torch: Codec, by_libaec: Decoder, small_aec2_weights: Path, photo: np.ndarray
) -> None:
    data = by_torch.compress(np.tile(photo, (3, 2, 1)), 60, effort=0, tile=64)
    whole = same(by_torch, by_libaec, data)
    for region in ((0, 0, 10, 10), (70, 130, 100, 33), (200, 200, 88, 88)):
        x, y, width, height = region
        part = by_libaec.decompress(data, region, as_array=True)
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])
    one = Decoder(small_aec2_weights, threads=1).decompress(data, as_array=True)
    np.testing.assert_array_equal(one, whole)


def test_a_searched_file_is_like_any_other(by_torch: Codec, by_libaec: Decoder, photo: np.ndarray) -> None:
    same(by_torch, by_libaec, by_torch.compress(photo, 80, effort=2))


@pytest.mark.parametrize("kernels", ["plain", "avx2", "avx512"])
def test_older_processors_give_the_same_pixels(
    by_torch: Codec,
    small_aec2_weights: Path,
    photo: np.ndarray,
    older: Callable[[str, Path, bytes], np.ndarray],
    kernels: str,
) -> None:
    data = by_torch.compress(photo, 70, effort=0)
    found = older(kernels, small_aec2_weights, data)
    np.testing.assert_array_equal(found, by_torch.decompress(data, as_array=True))


def test_sums_that_do_not_fit_are_refused(small_aec2_weights: Path, tmp_path: Path) -> None:
    tensors: dict[str, Any] = load_file(small_aec2_weights)
    tensors["decoder.synthesis.enter.first.bias"][:] = 2**30
    with safe_open(small_aec2_weights, "numpy") as file:
        save_file(tensors, tmp_path / "wrong.safetensors", file.metadata())
    with pytest.raises(ModelError, match=r"synthesis.enter.first"):
        Decoder(tmp_path / "wrong.safetensors")
