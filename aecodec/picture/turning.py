"""Pictures turned as their EXIF orientation says, for viewers that ignore it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from aecodec.errors import PictureWarning
from aecodec.picture import metadata, names
from aecodec.picture.types import Picture, Samples

# By orientation: quarter turns against the clock, after which left and right are exchanged or not.
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
GAIN_MAP = {names.PICTURE_INDEX, names.GAIN_VERSION}  # there if what follows a JPEG is one


def turned_upright(picture: Picture) -> Picture:
    """The picture as it is meant to be seen, its orientation 1. A gain map would lie across it, and is left out with a
    PictureWarning."""
    orientation = metadata.orientation_of(picture.exif)
    if orientation not in TURNS:
        return picture
    more = dict(picture.more)
    if GAIN_MAP.intersection(more):
        warnings.warn("left out: the gain map, which is not turned", PictureWarning, stacklevel=2)
        more = {name: chunk for name, chunk in more.items() if name not in GAIN_MAP | {names.TRAILING}}
    turned = turned_from(picture, orientation, 1)
    return replace(turned, exif=metadata.with_orientation(picture.exif, 1), more=more)


def turned_from(picture: Picture, before: int, after: int) -> Picture:
    """The picture with samples that are to be turned as one EXIF orientation says, turned so that they are to be turned
    as another says; metadata stay."""

    def turned(samples: Samples) -> Samples:
        quarters, mirrored = TURNS.get(before, (0, False))
        upright = np.rot90(samples, quarters)
        upright = upright[:, ::-1] if mirrored else upright
        quarters, mirrored = TURNS.get(after, (0, False))
        return np.ascontiguousarray(np.rot90(upright[:, ::-1] if mirrored else upright, -quarters))

    if before == after:
        return picture
    alpha = None if picture.alpha is None else turned(picture.alpha)
    return replace(picture, colour=turned(picture.colour), alpha=alpha)
