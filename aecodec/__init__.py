"""aecodec: a learned image codec whose files decode to the same picture on every machine.

>>> import numpy, aecodec
>>> data = aecodec.compress(numpy.zeros((48, 64, 3), numpy.uint8), quality=30)
>>> aecodec.decompress(data).size
(64, 48)

`import aecodec.pillow` teaches Pillow to read and write .aec files. Importing this package imports nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from PIL import Image
    from typing_extensions import Unpack

    from aecodec.archive import Archive
    from aecodec.canvas import Region
    from aecodec.codec import Codec
    from aecodec.description import Description
    from aecodec.errors import (
        AecodecError,
        ArchiveWarning,
        FormatError,
        LimitError,
        ModelError,
        OutOfReachError,
        PictureWarning,
    )
    from aecodec.facts import Info
    from aecodec.inputs import Encoded, ImageLike
    from aecodec.options import EncodeArguments, EncodeOptions
    from aecodec.picture import Samples

__version__ = "0.1.0"
__all__ = [
    "AecodecError",
    "ArchiveWarning",
    "Codec",
    "Description",
    "EncodeOptions",
    "FormatError",
    "Info",
    "LimitError",
    "ModelError",
    "OutOfReachError",
    "PictureWarning",
    "compress",
    "decompress",
    "describe",
    "info",
    "open_archive",
    "thumbnail",
]

_ERRORS = (
    *("AecodecError", "FormatError", "LimitError", "ModelError", "OutOfReachError"),
    *("ArchiveWarning", "PictureWarning"),
)
_MODULES = {"Codec": "aecodec.codec", "EncodeOptions": "aecodec.options", "Info": "aecodec.facts"}
_MODULES["Description"] = "aecodec.description"
_MODULES |= dict.fromkeys(_ERRORS, "aecodec.errors")
_ROOMS = ("archive",)  # subpackages that people reach as attributes


def compress(image: ImageLike, quality: float | None = None, **options: Unpack[EncodeArguments]) -> bytes:
    """A picture as the bytes of an .aec file, with the default model on the best device.

    image: file name, open file, bytes of a picture file, Pillow image, or array (H, W, 3), (H, W) or (H, W, 4).
    quality: 1..100, 50 if nothing else is asked for. options: bpp, size, psnr, ..., see
    `EncodeOptions`.

    >>> import numpy, aecodec
    >>> len(aecodec.compress(numpy.zeros((480, 640, 3), numpy.uint8), size="1 kB")) <= 1000
    True
    """
    return _default_codec().compress(image, quality, **options)


@overload
def decompress(
    data: Encoded, region: Region | None = None, *, as_array: Literal[False] = False, upright: bool = False
) -> Image.Image: ...


@overload
def decompress(
    data: Encoded, region: Region | None = None, *, as_array: Literal[True], upright: bool = False
) -> Samples: ...


def decompress(
    data: Encoded, region: Region | None = None, *, as_array: bool = False, upright: bool = False
) -> Image.Image | Samples:
    """The Pillow image in an .aec file, or its samples as an array, on the best device. See `Codec.decompress`.

    data: the bytes of the file, its name, or the open file. region: (x, y, width, height) of the part that is wanted.

    >>> import numpy, aecodec
    >>> data = aecodec.compress(numpy.zeros((48, 64), numpy.uint8))
    >>> aecodec.decompress(data, region=(0, 0, 16, 8), as_array=True).shape
    (8, 16)
    """
    return _default_decoder().decompress(data, region, as_array=as_array, upright=upright)  # type: ignore[call-overload]


def describe(given: ImageLike | Encoded, quality: float | None = None) -> Description:
    """What a picture, or the one in an .aec file, is like, as 0.6 kB to search with. See `Codec.describe`.

    >>> import numpy, aecodec
    >>> aecodec.describe(numpy.full((48, 64, 3), 200, numpy.uint8)).luma.shape
    (8, 8)
    """
    return _default_codec().describe(given, quality)


def info(data: Encoded) -> Info:
    """What an .aec file says of itself: size, quality, model, metadata. Needs neither torch nor a network.

    >>> import numpy, aecodec
    >>> aecodec.info(aecodec.compress(numpy.zeros((48, 64, 3), numpy.uint8), quality=30)).quality
    30.0
    """
    from aecodec import facts

    return facts.info(data)


def thumbnail(data: Encoded, size: int = 256) -> Image.Image:
    """The picture in an .aec file at most `size` pixels each way, upright. See `Codec.thumbnail`.

    >>> import numpy, aecodec
    >>> aecodec.thumbnail(aecodec.compress(numpy.zeros((96, 128, 3), numpy.uint8)), 64).size
    (64, 48)
    """
    return _default_decoder().thumbnail(data, size)


def open_archive(path: str | Path, device: str = "auto", model: str | Path | None = None) -> Archive:
    """An archive, to be read as a mapping from names. See `archive.Archive`; `archive.create` makes one."""
    from aecodec.archive import Archive

    return Archive(path, device, model)


@lru_cache(maxsize=1)
def _default_codec() -> Codec:
    from aecodec.codec import Codec

    return Codec()


@lru_cache(maxsize=1)
def _default_decoder() -> Codec:
    from aecodec.native import decoder

    return decoder()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name in _ROOMS:
        return import_module(f"aecodec.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]
