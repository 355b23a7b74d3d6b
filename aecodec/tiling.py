"""Boxes of pixels, and how a picture is divided into them. Integers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

Size = tuple[int, int]  # height, width

TILE = 1024  # side of the tiles of large pictures, pixels
UNTILED_PIXELS = 2**21  # a picture of up to so many (padded) pixels is one tile


@dataclass(frozen=True, slots=True)
class Box:
    """Rows top..bottom - 1 and columns left..right - 1 of a picture, in whatever unit the context says."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def whole(cls, size: Size) -> Box:
        """All of something of this height and width."""
        return cls(0, size[0], 0, size[1])

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def size(self) -> Size:
        return self.height, self.width

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """What an array (H, W, ...) is indexed with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, window: Box) -> Box:
        """The box as seen from a window that holds it."""
        return Box(self.top - window.top, self.bottom - window.top, self.left - window.left, self.right - window.left)

    def with_halo(self, halo: int, limits: Size) -> Box:
        """The box and what is around it, cut at the borders of a picture of this height and width."""
        return Box(
            max(self.top - halo, 0),
            min(self.bottom + halo, limits[0]),
            max(self.left - halo, 0),
            min(self.right + halo, limits[1]),
        )

    def overlap(self, other: Box) -> Box | None:
        """What both have in common, None if that is nothing."""
        shared = Box(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )
        return shared if shared.top < shared.bottom and shared.left < shared.right else None

    def in_units(self, unit: int) -> Box:
        """The same box where one element is `unit` of its own; every side has to be a multiple of it."""
        return Box(self.top // unit, self.bottom // unit, self.left // unit, self.right // unit)

    def times(self, factor: int) -> Box:
        """The opposite of `in_units`."""
        return Box(self.top * factor, self.bottom * factor, self.left * factor, self.right * factor)

    def rounded_out(self, unit: int) -> Box:
        """The smallest box around it whose sides are multiples of a unit."""
        return Box(
            self.top // unit * unit,
            -(-self.bottom // unit) * unit,
            self.left // unit * unit,
            -(-self.right // unit) * unit,
        )

    def joined(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


def padded(size: Size, unit: int) -> Size:
    """Height and width, rounded up to multiples of a unit."""
    return -(-size[0] // unit) * unit, -(-size[1] // unit) * unit


def side_of_tiles(size: Size, wanted: int | None = None) -> int:
    """The side of the tiles of a picture of this padded size; 0 if it is one tile.

    wanted: a side in pixels, for pictures of more pixels than such a tile has; 0: always one tile; None: TILE, for
    pictures of more than UNTILED_PIXELS.
    """
    side, most = (TILE, UNTILED_PIXELS) if wanted is None else (wanted, wanted * wanted)
    return side if side and size[0] * size[1] > most else 0


def tiles(size: Size, side: int) -> list[Box]:
    """The tiles of a picture of this padded size, row by row. side: in pixels; 0: the picture is one tile."""
    height, width = size
    side = side or max(height, width)
    return [
        Box(top, min(top + side, height), left, min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def rows(boxes: Sequence[Box]) -> list[list[int]]:
    """Numbers of the boxes of each row; the boxes are given row by row."""
    return [list(row) for _, row in groupby(range(len(boxes)), lambda number: boxes[number].top)]


def strips(boxes: Sequence[Box], together: int) -> list[list[int]]:
    """Numbers of up to so many neighbours in a row, for all boxes."""
    return [row[start : start + together] for row in rows(boxes) for start in range(0, len(row), together)]


def pieces(box: Box, pixels: int, slack: float, unit: int) -> list[Box]:
    """The box cut from left to right into pieces of about so many pixels, at multiples of a unit.

    A piece may be larger by the part `slack` if there is one less then.
    """
    count = max(1, math.ceil(box.area / pixels - slack))
    borders = [(box.left + box.width * k // count) // unit * unit for k in range(1, count)]
    return [Box(box.top, box.bottom, *ends) for ends in pairwise([box.left, *borders, box.right])]
