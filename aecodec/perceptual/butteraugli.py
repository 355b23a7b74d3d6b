"""Butteraugli, differentiable: how far two pictures are apart to an eye that compares them closely.

As published (Alakuijala et al., github.com/google/butteraugli) and as libjxl 0.10 computes it: what receptors make of
light, in four bands of frequencies; differences along lines of all directions; masked by what is around them. Pictures
are (B, 3, H, W) float32, sRGB samples in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aecodec.hardware import has_bfloat16
from aecodec.perceptual.similarity import linear_light

NITS = 80.0  # of white
SMALLEST = 8  # pixels of a side
ASYMMETRY = 0.8  # what is lost of high frequencies counts less than what is added
ABSORBANCE = (  # of the three kinds of receptors: linear red, green and blue, and what they see in the dark
    (0.29956550340058319, 0.63373087833825936, 0.077705617820981968, 1.7557483643287353),
    (0.22158691104574774, 0.69391388044116142, 0.0987313588422, 1.7557483643287353),
    (0.02, 0.02, 0.20480129041026129, 12.226454707163354),
)
SIGMAS = 7.15593339443, 3.22489901262, 1.56416327805  # pixels; of what is low, middle, high
LOW = 33.832837186260, 14.458268100570, 49.87984651440  # of X, Y and B at low frequencies
B_OF_Y = -0.362267051518
GOOD = 17.83 * math.log(80) / math.log(255)  # a difference that is just seen, before it is scaled to 1
COARSE, FINE = 0.5, 1 - 0.3 * 0.5  # what the picture at half size and the picture itself count
HALF_LINES_SPARSE = (  # rows and columns from the centre of a line; the other half is mirrored
    ((0, 2), (0, 4)), ((2, 0), (4, 0)), ((2, 2), (3, 3)), ((2, -2), (3, -3)), ((2, -1), (4, -1)), ((2, 1), (4, 1)),
    ((1, 2), (1, 4)), ((-1, 2), (-1, 4)), ((2, 1), (3, 2)), ((2, -1), (3, -2)), ((1, 2), (2, 3)), ((1, -2), (2, -3)),
    ((1, -2), (2, -4)), ((1, 2), (2, 4)), ((2, 1), (4, 2)), ((2, -1), (4, -2)),
)  # fmt: skip
STEEP = ((1, 0), (2, 1), (3, 1), (4, 1)), ((1, 0), (2, -1), (3, -1), (4, -1))
FLAT = ((0, 1), (1, 2), (1, 3), (1, 4)), ((0, 1), (-1, 2), (-1, 3), (-1, 4))
HALF_LINES_DENSE = (  # the former twice, as published
    ((0, 1), (0, 2), (0, 3), (0, 4)), ((1, 0), (2, 0), (3, 0), (4, 0)), ((1, 1), (2, 2), (3, 3)),
    ((1, -1), (2, -2), (3, -3)), ((1, 1), (2, 1), (3, 2)), ((1, -1), (2, -1), (3, -2)), ((1, 1), (1, 2), (2, 3)),
    ((1, -1), (1, -2), (2, -3)), *STEEP, *FLAT, *STEEP, *FLAT,
)  # fmt: skip


class Bands(NamedTuple):
    """low: (B, 3, H, W), X, Y and B, weighted. middle: (B, 3, H, W). high, highest: (B, 2, H, W), X and Y."""

    low: Tensor
    middle: Tensor
    high: Tensor
    highest: Tensor


def distance(reference: Tensor, picture: Tensor) -> Tensor:
    """The mean of the 3-, the 6- and the 12-norm of the map, (B,): 0 equal, 1 just noticeable; what libjxl's programs
    call the 3-norm. Sides of at least 8 pixels."""
    powers = difference_map(reference, picture).clamp_min(1e-6) ** 3
    total = torch.zeros_like(powers[:, 0, 0])
    for norm in (3, 6, 12):
        total = total + powers.mean((1, 2)).clamp_min(1e-30) ** (1 / norm)
        powers = powers.square()
    return total / 3


def difference_map(reference: Tensor, picture: Tensor) -> Tensor:
    """Where two pictures differ, and how much: (B, H, W)."""
    first, second = linear_light(reference), linear_light(picture)
    found = _at_one_scale(first, second)
    if (min(first.shape[2:]) + 1) // 2 >= SMALLEST:
        coarse = _at_one_scale(
            *(F.avg_pool2d(light, 2, ceil_mode=True, count_include_pad=False) for light in (first, second))
        )
        coarse = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
        found = FINE * found + COARSE * coarse[:, : found.shape[1], : found.shape[2]]
    return found


def _at_one_scale(first: Tensor, second: Tensor) -> Tensor:
    a, b = _bands(_receptors(first)), _bands(_receptors(second))
    fast = _lines(a.highest[:, 1:], b.highest[:, 1:], 1.10039032555, 71.7800275169, ASYMMETRY, True)
    fast = fast + _lines(a.highest[:, :1], b.highest[:, :1], 173.5, 5.0, ASYMMETRY, True)
    fast = fast + _lines(a.high[:, 1:], b.high[:, 1:], 18.7237414387, 4498534.45232, ASYMMETRY**0.5)
    fast = fast + _lines(a.high[:, :1], b.high[:, :1], 6923.99476109, 8051.15833247, ASYMMETRY**0.5)
    fast = fast + _lines(a.middle[:, 1:2], b.middle[:, 1:2], 37.0819870399, 130262059.556, 1)
    fast = fast + _lines(a.middle[:, :1], b.middle[:, :1], 8246.75321353, 1009002.70582, 1)
    fast = fast + _weighted(_lopsided(a.high, b.high), (400.0, 1.50815703118))
    fast = fast + _weighted((a.middle - b.middle).square(), (2150.0, 10.6195433239, 16.2176043152))
    slow = _weighted((a.low - b.low).square(), (29.2353797994, 0.844626970982, 0.703646627719))

    activity = _activity(a)
    fast = fast + 10 * (activity - _activity(b)).square()
    mask = _erode(activity)
    seen_fast = ((1 + 2.5485944793 / (0.451936922203 * mask + 0.829591754942)) / GOOD).square()
    seen_slow = ((1 + 0.505054525019 / (3.87449418804 * mask + 0.20025578522)) / GOOD).square()
    return (seen_fast * fast + seen_slow * slow + 1e-12).sqrt()[:, 0]


def _receptors(light: Tensor) -> Tensor:
    """X (red against green), Y (brightness) and B (blue) of linear samples in 0..1, (B, 3, H, W)."""
    light = NITS * light
    matrix = torch.tensor(ABSORBANCE, device=light.device)
    darkness = matrix[:, 3].view(1, 3, 1, 1)
    kernel = matrix[:, :3, None, None]

    around = F.conv2d(_blur_mirrored(light), kernel) + darkness
    around = torch.maximum(around, darkness)
    sensitivity = ((19.245013259874995 * (around + 9.9710635769299145).log() - 23.16046239805755) / around).clamp_min(
        1e-4
    )
    red, green, blue = torch.maximum((F.conv2d(light, kernel) + darkness) * sensitivity, darkness).unbind(1)
    return torch.stack([red - green, red + green, blue], 1)


def _bands(xyb: Tensor) -> Bands:
    low = _blur(xyb, SIGMAS[0])
    rest = xyb - low
    middle = _blur(rest, SIGMAS[1])
    high = (rest - middle)[:, :2]
    x, y, b = middle.split(1, 1)
    middle = torch.cat([F.softshrink(x, 0.29), _amplified(y, 0.1), b], 1)

    x, y = high.split(1, 1)
    rest = torch.cat([x * (0.653020556257 + (1 - 0.653020556257) * 46 / (y.square() + 46)), y], 1)
    high = _blur(rest, SIGMAS[2])
    x, y = high.split(1, 1)
    y = _compressed(y, 28.4691806922)
    highest = torch.cat(
        [F.softshrink(rest[:, :1] - x, 0.04), 2.69313763794 * _compressed(rest[:, 1:] - y, 5.19175294647)], 1
    )
    high = torch.cat([F.softshrink(x, 1.5), _amplified(2.155 * y, 0.132)], 1)
    low = torch.cat([low[:, :2], low[:, 2:] + B_OF_Y * low[:, 1:2]], 1)
    return Bands(low * torch.tensor(LOW, device=low.device).view(1, 3, 1, 1), middle, high, highest)


def _amplified(x: Tensor, width: float) -> Tensor:
    """Twice as much, up to this."""
    return x + x.clamp(-width, width)


def _compressed(x: Tensor, top: float) -> Tensor:
    """What is beyond this counts less."""
    inside = x.clamp(-top, top)
    return inside + 0.724216145665 * (x - inside)


def _lines(a: Tensor, b: Tensor, weight: float, norm: float, lopsided: float, dense: bool = False) -> Tensor:
    """Energy of a difference along lines through each pixel ("Malta"), (B, 1, H, W); more where detail is lost to less
    than .55 of what it was, or more than 1.05."""
    gain = (0.39905817637 if dense else 0.611612573796) * norm / (2 * 3.75 + 1) / (norm + 0.5 * (a.abs() + b.abs()))
    sign = 1 - 2 * (a < 0).to(a.dtype)
    size, other = a.abs(), sign * b
    beyond = F.relu(0.55 * size - other) - F.relu(other - 1.05 * size)
    difference = gain * (
        math.sqrt(0.5 * weight * lopsided) * (a - b) + math.sqrt(0.33 * weight / lopsided) * sign * beyond
    )
    energy: Tensor = _Energy.apply(difference, _kernels(dense).to(a.device))
    return energy


class _Energy(torch.autograd.Function):
    """The sum of the squares of convolutions, (B, 1, H, W); in bfloat16 where the processor has it, at a fifth of the
    time: differences are small numbers of which three digits are enough."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor) -> Tensor:
        dtype = torch.bfloat16 if has_bfloat16(x.device) else x.dtype
        kernels = kernels.to(dtype)
        sums = F.conv2d(x.to(dtype), kernels, padding=4)
        ctx.save_for_backward(sums, kernels)
        return sums.square().sum(1, keepdim=True, dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        sums, kernels = ctx.saved_tensors
        # The kernels are symmetric about their centres.
        back = F.conv2d(sums * (2 * gradient).to(sums.dtype), kernels.transpose(0, 1), padding=4)
        return back.to(gradient.dtype), None


@lru_cache
def _kernels(dense: bool) -> Tensor:
    """(16, 1, 9, 9)"""
    lines = HALF_LINES_DENSE if dense else HALF_LINES_SPARSE
    kernels = torch.zeros(len(lines), 1, 9, 9)
    kernels[:, :, 4, 4] = 1
    for number, line in enumerate(lines):
        for row, column in line:
            kernels[number, 0, 4 + row, 4 + column] = 1
            kernels[number, 0, 4 - row, 4 - column] = 1
    return kernels


def _lopsided(a: Tensor, b: Tensor) -> Tensor:
    size, other = a.abs(), (1 - 2 * (a < 0).to(a.dtype)) * b
    beyond = F.relu(0.4 * size - other) + F.relu(other - size)
    return 0.8 * (ASYMMETRY * (a - b).square() + beyond.square() / ASYMMETRY)


def _weighted(maps: Tensor, weights: Sequence[float]) -> Tensor:
    return (maps * torch.tensor(weights, device=maps.device).view(1, -1, 1, 1)).sum(1, keepdim=True)


def _activity(bands: Bands) -> Tensor:
    """How much is going on around each pixel, (B, 1, H, W)."""
    x = 2.5 * (bands.high[:, :1] + bands.highest[:, :1])
    y = 0.4 * (bands.high[:, 1:] + bands.highest[:, 1:])
    size = (x.square() + y.square() + 1e-12).sqrt()
    bias = 6.19424080439 * 12.61050594197
    return _blur((6.19424080439 * size + bias).sqrt() - math.sqrt(bias), 2.7)


def _erode(activity: Tensor) -> Tensor:
    """What is near something smooth is masked as if it were smooth: of the three least of 9 places."""
    around = F.pad(activity, (3, 3, 3, 3), value=math.inf)
    height, width = activity.shape[2:]
    places = [around[:, :, r : r + height, c : c + width] for r in (0, 3, 6) for c in (0, 3, 6) if (r, c) != (3, 3)]
    least = torch.stack([activity, 2 * activity, 2 * activity, *places]).topk(3, 0, largest=False).values
    return 0.45 * least[0] + 0.3 * least[1] + 0.25 * least[2]


def _bell(sigma: float, radius: int) -> Tensor:
    places = torch.arange(-radius, radius + 1)
    return torch.exp(-places.square() / (2 * sigma**2))


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian of 2.25 deviations; near the borders of what is inside alone."""
    bell = _bell(sigma, max(1, int(2.25 * sigma))).to(x.device)
    return _separable(x, bell, True)


def _blur_mirrored(x: Tensor) -> Tensor:
    bell = _bell(1.2, 2).to(x.device)
    x = torch.cat([x[:, :, :2].flip(2), x, x[:, :, -2:].flip(2)], 2)
    x = torch.cat([x[:, :, :, :2].flip(3), x, x[:, :, :, -2:].flip(3)], 3)
    return _separable(x, bell / bell.sum(), False)


def _separable(x: Tensor, bell: Tensor, normalised: bool) -> Tensor:
    channels, radius = x.shape[1], len(bell) // 2
    x = x.contiguous(memory_format=torch.channels_last)
    for dimension in (2, 3):
        shape = (1, 1, -1, 1) if dimension == 2 else (1, 1, 1, -1)
        padding = [0, 0]
        if normalised:
            padding[dimension - 2] = radius
            length = x.shape[dimension]
            inside = F.conv1d(torch.ones(1, 1, length, device=x.device), bell[None, None], padding=radius)
            x = F.conv2d(
                x, bell.view(shape).expand(channels, 1, -1, -1), padding=padding, groups=channels
            ) / inside.view(shape)
        else:
            x = F.conv2d(x, bell.view(shape).expand(channels, 1, -1, -1), groups=channels)
    return x
