"""What a visual model lowers beside the bits, in training and in its search: a mixture of what people see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecodec.perceptual import butteraugli
from aecodec.perceptual.similarity import WEIGHTS, ms_ssim, ssimulacra2

# What is not to be learned from SSIMULACRA2: it does not see colours in its two finest scales. Weights beside its own,
# about those of the third: of the 4-norms, for red against green and for blue against yellow.
FINE_COLOUR = {0: (1.84, 5.0, 5.0), 2: (4.0, 5.0, 5.0)}
NEGLIGIBLE = 0.01  # maps of less weight move the score by less than 0.1 together


def _with_fine_colours(channel: int, scale: int, weights: Sequence[float]) -> Sequence[float]:
    more = FINE_COLOUR.get(channel) if scale < 2 else None
    return weights if more is None else [*weights[:3], *(w + m for w, m in zip(weights[3:], more, strict=True))]


TRAINED = [[_with_fine_colours(c, s, weights) for s, weights in enumerate(WEIGHTS[c])] for c in range(3)]


@dataclass(frozen=True)
class Mixture:
    """Shares of what a picture's distortion is measured by; they add up to 1.

    Each measure counts at its usual price, bits per pixel, at the quality at hand, so that the shares say how much of
    the bits each is to decide.
    """

    ssimulacra2: float = 0.5
    ms_ssim: float = 0.3
    squared_error: float = 0.2
    butteraugli: float = 0.0

    def quick(self) -> Mixture:
        """The same without Butteraugli, which takes twice as long as all others together."""
        rest = 1 - self.butteraugli
        return Mixture(self.ssimulacra2 / rest, self.ms_ssim / rest, self.squared_error / rest)


# Of 1 - MS-SSIM over squared error of samples in 0..255, at equal rate: the ratio of the multipliers of CompressAI.
MS_SSIM_PRICE = 1270
# Bits per pixel of a point of SSIMULACRA2: the slopes of aec1-11, 1/600 at quality 1 and 1/10 at quality 100.
POINT_PRICE = 1 / 600  # where lambda is LAMBDA
POINT_EXPONENT = 0.64  # of lambda / LAMBDA
# Of a unit of Butteraugli: the slopes of aec1-visual-2 on Kodak, 1/18 at quality 18 and 1.2 at quality 78.
UNIT_PRICE = 1 / 40
UNIT_EXPONENT = 0.72
LAMBDA = 0.0005


def distortion(mixture: Mixture, reference: Tensor, picture: Tensor, lambdas: Tensor, sampled: bool = False) -> Tensor:
    """What is lost, in bits per pixel, (B,): lambda * 255^2 * MSE if that were all that counts. lambdas: (B,).

    sampled: Butteraugli is measured on every second picture alone, and counts twice there.
    """
    total = torch.zeros_like(lambdas)
    with torch.autocast(reference.device.type, enabled=False):  # bfloat16 would see differences of its own making
        if mixture.squared_error:
            total = total + mixture.squared_error * lambdas * 255**2 * (reference - picture).square().mean((1, 2, 3))
        if mixture.ms_ssim:
            total = total + mixture.ms_ssim * MS_SSIM_PRICE * lambdas * (1 - ms_ssim(reference, picture))
        if mixture.ssimulacra2:
            price = POINT_PRICE * (lambdas / LAMBDA) ** POINT_EXPONENT
            points = 100 - ssimulacra2(reference, picture, TRAINED, NEGLIGIBLE)
            total = total + mixture.ssimulacra2 * price * points
        if mixture.butteraugli:
            price = UNIT_PRICE * (lambdas / LAMBDA) ** UNIT_EXPONENT
            every = 2 if sampled else 1
            units = butteraugli.distance(reference[::every], picture[::every])
            total[::every] += every * mixture.butteraugli * price[::every] * units
    return total
