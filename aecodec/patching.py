"""Whether blocks of a picture that look drawn are coded without loss, and the file in which they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from aecodec import container, patches
from aecodec.container import File
from aecodec.errors import FormatError
from aecodec.picture import Picture
from aecodec.tiling import Box

Write = Callable[[Picture], File]  # at the same quality
Read = Callable[[File], Picture]
THOROUGH_PIXELS = 2**20  # larger pictures would wait too long for a smaller lossless code


def patched(picture: Picture, file: File, tiles: Sequence[Box], write: Write, read: Read) -> bytes:
    """The bytes of the file, or of one in which blocks that look drawn are coded without loss, if it is the better one:
    by what a bit is worth at its quality.

    tiles: of the padded picture.
    """
    data = container.write(file)
    if picture.depth != 8:
        return data
    flat, hard = patches.drawn(picture.colour)
    if not hard.any():
        return data
    errors = patches.squared_errors(picture.colour, read(file).colour)
    best, chosen = data, None
    worth, most = 8 * patches.worth_of_a_bit(file.header.quality), 0.0  # of a byte
    for mask in patches.choices(picture.colour, flat, hard, errors, worth, tiles):
        chunk = patches.pack(patches.patches_of(picture.colour, mask, tiles))
        gain = float(errors[mask].sum())
        if gain - worth * (len(chunk) - len(data)) > most:  # whatever the rest takes
            other = _without_network(picture, file, chunk, read) if mask.all() else None
            if other is None:
                rest = replace(picture, colour=patches.without(picture.colour, mask, tiles))
                other = container.write(_with_chunk(write(rest), chunk))
            if gain - worth * (len(other) - len(data)) > most:
                best, chosen, most = other, mask, gain - worth * (len(other) - len(data))
    if chosen is not None and picture.width * picture.height <= THOROUGH_PIXELS:
        chunk = patches.pack(patches.patches_of(picture.colour, chosen, tiles, thorough=True))
        smaller = container.write(_with_chunk(container.read(best, picture.width * picture.height), chunk))
        best = min(best, smaller, key=len)
    return best


def _with_chunk(file: File, chunk: bytes) -> File:
    return replace(file, chunks={**file.chunks, container.PATCHES: chunk})


def _without_network(picture: Picture, file: File, chunk: bytes, read: Read) -> bytes | None:
    """The file in which patches cover all, so that it does not matter what the network makes of empty payloads; None if
    the family has no meaning for these."""
    other = replace(_with_chunk(file, chunk), tiles=[b""] * len(file.tiles))
    try:
        return container.write(other) if np.array_equal(read(other).colour, picture.colour) else None
    except FormatError:
        return None
