"""aecodec: a learned image codec whose files decode to the same symbols on every machine.

>>> import numpy, aecodec
>>> data = aecodec.compress(numpy.zeros((48, 64, 3), numpy.uint8), quality=30)
>>> aecodec.decompress(data).size
(64, 48)
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec.errors import AecodecError, FormatError, LimitError, ModelError
from aecodec.pillow_plugin import register

if TYPE_CHECKING:
    from PIL import Image

    from aecodec.archive.reader import Archive
    from aecodec.codec import Codec, Region
    from aecodec.picture import Source

__version__ = "0.1.0"
__all__ = [
    "AecodecError",
    "Codec",
    "FormatError",
    "LimitError",
    "ModelError",
    "compress",
    "decompress",
    "open_archive",
    "register",
]

register()  # Pillow looks for no plugins, so it has to be told


def compress(image: Source, quality: float | None = None, **wishes: Any) -> bytes:
    """A picture as the bytes of an .aec file, with the default model on the best device.

    quality: 1..100, 50 if nothing else is asked for. wishes: bpp, size, psnr, min_psnr, effort. See `Codec.compress`.
    """
    return _default_codec().compress(image, quality, **wishes)


def decompress(data: bytes, region: Region | None = None) -> Image.Image:
    """The Pillow image in the bytes of an .aec file, on the best device. See `Codec.decompress`."""
    return _default_codec().decompress(data, region)


def open_archive(path: str | Path, device: str = "auto", model: str | Path | None = None) -> Archive:
    """An archive, to be read as a mapping from names. See `archive.Archive`; `archive.create` makes one."""
    from aecodec.archive.reader import Archive

    return Archive(path, device, model)


@lru_cache(maxsize=1)
def _default_codec() -> Codec:
    from aecodec.codec import Codec

    return Codec()


def __getattr__(name: str) -> Any:
    # torch takes a second to import; whoever only reads headers should not wait for it.
    if name == "Codec":
        from aecodec.codec import Codec

        return Codec
    if name == "archive":
        return importlib.import_module("aecodec.archive")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
