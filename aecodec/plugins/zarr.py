"""Chunks of Zarr 3 arrays as .aec files: `zarr.create_array(..., serializer=aecodec.plugins.zarr.Aecodec(quality=60))`.

Lossy. Installed, an array that was written so opens without a word: zarr finds the codec by its entry point.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import parse_named_configuration

from aecodec.plugins.numcodecs import Aecodec as Coder

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "aecodec"


@dataclass(frozen=True, init=False)
class Aecodec(ArrayBytesCodec):
    """One picture per chunk, with the default model; shapes, dtypes and options as of `plugins.numcodecs.Aecodec`."""

    is_fixed_size = False
    configuration: dict[str, Any] = field(hash=False)

    def __init__(self, quality: float | None = None, **options: Any):
        config = Coder(quality, **options).get_config()
        object.__setattr__(self, "configuration", {name: value for name, value in config.items() if name != "id"})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Aecodec:
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        return cls(**(configuration or {}))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": self.configuration}

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = await asyncio.to_thread(Coder(**self.configuration).encode, chunk_data.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        pixels = await asyncio.to_thread(Coder(**self.configuration).decode, chunk_data.to_bytes())
        dtype = chunk_spec.dtype.to_native_dtype()
        array = np.asarray(pixels).astype(dtype, copy=False).reshape(chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("the size of a compressed chunk is not known before")
