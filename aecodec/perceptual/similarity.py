"""How different two pictures look, differentiable: SSIMULACRA2 and MS-SSIM.

SSIMULACRA2 as published (Sneyers, github.com/cloudinary/ssimulacra2) and as the Python package of that name computes
it; MS-SSIM as published (Wang, Simoncelli and Bovik, 2003) and as pytorch-msssim computes it. Pictures are (B, 3, H, W)
float32, sRGB samples in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

# Weights of SSIMULACRA2, by channel and scale: of the mean and of the 4-norm of three maps each, which say where
# structure differs, where there is an edge too many, and where one is missing.
WEIGHTS = (
    (  # X: red against green
        (0, 0.000737660670741, 0, 0, 0.000779348168287, 0),
        (0, 0.000437115573011, 0, 1.10417264267, 0.000662848341293, 0.000152316327837),
        (0, 0.00164064374566, 0, 1.84224555205, 11.4411726038, 0),
        (0.000798910943602, 0.000176816438079, 0, 1.87875949795, 10.9490699061, 0),
        (0.000728934699151, 0.967793708063, 0, 0.000140034242854, 0.998176697785, 0.000319497559344),
        (0.000455099211379, 0, 0, 0.00136487661632, 0, 0),
    ),
    (  # Y: brightness
        (0, 0, 0, 7.46689032808, 0, 17.4458339841),
        (0.000623560163404, 0, 0, 6.68367814618, 0.000377244079796, 1.02788993777),
        (225.205153008, 0, 0, 19.2132381861, 0.00114015245866, 0.00123775563551),
        (176.393175985, 0, 0, 24.4330099987, 0.285208026121, 0.000448543692383),
        (0, 0, 0, 34.7790634448, 44.8356253289, 0),
        (0, 0, 0, 0, 0, 0),
    ),
    (  # B: blue against yellow
        (0, 0.000868055657329, 0, 0, 0, 0),
        (0, 0.000531319187436, 0, 0.000165338141614, 0, 0),
        (0, 0, 0, 0.000417917180325, 0.00172908282347, 0),
        (0.00208270058466, 0, 0, 8.826982765, 23.19243344, 0),
        (95.1080498811, 0.98639780344, 0.983438279247, 0.00122864050483, 171.26672559, 0.980785887244),
        (0, 0, 0, 0.000513006458899, 0, 0.000108540578584),
    ),
)
SCALES = 6
SMALLEST = 8  # pixels of a side; smaller scales do not count
SCORED_TOGETHER = 2048  # pixels of a side
SCORED_AT_LEAST = 256  # pixels of a side, on which all scales fit
ABSORBANCE = (  # of the three kinds of cones: linear red, green and blue
    (0.30, 1.0 - 0.078 - 0.30, 0.078),
    (0.23, 1.0 - 0.078 - 0.23, 0.078),
    (0.24342268924547819, 0.20476744424496821, 1.0 - 0.24342268924547819 - 0.20476744424496821),
)
BIAS = 0.0037930732552754493
STABILITY = 0.0009  # of the quotient of covariance and variances
SIGMA, RADIUS = 1.5, 5  # of the blur, pixels
_BELL = [math.exp(-(k**2) / (2 * SIGMA**2)) for k in range(-RADIUS, RADIUS + 1)]
KERNEL = [value / sum(_BELL) for value in _BELL]
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _blur(x: Tensor, mirror: bool) -> Tensor:
    """Gaussian of 11x11. x: (B, C, H, W), in channels_last memory: in any other, convolutions by channel take 30 times
    as long. mirror: beyond the upper and the lower border is the mirrored picture, beyond the left and the right one
    nothing; otherwise what depends on what is beyond the borders is left out."""
    channels = x.shape[1]
    kernel = torch.tensor(KERNEL, device=x.device).expand(channels, 1, -1)
    if mirror:
        x = torch.cat([x[:, :, :RADIUS].flip(2), x, x[:, :, -RADIUS:].flip(2)], 2)
    x = x.contiguous(memory_format=torch.channels_last)
    x = F.conv2d(x, kernel[:, :, :, None], groups=channels)
    return F.conv2d(x, kernel[:, :, None], padding=(0, RADIUS if mirror else 0), groups=channels)


def _similarity(x: Tensor, y: Tensor, mirror: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Local means of x and y and the quotient of twice their covariance and the sum of their variances."""
    mean_x = _blur(x, mirror)  # on its own: of a reference no gradient is wanted
    mean_y, squares, product = _blur(torch.cat([y, x.square() + y.square(), x * y], 1), mirror).chunk(3, 1)
    spread = squares - mean_x.square() - mean_y.square()
    covariance = product - mean_x * mean_y
    return mean_x, mean_y, (2 * covariance + STABILITY) / (spread + STABILITY)


def linear_light(x: Tensor) -> Tensor:
    """sRGB samples to light."""
    x = x.clamp(0, 1)
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0.04) + 0.055) / 1.055) ** 2.4)


