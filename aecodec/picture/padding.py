"""Pictures to what a network takes, whole units of pixels in three channels, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aecodec.picture.types import Pixels


def pad(colour: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W, 3) or (H, W) uint8 to (*size, 3), by repeating the last row and column; grey as three equal channels."""
    if colour.ndim == 2:
        colour = np.broadcast_to(colour[:, :, None], (*colour.shape, 3))
    below, right = size[0] - colour.shape[0], size[1] - colour.shape[1]
    return np.pad(colour, ((0, below), (0, right), (0, 0)), mode="edge")


def grey_of(pixels: Pixels) -> Pixels:
    """(H, W, 3) uint8 to (H, W): the rounded mean of the channels."""
    total: npt.NDArray[np.uint16] = pixels.sum(2, dtype=np.uint16)
    return ((total + 1) // 3).astype(np.uint8)
