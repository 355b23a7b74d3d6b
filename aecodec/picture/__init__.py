"""Pictures as people have them: Pillow images, arrays and files to samples with metadata, and back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecodec.picture.chunks import alpha_of, chunks_of, picture_of
    from aecodec.picture.door import UnreadError, register_heif
    from aecodec.picture.loading import load, read
    from aecodec.picture.metadata import strip
    from aecodec.picture.names import depth_of, describe
    from aecodec.picture.saving import format_of, save, to_image, write
    from aecodec.picture.types import Picture, Pixels, Samples, Source

__all__ = [
    "Picture",
    "Pixels",
    "Samples",
    "Source",
    "UnreadError",
    "alpha_of",
    "chunks_of",
    "depth_of",
    "describe",
    "format_of",
    "load",
    "picture_of",
    "read",
    "register_heif",
    "save",
    "strip",
    "to_image",
    "write",
]
_ROOMS = dict.fromkeys(("Picture", "Pixels", "Samples", "Source"), "types")
_ROOMS |= dict.fromkeys(("alpha_of", "chunks_of", "picture_of"), "chunks")
_ROOMS |= dict.fromkeys(("depth_of", "describe"), "names")
_ROOMS |= dict.fromkeys(("format_of", "save", "to_image", "write"), "saving")
_ROOMS |= dict.fromkeys(("load", "read"), "loading")
_ROOMS |= {"UnreadError": "door", "register_heif": "door", "strip": "metadata"}


def __getattr__(name: str) -> Any:
    # Who only wants to know what a file says of itself should not wait for numpy and Pillow.
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
