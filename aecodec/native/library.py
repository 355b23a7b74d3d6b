"""libaec by ctypes: structures and functions of native/aec.h, and its errors as ours."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aecodec.container import MODEL_ID_BYTES, Header
from aecodec.errors import AecodecError, FormatError, LimitError, ModelError
from aecodec.native.build import TARGET
from aecodec.picture import Samples
from aecodec.tiling import Box

MEMORY, UNKNOWN_FAMILY = 4, 6
ERRORS = {1: FormatError, 2: ModelError, 3: LimitError}


class UnknownFamily(ModelError):
    """The weights are of a family of networks that libaec does not know; torch may."""


class _Error(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("message", ctypes.c_char * 240))


class _Options(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("x", "y", "width", "height", "channels", "depth", "threads"))


@lru_cache(maxsize=1)
def _library(path: Path = TARGET) -> ctypes.CDLL | None:
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    signatures = {
        "aec_file_open": (pointer, size, ctypes.c_uint64, pointer, pointer),
        "aec_file_lose": (pointer, ctypes.c_uint32),
        "aec_file_close": (pointer,),
        "aec_model_open": (pointer, size, ctypes.c_char_p, pointer, pointer),
        "aec_model_close": (pointer,),
        "aec_decode": (pointer, pointer, pointer, pointer, size, pointer),
        "aec_instructions": (),
    }
    for name, arguments in signatures.items():
        function = getattr(loaded, name)
        function.argtypes = arguments
        function.restype = None if name.endswith(("close", "lose")) else ctypes.c_int
    loaded.aec_instructions.restype = ctypes.c_char_p
    return loaded


def available() -> bool:
    """Whether libaec was built."""
    return _library() is not None


def instructions() -> str:
    """What its convolutions use on this machine: "avx512", "avx2", "neon" or "plain"."""
    library = _library()
    return "" if library is None else str(library.aec_instructions().decode())


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise AecodecError("libaec is not built: install a C compiler and install again, or pip install torch")
    return library


def _check(status: int, error: _Error) -> None:
    if status == MEMORY:
        raise MemoryError(error.message.decode())
    if status == UNKNOWN_FAMILY:
        raise UnknownFamily(error.message.decode())
    if status:
        raise ERRORS.get(status, AecodecError)(error.message.decode("utf-8", "replace"))


def _address(data: bytes) -> Any:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)


class NativeModel:
    """An unpacked weights file. Several threads may decode with it at the same time.

    Raises UnknownFamily if libaec does not know its family, ModelError if it is no weights file.
    """

    def __init__(self, data: bytes, sha256: str):
        library, error, handle = _loaded(), _Error(), ctypes.c_void_p()
        name = bytes.fromhex(sha256)[:MODEL_ID_BYTES]
        status = library.aec_model_open(_address(data), len(data), name, ctypes.byref(handle), ctypes.byref(error))
        _check(status, error)
        self.handle = handle
        weakref.finalize(self, library.aec_model_close, handle)

    def decode(
        self, data: bytes, lost: Collection[int], header: Header, area: Box, depth: int, threads: int
    ) -> Samples:
        """The colours of a part of a picture, (H, W, 3) or (H, W), uint8, or uint16 if depth is more than 8.

        data: the file. lost: numbers of tiles that are not to be decoded but grey. header: of the file. area: in
        pixels. Raises FormatError if a payload is damaged.
        """
        library, error, file = _loaded(), _Error(), ctypes.c_void_p()
        limit = header.pixels
        status = library.aec_file_open(_address(data), len(data), limit, ctypes.byref(file), ctypes.byref(error))
        _check(status, error)
        for number in lost:
            library.aec_file_lose(file, number)
        try:
            colours = 1 if header.channels < 3 else 3
            pixels: Samples = np.empty((area.height, area.width, colours), np.uint8 if depth == 8 else np.uint16)
            options = _Options(area.left, area.top, area.width, area.height, colours, depth, threads)
            place = pixels.ctypes.data_as(ctypes.c_void_p)
            status = library.aec_decode(
                file, self.handle, ctypes.byref(options), place, pixels.strides[0], ctypes.byref(error)
            )
            _check(status, error)
        finally:
            library.aec_file_close(file)
        return pixels[:, :, 0] if colours == 1 else pixels
