"""Both decoders of the same bytes: torch, and libaec as a program in C would call it, its own reader included."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

import numpy as np

from aecodec import container
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.native import build
from aecodec.picture import depth_of

NO_MODEL = bytes(container.MODEL_ID_BYTES)  # stands for the id of a small model, which is made anew each time
FAR = {"aec1": 3, "aec2": 0}  # levels of 255 between the two; in aec1 only symbols that no encoder writes are so far


class Error(ctypes.Structure):
    _fields_ = (("status", c_int), ("message", c_char * 240))


class Info(ctypes.Structure):
    _fields_ = tuple(
        (name, c_uint32)
        for name in ("width", "height", "channels", "quality", "tile", "tiles", "depth", "chunks", "damages", "model")
    )


class Libaec:
    """A model in libaec, and what native/aec.h declares."""

    def __init__(self, weights: bytes, model_id: bytes, pixel_limit: int):
        self.library, self.pixel_limit, self.model = ctypes.CDLL(str(build.TARGET)), pixel_limit, c_void_p()
        arguments = {
            "aec_file_open": (c_void_p, c_size_t, c_uint64, c_void_p, c_void_p),
            "aec_model_open": (c_void_p, c_size_t, c_void_p, c_void_p, c_void_p),
            "aec_decode": (c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p),
            "aec_file_salvage": (c_void_p, c_size_t, c_uint64, c_void_p, c_void_p),
            "aec_file_info": (c_void_p,),
            "aec_file_chunk": (c_void_p, c_uint32, c_char_p, c_void_p),
            "aec_file_close": (c_void_p,),
        }
        for name, types in arguments.items():
            getattr(self.library, name).argtypes = types
        self.library.aec_file_close.restype = None
        self.library.aec_file_info.restype = POINTER(Info)
        self.library.aec_file_chunk.restype = c_void_p
        error = Error()
        if self.library.aec_model_open(weights, len(weights), model_id, byref(self.model), byref(error)):
            raise ValueError(error.message)

    def decode(self, data: bytes) -> np.ndarray | str:
        """The samples as `decompress` gives them, or why not."""
        own = (c_uint8 * len(data)).from_buffer_copy(data)  # stays where it is until the file is closed
        file, error = c_void_p(), Error()
        if self.library.aec_file_open(own, len(data), self.pixel_limit, byref(file), byref(error)):
            return error.message.decode("utf-8", "replace")
        try:
            info = self.library.aec_file_info(file).contents
            shape = (info.height, info.width, info.channels)
            pixels = np.empty(shape, np.uint8 if info.depth == 8 else np.uint16)
            if self.library.aec_decode(file, self.model, None, pixels.ctypes.data, pixels.strides[0], byref(error)):
                return error.message.decode("utf-8", "replace")
            return pixels[:, :, 0] if info.channels == 1 else pixels
        finally:
            self.library.aec_file_close(file)

    def salvage(self, data: bytes) -> tuple[list[str], int] | None:
        """The chunks that are intact, and how many damages there are; None if nothing can be had."""
        own, file, error = (c_uint8 * len(data)).from_buffer_copy(data), c_void_p(), Error()
        if self.library.aec_file_salvage(own, len(data), self.pixel_limit, byref(file), byref(error)):
            return None
        info, names, name = self.library.aec_file_info(file).contents, [], ctypes.create_string_buffer(5)
        for number in range(info.chunks):
            self.library.aec_file_chunk(file, number, name, None)
            names.append(name.value.decode())
        damages = info.damages
        self.library.aec_file_close(file)
        return sorted(names), damages


class Both:
    """A small model in both decoders."""

    def __init__(self, weights: Path, pixel_limit: int):
        self.torch = Codec("cpu", weights, pixel_limit, precision="float32")
        self.libaec = Libaec(weights.read_bytes(), self.torch.model.id, pixel_limit)
        self.far = FAR[self.torch.model.family_name]

    def decode(self, data: bytes) -> tuple[np.ndarray | str, np.ndarray | str]:
        """Of torch and of libaec: samples, or why not."""
        try:
            samples: np.ndarray | str = self.torch.decompress(data, as_array=True)
        except AecodecError as error:
            samples = str(error)
        return samples, self.libaec.decode(data)

    def check_salvage(self, data: bytes) -> None:
        """Raises AssertionError if the two find other parts of a damaged file intact."""
        try:
            file, damage = container.salvage(data, self.libaec.pixel_limit)
            depth_of(file.chunks)
            found: tuple[list[str], int] | None = (sorted(file.chunks), len(damage))
        except AecodecError:
            found = None
        other = self.libaec.salvage(data)
        assert found == other, f"salvaged by torch {found}, by libaec {other}"

    def levels_apart(self, data: bytes) -> float | None:
        """How far pixels are apart, in levels of 255; None if both refuse the file. Raises AssertionError if only one
        does, or if pictures are of other shapes."""
        one, other = self.decode(data)
        if isinstance(one, str) and isinstance(other, str):
            return None
        assert not isinstance(one, str), f"only torch refuses it: {one}"
        assert not isinstance(other, str), f"only libaec refuses it: {other}"
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        return float(np.abs(one.astype(int) - other).max()) * 255 / (255 if one.dtype == np.uint8 else 65535)


def with_model(data: bytes, model_id: bytes) -> bytes:
    """A file of the model NO_MODEL with another one's id, and the checksum of the header accordingly."""
    start = len(container.MAGIC) + 1
    if data[start : start + 4] != NO_MODEL:
        return data
    renamed = data[:start] + model_id + data[start + 4 :]
    for end in range(start + 4, len(data) - 3):
        if data[end : end + 4] == container.crc(data[:end]):
            return renamed[:end] + container.crc(renamed[:end]) + renamed[end + 4 :]
    return renamed
