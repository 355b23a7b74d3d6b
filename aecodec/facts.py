"""What an .aec file says of itself, without its pixels and without a network."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aecodec import container
from aecodec.errors import ModelError
from aecodec.inputs import encoded
from aecodec.models.registry import released_name, tune_of
from aecodec.picture.names import NAMES, depth_of, describe

if TYPE_CHECKING:
    from aecodec.inputs import Encoded


@dataclass(frozen=True)
class Info:
    """What a file says of itself.

    bytes: of the whole file. width, height: pixels as they are stored, before any EXIF orientation. mode: L, LA, RGB or
    RGBA, as of Pillow. depth: bits a sample. bpp: bits of the file a pixel. quality: 1..100. model: its name, or its id
    in hexadecimal if it is not a released one. portable: whether the file decodes on every machine
    to the same symbols, or else perhaps to an error. tune: what the model is made for, "visual" or "psnr", if it is
    known. tiles: how many; tile: their side in pixels, 0 if there is only one.
    metadata: what is held beside the samples, in words, and how many bytes each takes. version: of the format.
    """

    bytes: int
    width: int
    height: int
    mode: str
    depth: int
    bpp: float
    quality: float
    model: str
    portable: bool
    tune: str | None
    tiles: int
    tile: int
    metadata: Mapping[str, int]
    version: int


def info(data: Encoded) -> Info:
    """What an .aec file says of itself, after all its checksums are verified; torch is not needed.

    data: the bytes of the file, its name, or the open file.
    Raises FormatError if it is not an undamaged .aec file, OSError if it cannot be read.
    """
    data = encoded(data)
    content = container.read(data, pixel_limit=sys.maxsize)
    header = content.header
    return Info(
        bytes=len(data),
        width=header.width,
        height=header.height,
        mode=("L", "LA", "RGB", "RGBA")[header.channels - 1],
        depth=depth_of(content.chunks),
        bpp=8 * len(data) / header.pixels,
        quality=header.quality / 100,
        model=model_name(header.model_id),
        portable=container.LOCAL not in content.chunks,
        tune=_tune(header.model_id),
        tiles=len(content.tiles),
        tile=header.tile,
        metadata={
            phrase if name in NAMES else f"{name} ({phrase})": len(content.chunks[name])
            for name, phrase in describe(content.chunks).items()
            if name not in (container.DEPTH, container.LOCAL)
        },
        version=container.VERSION,
    )


def model_name(model_id: bytes) -> str:
    """The name of a released model, or the id of another in hexadecimal."""
    try:
        return released_name(model_id)
    except ModelError:
        return model_id.hex()


def _tune(model_id: bytes) -> str | None:
    try:
        return tune_of(released_name(model_id))
    except ModelError:
        return None
