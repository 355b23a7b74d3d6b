"""Pictures to what a network takes, whole units of pixels in three channels, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aecodec.picture.types import Samples


def pad(colour: Samples, size: tuple[int, int], depth: int = 8) -> Samples:
    """(H, W, 3) or (H, W) to (*size, 3), by repeating the last row and column; grey as three equal channels.

    uint8 stays as it is, uint16 of `depth` bits becomes float32, 0..255.
    """
    if colour.ndim == 2:
        colour = np.broadcast_to(colour[:, :, None], (*colour.shape, 3))
    if depth > 8:
        colour = colour.astype(np.float32) * np.float32(255 / (2**depth - 1))
    below, right = size[0] - colour.shape[0], size[1] - colour.shape[1]
    return np.pad(colour, ((0, below), (0, right), (0, 0)), mode="edge")


def grey_of(pixels: Samples) -> Samples:
    """(H, W, 3) to (H, W) of the same dtype: the rounded mean of the channels."""
    total: npt.NDArray[np.generic] = pixels.sum(2, dtype=np.uint16 if pixels.dtype == np.uint8 else np.uint32)
    return ((total + 1) // 3).astype(pixels.dtype)
