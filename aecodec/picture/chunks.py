"""A picture's chunks in an .aec file: everything but its tiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aecodec import container
from aecodec.errors import FormatError
from aecodec.picture.alpha import decode_alpha, encode_alpha
from aecodec.picture.names import DENOISED, EIGHT, NAMES, NEUTRAL, PREVIEW, depth_of
from aecodec.picture.types import Picture, Samples

OWN = {
    *container.KNOWN_CHUNKS,
    PREVIEW,
    DENOISED,
    NEUTRAL,
}  # what a file has for itself, not what it keeps of a picture


def chunks_of(picture: Picture) -> dict[str, bytes]:
    """The chunks of a file that holds this picture, by their types."""
    named = {
        container.DEPTH: bytes([picture.depth]) if picture.depth != EIGHT else None,
        container.ALPHA: None if picture.alpha is None else encode_alpha(picture.alpha),
        container.EXIF: picture.exif,
        container.ICC: picture.icc,
        container.XMP: picture.xmp,
        NEUTRAL: b"" if is_neutral(picture.colour) else None,
        **picture.more,
    }
    return {name: data for name, data in named.items() if data is not None}


def is_neutral(colour: Samples) -> bool:
    """Whether it has three channels, and they are equal."""
    return colour.ndim == 3 and all(np.array_equal(colour[:, :, 0], colour[:, :, other]) for other in (1, 2))


def alpha_of(header: container.Header, chunks: Mapping[str, bytes]) -> Samples | None:
    """The whole alpha plane, if the header promises one. Raises FormatError if it is missing, AecodecError if it is
    damaged."""
    if header.channels not in (2, 4):
        return None
    if container.ALPHA not in chunks:
        raise FormatError("the header promises an alpha channel, but there is none")
    depth = depth_of(chunks)
    alpha = decode_alpha(chunks[container.ALPHA], header.width, header.height, depth)
    if depth != EIGHT and int(alpha.max()) >= 2**depth:
        raise FormatError(f"an alpha plane with values of more than {depth} bits")
    return alpha


def picture_of(colour: Samples, alpha: Samples | None, chunks: Mapping[str, bytes]) -> Picture:
    """A decoded picture with what its file's chunks hold of it."""
    return Picture(
        colour,
        alpha,
        chunks.get(container.EXIF),
        chunks.get(container.ICC),
        chunks.get(container.XMP),
        {name: data for name, data in chunks.items() if name in NAMES and name not in OWN},
        depth_of(chunks),
    )
