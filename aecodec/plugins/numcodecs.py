"""Chunks of image arrays as .aec files, for Zarr: `numcodecs.get_codec({"id": "aecodec", "quality": 60})`. Lossy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

import aecodec
from aecodec.errors import AecodecError
from aecodec.options import EncodeOptions


class Aecodec(Codec):
    """One picture per chunk, with the default model: uint8 of shape (..., H, W, 3), (..., H, W, 4) or (..., H, W),
    where only the last dimensions are longer than 1.

    quality: 1..100, 50 if nothing else is asked for. options: as of `aecodec.compress`, but `tune` is "psnr": what is
    kept in arrays is measured more often than looked at.
    """

    codec_id = "aecodec"  # "aec" would be taken for CCSDS 121.0, Adaptive Entropy Coding

    def __init__(self, quality: float | None = None, **options: Any):
        self._config = {"quality": quality, **options} if quality is not None else options
        EncodeOptions.parse(self._config)  # now rather than at the first chunk

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id, **self._config}

    def __repr__(self) -> str:
        return f"Aecodec({', '.join(f'{name}={value!r}' for name, value in self._config.items())})"

    def encode(self, buf: Any) -> bytes:
        array = ensure_ndarray(buf)
        dimensions = 3 if array.ndim > 2 and array.shape[-1] in (1, 3, 4) else 2
        if array.ndim < 2 or array.size != np.prod(array.shape[-dimensions:]):
            raise AecodecError(f"chunk of shape {array.shape}; expected one picture, as (1, H, W, 3)")
        return aecodec.compress(array.reshape(array.shape[-dimensions:]), **{"tune": "psnr", **self._config})

    def decode(self, buf: Any, out: Any = None) -> Any:
        return ndarray_copy(np.asarray(aecodec.decompress(ensure_bytes(buf))), out)
