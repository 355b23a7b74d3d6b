"""How far a decoded picture is from the original: each measure once, for everyone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]


def psnr(a: Samples, b: Samples, peak: int = 255) -> float:
    """Peak signal-to-noise ratio over all samples of two arrays of equal shape, dB; infinite if they are equal. peak:
    of integers of more than 8 bits, their largest."""
    step = max(1, 2**22 // a[0].size)  # rows at a time, for the sake of memory
    wide = "int32" if peak == 255 else "int64"
    squares = 0
    for top in range(0, len(a), step):
        difference = a[top : top + step].astype(wide) - b[top : top + step]
        squares += int((difference * difference).sum(dtype="int64"))
    return 10 * math.log10(peak**2 * a.size / squares) if squares else math.inf


def psnr_y(a: Pixels, b: Pixels) -> float:
    """The same of luma: BT.601, full range, not rounded. (H, W, 3)."""
    difference = (a.astype(np.float32) - b) @ np.array([0.299, 0.587, 0.114], np.float32)
    error = float(np.mean(np.square(difference), dtype=np.float64))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ms_ssim(a: Pixels, b: Pixels) -> float:
    """Multi-scale structural similarity, mean of the three channels, as the literature on learned codecs measures it
    (five scales, 11x11 Gaussian windows). (H, W, 3), on whose shorter side five scales fit: at least 161 pixels.

    Raises ImportError without the package pytorch-msssim (the extra `bench`).
    """
    import torch
    from pytorch_msssim import ms_ssim

    x, y = (torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] for pixels in (a, b))
    return float(ms_ssim(x, y, data_range=255))
