"""SSIMULACRA2 2.1 in torch: the scores of the `ssimulacra2` package in a third of its time.

Like that package it takes sRGB pixels to linear light, and six scales of it to XYB; blurs with 11 taps pad with zeros
at the left and right border and by reflection at the upper and lower one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from ssimulacra2 import ssimulacra2 as package
from torch import Tensor
from torch.nn import functional

SCALES = 6
SIGMA, RADIUS = 1.5, 5  # pixels of the blur
C2 = float(package.kC2)
BIAS = float(package.kB0)


@dataclass(frozen=True)
class _Scale:
    """What one scale of a picture needs: xyb, its blur and the blur of its square, (3, H, W) float64."""

    xyb: Tensor
    mean: Tensor
    square: Tensor


class Original:
    """A picture that several others are compared with. pixels: (H, W, 3) uint8 sRGB."""

    def __init__(self, pixels: npt.NDArray[np.uint8]):
        self.shape = pixels.shape
        with torch.inference_mode():
            self._scales = [_Scale(x, *_blur(torch.cat([x, x * x])).chunk(2)) for x in _pyramid(pixels)]

    def score(self, pixels: npt.NDArray[np.uint8]) -> float:
        """100 where nothing differs, 90 is visually lossless, 50 of medium quality, below 0 very bad.

        pixels: of the same shape. Raises ValueError if they are not.
        """
        if pixels.shape != self.shape:
            raise ValueError(f"{pixels.shape} instead of {self.shape}")
        weights = torch.tensor(package.weights, dtype=torch.float64).view(3, SCALES, 2, 3)
        total = 0.0
        with torch.inference_mode():
            for index, (one, y) in enumerate(zip(self._scales, _pyramid(pixels), strict=True)):
                total += float((_errors(one, y) * weights[:, index]).sum())
        total *= 0.9562382616834844
        total = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
        return 100 - 10 * total**0.6276336467831387 if total > 0 else 100.0


def _errors(one: _Scale, y: Tensor) -> Tensor:
    """(channel, norm, kind): mean and 4-norm of structural error, artefacts and lost detail."""
    x, m1, s11 = one.xyb, one.mean, one.square
    m2, s22, s12 = _blur(torch.cat([y, y * y, x * y])).chunk(3)
    shared = 2 * (s12 - m1 * m2) + C2
    difference = 1 - (1 - (m1 - m2).square()) * shared / ((s11 - m1 * m1) + (s22 - m2 * m2) + C2)
    edges = (1 + (y - m2).abs()) / (1 + (x - m1).abs()) - 1
    kinds = [difference.clamp_min_(0), edges.clamp_min(0), edges.neg_().clamp_min_(0)]
    norms = [[d.mean((1, 2)), d.square().square_().mean((1, 2)).pow(0.25)] for d in kinds]
    return torch.stack([torch.stack(pair, 1) for pair in norms], 2)


def _pyramid(pixels: npt.NDArray[np.uint8]) -> list[Tensor]:
    """XYB, all values positive, (3, H, W) of each scale."""
    linear = _linear_levels()[torch.from_numpy(pixels.astype(np.int64))].permute(2, 0, 1).contiguous()
    out = [_xyb(linear)]
    for _ in range(SCALES - 1):
        # Cells at the border are means over the pixels that are there.
        linear = functional.avg_pool2d(linear[None], 2, ceil_mode=True, count_include_pad=False)[0]
        out.append(_xyb(linear))
    return out


@lru_cache
def _linear_levels() -> Tensor:
    levels = np.arange(256) / 255
    return torch.from_numpy(np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4))


def _xyb(linear: Tensor) -> Tensor:
    matrix = torch.tensor(package.kOpsinAbsorbanceMatrix).view(3, 3)
    mixed = (matrix @ linear.flatten(1) + BIAS).view_as(linear).clamp_min_(0).pow_(1 / 3) - BIAS ** (1 / 3)
    x, y, b = (mixed[0] - mixed[1]) / 2, (mixed[0] + mixed[1]) / 2, mixed[2]
    return torch.stack([x * 14 + 0.42, y + 0.01, b - y + 0.55])


def _blur(maps: Tensor) -> Tensor:
    """(N, H, W) float64."""
    return torch.stack([_blurred(each) for each in maps])  # one by one, they stay in the cache


def _blurred(x: Tensor) -> Tensor:
    margin = min(RADIUS, len(x))
    x = torch.cat([x[:margin].flip(0), x, x[-margin:].flip(0)])
    return _along(functional.pad(_along(x, 0), (RADIUS, RADIUS)), 1)


def _along(x: Tensor, axis: int) -> Tensor:
    """Sums of shifted pictures: 17 times as fast as a convolution of one channel."""
    length = x.shape[axis] - 2 * RADIUS
    taps = [math.exp(-0.5 * (i / SIGMA) ** 2) for i in range(-RADIUS, RADIUS + 1)]
    out = x.narrow(axis, RADIUS, length) * (taps[RADIUS] / sum(taps))
    for i, tap in enumerate(taps):
        if i != RADIUS:
            out.add_(x.narrow(axis, i, length), alpha=tap / sum(taps))
    return out
