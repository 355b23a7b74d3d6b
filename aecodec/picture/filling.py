"""What stands in the place of lost tiles: colours that go smoothly over from one side to the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aecodec.picture.types import Samples
from aecodec.tiling import Box

MARGIN = 64  # pixels around a tile that are looked at
ROUNDS = 16  # of relaxation at each resolution

Floats = npt.NDArray[np.float32]
Seen = npt.NDArray[np.bool_]


def fill(colour: Samples, lost: Sequence[Box]) -> Samples:
    """The picture with these boxes filled, one after the other: those that are filled are seen by the next.

    colour: (H, W) or (H, W, C), any unsigned type. Boxes lie within it.
    """
    result = colour.copy()
    for number, box in enumerate(lost):
        around = box.with_halo(MARGIN, colour.shape[:2])
        seen = np.ones(around.size, bool)
        for other in lost[number:]:
            if shared := other.overlap(around):
                seen[shared.within(around).slices] = False
        if seen.any():
            part = result[around.slices].astype(np.float32)
            found = np.round(harmonic(part.reshape(*around.size, -1), seen)).astype(colour.dtype)
            inside = box.within(around).slices
            result[box.slices] = found.reshape(part.shape)[inside]
    return result


def harmonic(colour: Floats, seen: Seen) -> Floats:
    """The solution of Laplace's equation where nothing is seen, with what is seen as its border, about: from the
    coarsest resolution to the finest by relaxation (Perez, Gangnet, Blake, "Poisson image editing", SIGGRAPH 2003,
    section 2, without a guiding field).

    colour: (H, W, C) float32. seen: (H, W), somewhere true. Returns the same where it is.
    """
    height, width = seen.shape
    if seen.all() or max(height, width) == 1:
        return colour
    ends = ((0, height % 2), (0, width % 2))
    weight = np.pad(seen.astype(np.float32), ends)[:, :, None]
    total = np.pad(colour, (*ends, (0, 0))) * weight
    total, weight = (
        part[0::2, 0::2] + part[1::2, 0::2] + part[0::2, 1::2] + part[1::2, 1::2] for part in (total, weight)
    )
    coarse = harmonic((total / np.maximum(weight, 1)).astype(np.float32), weight[:, :, 0] > 0)
    x = np.where(seen[:, :, None], colour, coarse.repeat(2, 0).repeat(2, 1)[:height, :width])
    unseen = ~seen
    for _ in range(ROUNDS):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        x[unseen] = mean[unseen]
    return x
