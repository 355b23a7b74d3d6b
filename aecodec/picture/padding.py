"""Pictures to what the network takes, whole units of 64 pixels, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.picture.types import Pixels


def pad(colour: Pixels, size: tuple[int, int]) -> Tensor:
    """(H, W, 3) or (H, W) uint8 to (1, 3, *size) uint8, by repeating the last row and column; grey as three equal
    channels."""
    if colour.ndim == 2:
        colour = np.broadcast_to(colour[:, :, None], (*colour.shape, 3))
    below, right = size[0] - colour.shape[0], size[1] - colour.shape[1]
    padded = np.pad(colour, ((0, below), (0, right), (0, 0)), mode="edge")
    return torch.from_numpy(padded).permute(2, 0, 1).unsqueeze(0)


def crop(pixels: Tensor, width: int, height: int, grey: bool) -> Pixels:
    """(3, H', W') uint8 to (height, width, 3) uint8, or (height, width), the rounded mean of the channels, if grey."""
    cut = pixels[:, :height, :width].permute(1, 2, 0).cpu().numpy()
    if grey:
        total: npt.NDArray[np.uint16] = cut.sum(2, dtype=np.uint16)
        return ((total + 1) // 3).astype(np.uint8)
    return np.ascontiguousarray(cut)
