"""A small picture inside a file, for programs that show many, and small pictures of whole ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from aecodec import container
from aecodec.errors import AecodecError, FormatError
from aecodec.picture.chunks import picture_of
from aecodec.picture.deep import eight_bits
from aecodec.picture.door import foreign, open_image
from aecodec.picture.names import PREVIEW
from aecodec.picture.turning import turned_upright
from aecodec.picture.types import Picture

QUALITY = 80  # of WebP
WORTH = 2  # times as large as its preview a picture has to be to get one


def with_preview(picture: Picture, side: int) -> Picture:
    """The picture with its preview, of at most `side` pixels each way, as it is stored; small pictures as they are."""
    if max(picture.width, picture.height) < WORTH * side:
        return picture
    buffer = io.BytesIO()
    _shrunk(picture, side).save(buffer, "WEBP", quality=QUALITY, method=4)
    return replace(picture, more={**picture.more, PREVIEW: buffer.getvalue()})


def preview_of(chunks: Mapping[str, bytes], header: container.Header, side: int) -> Picture | None:
    """The preview in a file, with the metadata of the file, if it is large enough for a thumbnail of this side. Raises
    FormatError if it is no picture, or larger than the whole one; AecodecError if the side is less than 1."""
    if not isinstance(side, int) or side < 1:
        raise AecodecError(f"a thumbnail of {side!r} pixels; expected a whole number, at least 1")
    if PREVIEW not in chunks:
        return None
    try:
        with foreign(f"chunk {PREVIEW} holds no WebP"):
            image = open_image(chunks[PREVIEW], ("WEBP",))
            if image.width > header.width or image.height > header.height:
                raise FormatError(f"chunk {PREVIEW} holds {image.width}x{image.height} pixels, more than the picture")
            samples = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    except AecodecError as error:
        raise FormatError(str(error)) from error
    if max(image.size) < min(side, max(header.width, header.height)):
        return None
    shallow = {name: data for name, data in chunks.items() if name != container.DEPTH}
    return picture_of(samples[..., :3], samples[..., 3] if samples.shape[2] == 4 else None, shallow)


def thumbnail_of(picture: Picture, side: int) -> Image.Image:
    """The picture as it is meant to be seen, at most `side` pixels each way, 8 bits, with its ICC profile and no other
    metadata; never enlarged."""
    turned = turned_upright(replace(picture, more={}))
    image = _shrunk(turned, side)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    return image


def _shrunk(picture: Picture, side: int) -> Image.Image:
    samples = picture.samples if picture.depth == 8 else eight_bits(picture.samples, picture.depth)
    image = Image.fromarray(samples)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3)
    return image
