"""aecodec: a learned image codec whose files decode to the same symbols on every machine.

>>> import numpy, aecodec
>>> data = aecodec.compress(numpy.zeros((48, 64, 3), numpy.uint8), quality=30)
>>> aecodec.decompress(data).size
(64, 48)

`import aecodec.pillow` teaches Pillow to read and write .aec files. Importing this package imports nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image
    from typing_extensions import Unpack

    from aecodec.archive import Archive
    from aecodec.canvas import Region
    from aecodec.codec import Codec
    from aecodec.errors import AecodecError, FormatError, LimitError, ModelError, PictureWarning
    from aecodec.options import EncodeArguments, EncodeOptions
    from aecodec.picture import Source

__version__ = "0.1.0"
__all__ = [
    "AecodecError",
    "Codec",
    "EncodeOptions",
    "FormatError",
    "LimitError",
    "ModelError",
    "PictureWarning",
    "compress",
    "decompress",
    "open_archive",
]

_MODULES = {"Codec": "aecodec.codec", "EncodeOptions": "aecodec.options"}
_MODULES |= dict.fromkeys(("AecodecError", "FormatError", "LimitError", "ModelError"), "aecodec.errors")
_MODULES |= {"PictureWarning": "aecodec.errors"}
_ROOMS = ("archive",)  # subpackages that people reach as attributes


def compress(image: Source, quality: float | None = None, **options: Unpack[EncodeArguments]) -> bytes:
    """A picture as the bytes of an .aec file, with the default model on the best device.

    quality: 1..100, 50 if nothing else is asked for. options: bpp, size, psnr, min_psnr, effort, tile. See
    `Codec.compress` and `EncodeOptions`.
    """
    return _default_codec().compress(image, quality, **options)


def decompress(data: bytes, region: Region | None = None) -> Image.Image:
    """The Pillow image in the bytes of an .aec file, on the best device. See `Codec.decompress`."""
    return _default_codec().decompress(data, region)


def open_archive(path: str | Path, device: str = "auto", model: str | Path | None = None) -> Archive:
    """An archive, to be read as a mapping from names. See `archive.Archive`; `archive.create` makes one."""
    from aecodec.archive import Archive

    return Archive(path, device, model)


@lru_cache(maxsize=1)
def _default_codec() -> Codec:
    from aecodec.codec import Codec

    return Codec()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name in _ROOMS:
        return import_module(f"aecodec.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]
