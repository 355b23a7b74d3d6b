"""How far a decoded picture is from the original."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3)


def psnr_rgb(original: Pixels, decoded: Pixels) -> float | None:
    """Peak signal-to-noise ratio in dB over all samples. None where nothing differs."""
    return _psnr(original.astype(np.float32) - decoded)


def psnr_y(original: Pixels, decoded: Pixels) -> float | None:
    """The same of luma: BT.601, full range, not rounded."""
    return _psnr((original.astype(np.float32) - decoded) @ np.array([0.299, 0.587, 0.114], np.float32))


def _psnr(difference: npt.NDArray[np.float32]) -> float | None:
    error = float(np.mean(np.square(difference), dtype=np.float64))
    return 10 * float(np.log10(255**2 / error)) if error else None


def ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    """Multi-scale structural similarity, mean of the three channels, as the literature on learned codecs measures it
    (five scales, 11x11 Gaussian windows). None for pictures with a side of up to 160 pixels: five scales do not fit."""
    import torch
    from pytorch_msssim import ms_ssim

    if min(original.shape[:2]) <= 160:
        return None
    x, y = (torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] for pixels in (original, decoded))
    return float(ms_ssim(x, y, data_range=255))


# None where a metric says nothing of a picture: it is too small, or came back unchanged.
Metric = Callable[[Pixels, Pixels], "float | None"]
METRICS: Mapping[str, Metric] = {"psnr_rgb": psnr_rgb, "psnr_y": psnr_y, "ms_ssim": ms_ssim}


def available() -> tuple[list[str], dict[str, str]]:
    """The metrics that can be measured here, and why others cannot."""
    if importlib.util.find_spec("pytorch_msssim"):
        return list(METRICS), {}
    missing = {"ms_ssim": "pytorch-msssim is not installed; pip install 'aecodec[bench]'"}
    return [name for name in METRICS if name not in missing], missing
