"""The promise: other libraries read and write .aec through what they already know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import aecodec
import aecodec.pillow
from aecodec import AecodecError
from aecodec.codec import Codec

numcodecs = pytest.importorskip("numcodecs")
iio = pytest.importorskip("imageio.v3")


@pytest.fixture(autouse=True)
def small_model_everywhere(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aecodec, "_default_codec", lambda: codec)
    monkeypatch.setattr(Codec, "model_for", lambda self, _: self.model)  # the default codec takes a tune
    monkeypatch.setattr(aecodec, "_default_decoder", lambda: codec)
    aecodec.pillow.register(codec)
    yield
    aecodec.pillow.register()


def test_imageio_reads_and_writes_through_pillow(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "x.aec", photo, quality=70)
    data = (tmp_path / "x.aec").read_bytes()
    assert data == codec.compress(photo, 70)
    np.testing.assert_array_equal(iio.imread(tmp_path / "x.aec"), np.asarray(codec.decompress(data)))
    assert iio.improps(tmp_path / "x.aec").shape == (96, 144, 3)


@pytest.mark.parametrize("shape", [(96, 144, 3), (1, 96, 144, 3), (96, 144), (1, 1, 96, 144), (96, 144, 1)])
def test_numcodecs_codes_chunks_of_image_arrays(codec: Codec, photo: np.ndarray, shape: tuple[int, ...]) -> None:
    from aecodec.plugins.numcodecs import Aecodec

    numcodecs.register_codec(Aecodec)  # an installed aecodec has an entry point for it
    chunk = (photo if shape[-1] == 3 else photo[:, :, 0]).reshape(shape)
    coder = numcodecs.get_codec({"id": "aecodec", "quality": 80})
    assert coder == numcodecs.get_codec(coder.get_config())
    data = coder.encode(chunk)
    expected = np.asarray(codec.decompress(codec.compress(chunk.reshape(96, 144, -1), 80)))
    out = np.empty(shape, np.uint8)
    coder.decode(data, out)
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)
    np.testing.assert_array_equal(coder.decode(data), expected)


def test_chunks_that_are_no_single_picture_are_refused(photo: np.ndarray) -> None:
    from aecodec.plugins.numcodecs import Aecodec

    for chunk in (photo.ravel(), np.stack([photo, photo]), photo.astype(np.float32)):
        with pytest.raises(AecodecError):
            Aecodec().encode(chunk)


def test_zarr_3_writes_and_reads_chunks(codec: Codec, photo: np.ndarray) -> None:
    zarr = pytest.importorskip("zarr", "3.0")
    from aecodec.plugins.zarr import Aecodec

    zarr.registry.register_codec("aecodec", Aecodec)  # an installed aecodec has an entry point for it
    stored = zarr.storage.MemoryStore()
    pictures = np.stack([photo, photo[::-1]])
    array = zarr.create_array(
        stored, shape=pictures.shape, chunks=(1, *photo.shape), dtype="uint8", serializer=Aecodec(80), compressors=None
    )
    array[:] = pictures
    again = zarr.open_array(stored, mode="r")[:]
    for decoded, picture in zip(again, pictures, strict=True):
        expected = np.asarray(codec.decompress(codec.compress(np.ascontiguousarray(picture), 80)))
        np.testing.assert_array_equal(decoded, expected)
    assert Aecodec.from_dict(Aecodec(80).to_dict()) == Aecodec(80)
