"""The promise: a picture without colours comes back without any, by every decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecodec import container
from aecodec.codec import Codec
from aecodec.native import Decoder, library


def neutral(photo: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    grey = photo[:, :, 1].astype(dtype) * (257 if dtype is np.uint16 else 1)
    return np.repeat(grey[:, :, None], 3, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_equal_channels_stay_equal(
    codec: Codec, small_weights: Path, photo: np.ndarray, dtype: type, alpha: bool
) -> None:
    picture = neutral(photo, dtype)
    if alpha:
        picture = np.dstack([picture, 65535 - picture[:, :, :1] if dtype is np.uint16 else 255 - picture[:, :, :1]])
    data = codec.compress(picture, 30, tile=64)
    decoders = [codec, Decoder(small_weights)] if library.available() else [codec]
    for decoder in decoders:
        for region in (None, (3, 5, 70, 40)):
            found = decoder.decompress(data, region, as_array=True)
            assert found.shape[2] == picture.shape[2]
            assert np.array_equal(found[:, :, 0], found[:, :, 1])
            assert np.array_equal(found[:, :, 0], found[:, :, 2])
    by_torch, *others = (decoder.decompress(data, as_array=True).astype(int) for decoder in decoders)
    for other in others:
        assert np.abs(other - by_torch).max() <= (257 if dtype is np.uint16 else 1)


def test_it_is_the_mean_of_what_the_network_makes(codec: Codec, photo: np.ndarray) -> None:
    file = container.read(codec.compress(neutral(photo), 30))
    found = codec.decompress(container.write(file), as_array=True)
    del file.chunks["neut"]  # type: ignore[attr-defined]
    plain = codec.decompress(container.write(file), as_array=True).astype(int)
    assert np.array_equal(found[:, :, 0], (plain.sum(2) + 1) // 3)


def test_a_picture_with_one_coloured_pixel_is_not_neutral(codec: Codec, photo: np.ndarray) -> None:
    picture = neutral(photo)
    picture[50, 60, 2] ^= 1
    assert "neut" not in container.read(codec.compress(picture, 30)).chunks