def _opponent(light: Tensor, channels: tuple[int, ...]) -> Tensor:
    """These channels of XYB, made positive: (B, len(channels), H, W)."""
    cones: dict[int, Tensor] = {}

    def cone(number: int) -> Tensor:
        if number not in cones:
            red, green, blue = ABSORBANCE[number]
            mixed = red * light[:, 0] + green * light[:, 1] + blue * light[:, 2] + BIAS
            cones[number] = mixed.clamp_min(1e-6) ** (1 / 3) - BIAS ** (1 / 3)
        return cones[number]

    made = []
    for channel in channels:
        if channel == 0:
            made.append(7 * (cone(0) - cone(1)) + 0.42)
        elif channel == 1:
            made.append(0.5 * (cone(0) + cone(1)) + 0.01)
        else:
            made.append(cone(2) - 0.5 * (cone(0) + cone(1)) + 0.55)
    return torch.stack(made, 1)


def _norms(error: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and 4-norm of maps (B, C, H, W), (B, C)."""
    return error.mean((2, 3)), (error.square().square().mean((2, 3)) + 1e-24) ** 0.25


def ssimulacra2(
    reference: Tensor, picture: Tensor, weights: Sequence[Sequence[Sequence[float]]] = WEIGHTS, negligible: float = 0
) -> Tensor:
    """The score, (B,): 100 equal, 90 visually lossless at a normal distance, 70 good, 50 fair; down to below 0.

    weights: as `WEIGHTS`. negligible: maps of less weight are left out.
    """
    first, second = linear_light(reference), linear_light(picture)
    sizes = [(-(-first.shape[2] // 2**s), -(-first.shape[3] // 2**s)) for s in range(SCALES)]
    scales = sum(min(size) >= SMALLEST for size in sizes)
    # Where there are fewer scales, the published weights are read on without a gap.
    flat = [weight for channel in weights for scale in channel for weight in scale]
    total = first.new_zeros(len(first))
    for scale in range(scales):
        if scale:
            first, second = (F.avg_pool2d(light, 2, ceil_mode=True) for light in (first, second))
        at_scale = [flat[6 * (c * scales + scale) :][:6] for c in range(3)]  # three maps by mean, three by 4-norm
        channels = tuple(c for c in range(3) if max(at_scale[c]) > negligible)
        if not channels:
            continue
        x, y = _opponent(first, channels), _opponent(second, channels)
        # As in the package: beyond the left and the right border everything is 0.
        mean_x, mean_y, similar = _similarity(x, y, True)
        structure = (1 - (1 - (mean_x - mean_y).square()) * similar).clamp_min(0)
        edge = (1 + (y - mean_y).abs()) / (1 + (x - mean_x).abs()) - 1
        for kind, error in enumerate((structure, edge.clamp_min(0), (-edge).clamp_min(0))):
            for number, norm in enumerate(_norms(error)):
                for place, channel in enumerate(channels):
                    if (weight := at_scale[channel][3 * number + kind]) > negligible:
                        total = total + weight * norm[:, place]
    total = 0.9562382616834844 * total
    cubic = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100 - 10 * cubic.clamp_min(1e-6) ** 0.6276336467831387


def ms_ssim(reference: Tensor, picture: Tensor) -> Tensor:
    """Multi-scale structural similarity, mean over the colours: (B,), 1 equal. Sides of at least 176 pixels."""
    result: Tensor | float = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            reference, picture = (
                F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2)) for x in (reference, picture)
            )
        a, b, similar = _similarity(reference, picture, False)
        if scale == len(MS_SSIM_WEIGHTS) - 1:
            similar = similar * (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
        result = result * similar.mean((2, 3)).clamp_min(1e-4) ** weight
    assert isinstance(result, Tensor)
    return result.mean(1)


def score(a: npt.NDArray[Any], b: npt.NDArray[Any], peak: int = 255, device: str = "cpu") -> float:
    """SSIMULACRA2 of two arrays (H, W) or (H, W, 3): 100 equal, 90 visually lossless, 50 fair. Of pictures of more than
    2048 pixels a side the mean over pieces; smaller ones than 256 are mirrored at their borders. device: where it is
    computed, as torch names it."""
    if np.array_equal(a, b):
        return 100.0
    total = 0.0
    for rows in _pieces(a.shape[0]):
        for columns in _pieces(a.shape[1]):
            both: list[Tensor] = []
            for samples in (a, b):
                piece = np.atleast_3d(samples[rows, columns]).astype(np.float32) / peak
                missing = [max(0, SCORED_AT_LEAST - side) for side in piece.shape[:2]]
                piece = np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
                colours = np.repeat(piece, 3, 2) if piece.shape[2] == 1 else piece
                both.append(torch.from_numpy(colours).to(device).permute(2, 0, 1)[None])
            with torch.inference_mode():
                total += (
                    float(ssimulacra2(both[0], both[1])) * (rows.stop - rows.start) * (columns.stop - columns.start)
                )
    return total / (a.shape[0] * a.shape[1])


def _pieces(length: int) -> list[slice]:
    """Equal pieces of at most SCORED_TOGETHER."""
    count = -(-length // SCORED_TOGETHER)
    ends = [length * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]
