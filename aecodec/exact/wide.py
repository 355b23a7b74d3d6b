"""Layers that need more than 8 bits, exact on every machine.

    y = round((conv(x, w) + b) * g)

in float64, where w is int16, x stays below 2^26 and g has 16 bits and an exponent. Sums are below 2^53, so their order
does not matter; all else are single multiplications and roundings, which IEEE 754 makes the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from aecodec.errors import ModelError
from aecodec.exact.layers import interpolate_rows_exactly, powers_of_two

INPUT_LIMIT, EXACT_LIMIT = 2.0**26, 2.0**53
GAIN_BITS = 16  # of the logarithm of a gain, below the point


def check_wide(name: str, weight: Tensor, bias: Tensor, exponent: Tensor) -> None:
    """Raises ModelError unless all sums of the layer stay below 2^53 and its results in range.

    weight: (O, I, k, k) int16. bias: (R, O) int64. exponent: (O,) int8.
    """
    worst = weight.double().abs().sum((1, 2, 3)) * INPUT_LIMIT + bias.double().abs().amax(0)
    if float(worst.max()) >= EXACT_LIMIT or int(exponent.abs().max()) > 40:
        raise ModelError(f"layer {name}, output channel {int(worst.argmax())}: sums do not fit float64 exactly")


def exact_gain(log2: Tensor) -> Tensor:
    """2^(log2 / 65536) with a mantissa of 16 bits, the same on every machine. log2: int64. Returns float64."""
    octave, part = log2 >> GAIN_BITS, log2 & (2**GAIN_BITS - 1)
    # The mantissa is rounded to 1 / 32768: far coarser than what the exp2 of any machine is off.
    mantissa = torch.floor(torch.exp2(part.double() / 2**GAIN_BITS) * 2**15 + 0.5) / 2**15
    return mantissa * powers_of_two(octave)


class Wide:
    """A layer of 16-bit weights on integers, in float64, see the module."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: torch.device):
        check_wide(name, *(tensors[f"{name}.{key}"] for key in ("weight", "bias", "exponent")))
        self.weight = tensors[f"{name}.weight"].double().to(device)
        self.bias = tensors[f"{name}.bias"]
        self.factor = powers_of_two(-tensors[f"{name}.exponent"]).to(device)

    def __call__(self, x: Tensor, position: int = 0, gain: float | Tensor = 1.0) -> Tensor:
        """round((conv(x, w) + b) * 2^-exponent * gain), (B, O, H, W) float64 in channels_last memory.
        gain: exact, a power of two or (O,)."""
        bias = self.bias[0] if len(self.bias) == 1 else interpolate_rows_exactly(self.bias, position)
        factor = self.factor * gain
        if self.weight.shape[-1] == 1:
            sums = x.double().permute(0, 2, 3, 1) @ self.weight[:, :, 0, 0].T
        else:  # depthwise
            padded = F.pad(x.double().permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
            height, width = x.shape[2:]
            windows = (padded[:, r : r + height, c : c + width] for r in range(3) for c in range(3))
            kernels = self.weight.flatten(1).unbind(1)
            sums = torch.zeros_like(padded[:, 1:-1, 1:-1])
            for window, kernel in zip(windows, kernels, strict=True):
                sums.addcmul_(window, kernel)
        return sums.add_(bias.to(sums)).mul_(factor).round_().permute(0, 3, 1, 2)
