"""Pictures on their way to latents: tiles in strips, strips in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from aecodec import tiling
from aecodec.container import MAX_TILE_PIXELS
from aecodec.errors import LimitError
from aecodec.families.base import Family, Latents
from aecodec.picture import Picture, Samples
from aecodec.picture.padding import pad
from aecodec.pipeline import Job, batches
from aecodec.tiling import Box, Size

STRIP_TILES = 2  # neighbours whose pixels are analysed in one piece: fewer halos for more memory


class Strip(NamedTuple):
    """Neighbouring tiles of a picture that are analysed in one piece: their numbers, where, and the window with their
    halo."""

    picture: int
    numbers: list[int]
    boxes: list[Box]
    window: Box

    @property
    def kind(self) -> tuple[object, Size]:
        """Equal for strips that may share a pass through the network."""
        return tuple(box.within(self.window) for box in self.boxes), self.window.size


class Analysed(NamedTuple):
    """Latents of a batch of tiles of equal size, and of each the number of its picture, its own, and its box."""

    tiles: list[tuple[int, int, Box]]
    latents: Latents


Analysis = Job[list[Analysed]]


def analyses(
    family: Family, pictures: Sequence[Picture], sides: Sequence[int], together: int = STRIP_TILES
) -> list[Analysis]:
    """What there is to do to get the latents of all tiles, in parts that are independent of each other.

    sides: of the tiles of each picture, 0 if it is one. together: tiles of a strip, at most.
    """
    strips = []
    for number, (picture, side) in enumerate(zip(pictures, sides, strict=True)):
        size = padded_size(family, picture)
        tiles = tiling.tiles(size, side)
        for numbers in tiling.strips(tiles, together):
            boxes = [tiles[t] for t in numbers]
            window = boxes[0].joined(boxes[-1]).with_halo(family.geometry.analysis_halo, size)
            strips.append(Strip(number, numbers, boxes, window))
    return batches(partial(_analyse, family, pictures), strips, lambda strip: strip.kind)


def as_jobs(results: Sequence[list[Analysed]]) -> list[Analysis]:
    """Results of analyses as jobs that are done already, for pictures that are coded more than once."""
    return [Job(sum(box.area for one in done for _, _, box in one.tiles), partial(list, done)) for done in results]


def pixels_of(pictures: Sequence[Picture], tiles: Sequence[tuple[int, int, Box]]) -> Samples:
    """(B, H, W, 3) of tiles of equal size, see `Analysed.tiles`."""
    return np.stack([_padded(pictures[p], box) for p, _, box in tiles])


def side_of_tiles(family: Family, picture: Picture, wanted: int | None) -> int:
    """Of the tiles of a picture, in pixels; 0 if it is one. wanted: see `EncodeOptions.tile`.

    Raises LimitError if the picture is too large for one tile.
    """
    size = padded_size(family, picture)
    side = tiling.side_of_tiles(size, wanted)
    if not side and size[0] * size[1] > MAX_TILE_PIXELS:
        raise LimitError(f"{picture.width}x{picture.height} pixels are too many for one tile")
    return side


def padded_size(family: Family, picture: Picture) -> Size:
    """Height and width with the padding that a family needs."""
    return tiling.padded((picture.height, picture.width), family.geometry.padding)


def _analyse(family: Family, pictures: Sequence[Picture], strips: Sequence[Strip]) -> list[Analysed]:
    """The latents of the tiles of strips of equal kind."""
    pixels = [_padded(pictures[strip.picture], strip.window) for strip in strips]
    inside = [box.within(strips[0].window) for box in strips[0].boxes]
    latents = family.analyse(np.stack(pixels), inside)
    places = [[(strip.picture, strip.numbers[k], strip.boxes[k]) for strip in strips] for k in range(len(inside))]
    return list(map(Analysed, places, latents))


def _padded(picture: Picture, box: Box) -> Samples:
    """(*box.size, 3), as families take them: uint8, or float32 of pictures of more than 8 bits."""
    return pad(picture.colour[box.slices], box.size, picture.depth)
