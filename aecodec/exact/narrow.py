"""Layers of 8-bit weights and activations, exact on every machine.

    y = clamp(round((conv(x, w) + b) * 2^-s), 0, 255)

x are 8-bit activations, unsigned or signed, w is int8, and round is to the nearest, half to even. All sums stay below
2^24, so float32 holds each exactly, and so does any integer unit of a processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from aecodec.errors import ModelError
from aecodec.exact.layers import ACTIVATION_TOP, SUM_LIMIT, cpu_dilation, interpolate_rows_exactly, powers_of_two
from aecodec.exact.precision import full_precision

SIGNED_ZERO = 128  # what stands for 0 where activations are signed


def check_narrow(name: str, weight: Tensor, bias: Tensor) -> Tensor:
    """What no sum of the layer exceeds, (O,) int64. Raises ModelError unless that is below 2^24.

    weight: (O, I, k, k) int8. bias: (R, O) int32.
    """
    worst = weight.long().abs().sum((1, 2, 3)) * ACTIVATION_TOP + bias.long().abs().amax(0)
    if int(worst.max()) >= SUM_LIMIT:
        raise ModelError(
            f"layer {name}, output channel {int(worst.argmax())}: sums of up to {int(worst.max())} do not fit float32 "
            f"exactly (limit {SUM_LIMIT})"
        )
    return worst


class Narrow:
    """A layer of 8-bit weights and activations, see the module. On processors where that is exact and at hand, in the
    8-bit convolutions of oneDNN, which are four times as fast as those in float32; elsewhere in float32.

    signed: whether activations are -127..127; they are given as 1..255, with `SIGNED_ZERO` for 0.
    """

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: torch.device, signed: bool = False):
        self.zero = SIGNED_ZERO if signed else 0
        weight, bias, shift = (tensors[f"{name}.{key}"] for key in ("weight", "bias", "shift"))
        step = powers_of_two(-shift)
        self.reach = float((check_narrow(name, weight, bias) * step).max())  # that no result of `sums` exceeds
        self.bias = bias.long()
        self.step = step.float().to(device)
        self.padding = weight.shape[-1] // 2
        self.weight = weight.float().to(device, memory_format=torch.channels_last)
        self.packed: Tensor | None = None
        if device.type == "cpu" and int8_convolutions():
            self.packed = _pack(weight, self.step, self.padding)

    def sums(self, x: Tensor, position: int = 0) -> Tensor:
        """(conv(x, w) + b) * 2^-s, exact: (B, O, H, W) float32. x: (B, I, H, W) uint8, in channels_last memory."""
        bias = self._bias(position)
        if self.packed is not None:
            return _convolve(x, self.packed, self.step, bias, self.padding, torch.float32, self.zero)
        dilation = cpu_dilation(self.weight.shape[-1]) if x.device.type == "cpu" else (1, 1)
        with full_precision(x.device.type):
            sums = F.conv2d(x.float() - self.zero, self.weight, padding=self.padding, dilation=dilation).round_()
        return sums.mul_(self.step.view(1, -1, 1, 1)).add_(bias.view(1, -1, 1, 1))

    def __call__(self, x: Tensor, position: int = 0) -> Tensor:
        """(B, O, H, W) uint8. x: uint8."""
        if self.packed is not None:
            return _convolve(x, self.packed, self.step, self._bias(position), self.padding, torch.uint8, self.zero)
        return self.sums(x, position).round_().clamp_(0, ACTIVATION_TOP).to(torch.uint8)

    def _bias(self, position: int) -> Tensor:
        """(O,) float32, in units of the result: the integer times 2^-s, exact."""
        bias = self.bias[0] if len(self.bias) == 1 else interpolate_rows_exactly(self.bias, position)
        return bias.to(self.step) * self.step


def _pack(weight: Tensor, step: Tensor, padding: int) -> Tensor:
    sides = [padding, padding]
    packed: Tensor = torch.ops.onednn.qconv_prepack(weight, step, 1.0, 0, [1, 1], sides, [1, 1], 1, None)
    return packed


def _convolve(
    x: Tensor, packed: Tensor, step: Tensor, bias: Tensor, padding: int, dtype: torch.dtype, zero: int
) -> Tensor:
    """conv(x - zero, w) * step + bias, rounded to the nearest, half to even, and cut to 0..255 if dtype is uint8.
    x: (B, I, H, W) uint8, in channels_last memory."""
    sides, zeros = [padding, padding], torch.zeros(len(step), dtype=torch.int32)
    layer = x, 1.0, zero, packed, step, zeros
    geometry = bias, [1, 1], sides, [1, 1], 1, 1.0, 0, dtype
    activation = "relu" if dtype == torch.uint8 else "none"
    return torch.ops.onednn.qconv2d_pointwise(*layer, *geometry, activation, [], "")


@cache
def int8_convolutions() -> bool:
    """Whether this torch has 8-bit convolutions on this processor, and they are exact: tried on worst cases, since
    without VNNI instructions sums of two products saturate at 16 bits."""
    if not hasattr(torch.ops.onednn, "qconv2d_pointwise"):
        return False
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (1, 32, 16, 16), generator=generator, dtype=torch.uint8)
    x[:, :, :8] = 255
    weight = torch.randint(-127, 128, (64, 32, 3, 3), generator=generator, dtype=torch.int8)
    weight[:16], weight[16:32] = 127, -127
    x = x.contiguous(memory_format=torch.channels_last)
    step, bias = torch.full((64,), 2.0**-9), torch.arange(64) / 4
    for zero in (0, SIGNED_ZERO):
        expected = F.conv2d(x.double() - zero, weight.double(), padding=1) / 2**9 + bias.double().view(1, -1, 1, 1)
        try:
            packed = _pack(weight, step, 1)
            sums = _convolve(x, packed, step, bias, 1, torch.float32, zero)
            rounded = _convolve(x, packed, step, bias, 1, torch.uint8, zero)
        except (RuntimeError, NotImplementedError, AttributeError):
            return False
        if not torch.equal(sums.double(), expected):
            return False
        if not torch.equal(rounded.double(), expected.round().clamp(0, ACTIVATION_TOP)):
            return False
    return True
