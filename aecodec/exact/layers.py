"""The layers, as they are trained and as they code.

A layer computes, per output channel c,

    y = clamp(floor((conv(x, w)_c + b_c) * 2^-s_c), 0, top)

with w int8, b int32, x integers in -127..255, s >= 0. Because sum |w| * 255 + |b| < 2^24 (`check_bound`, enforced
at export), every partial sum is an integer that float32 holds exactly, so an ordinary float32 convolution gives the
exact sum on any hardware. Rounding its result to the nearest integer removes what a transform-domain (Winograd)
algorithm adds; the multiplication by a power of two and the floor are exact.

`IntegerConv2d` is the trained layer: real weights, rounded in the forward pass with straight-through gradients
("fake quantisation"), so that what is trained is what is exported. Integer networks for entropy models: Balle,
Johnston, Minnen, "Integer networks for data compression with latent-variable models", ICLR 2019.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.errors import ModelError
from aecodec.exact.precision import full_precision

ACTIVATION_STEPS = 16  # integer steps per real unit of an activation: 0..255 stands for 0..15.94
ACTIVATION_TOP = 255
WEIGHT_TOP = 127
SUM_LIMIT = 2**24  # integers up to here are exact in float32
WEIGHT_SUM_LIMIT = 60_000  # * 255 leaves 1.4 million for the bias
POSITION_STEPS = 9900  # a quality in hundredths, 100..10000, is a position 0..9900 on the rows of biases


def round_through(x: Tensor) -> Tensor:
    """Rounds to the nearest integer; the gradient is that of the identity (straight-through)."""
    return x + (torch.round(x) - x).detach()


def floor_through(x: Tensor) -> Tensor:
    """Rounds down; the gradient is that of the identity (straight-through)."""
    return x + (torch.floor(x) - x).detach()


class ClampThrough(torch.autograd.Function):
    """clamp whose gradient also passes where descent would lead back into the range, so that no output stays stuck
    at a bound (as the lower bounds of CompressAI and tensorflow-compression do)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        stuck = ((x < low) & (grad > 0)) | ((x > high) & (grad < 0))
        return grad.masked_fill(stuck, 0), None, None


def interpolate_rows(rows: Tensor, position: Tensor) -> Tensor:
    """Linear interpolation of learned rows.

    rows: (R, C) float. position: (B,) float in 0..1. Returns (B, C).
    """
    at = position * (rows.shape[0] - 1)
    low = at.floor().clamp(0, rows.shape[0] - 2).long()
    return torch.lerp(rows[low], rows[low + 1], (at - low).unsqueeze(1).to(rows.dtype))


def interpolate_rows_exactly(rows: Tensor, position: int) -> Tensor:
    """The integer twin of `interpolate_rows`: floor of the exact rational interpolation.

    rows: (R, C) int64, R >= 2. position: 0..9900. Returns (C,) int64.
    """
    low, part = divmod(position * (rows.shape[0] - 1), POSITION_STEPS)
    high = min(low + 1, rows.shape[0] - 1)
    return (rows[low] * (POSITION_STEPS - part) + rows[high] * part).div(POSITION_STEPS, rounding_mode="floor")


def check_bound(name: str, weight: Tensor, bias: Tensor) -> None:
    """Raises ModelError unless every partial sum of the layer stays below 2^24.

    weight: (O, I, k, k) int8. bias: (R, O) int.
    """
    worst = weight.long().abs().sum((1, 2, 3)) * ACTIVATION_TOP + bias.long().abs().amax(0)
    if int(worst.max()) >= SUM_LIMIT:
        raise ModelError(
            f"layer {name}: sums of up to {int(worst.max())} do not fit float32 exactly (limit {SUM_LIMIT}); "
            "train with a smaller weight or bias in output channel " + str(int(worst.argmax()))
        )


def integer_conv2d(x: Tensor, weight: Tensor, bias: Tensor, step: Tensor, top: int) -> Tensor:
    """One exact integer layer.

    x: (B, I, H, W) float32 or float64, integers in -127..255. weight: (O, I, k, k) of the same dtype, integers.
    bias: (O,), integers. step: (O,), powers of two, see `powers_of_two`. Returns (B, O, H, W), integers in 0..top, same
    dtype as x.
    """
    device, kernel = x.device.type, weight.shape[-1]
    dilation = cpu_dilation(kernel) if device == "cpu" else (1, 1)
    with torch.autocast(device, enabled=False), full_precision(device):
        sums = F.conv2d(x, weight, padding=kernel // 2, dilation=dilation).round_()
    return sums.add_(bias.view(1, -1, 1, 1)).mul_(step.view(1, -1, 1, 1)).floor_().clamp_(0, top)


def powers_of_two(exponents: Tensor) -> Tensor:
    """2^exponent, exact: no device's exp2 has a say. exponents: (N,), integers. Returns (N,) float64 on the CPU."""
    return torch.tensor([math.ldexp(1.0, int(exponent)) for exponent in exponents], dtype=torch.float64)


def cpu_dilation(kernel: int) -> tuple[int, int]:
    """Dilation means nothing to a kernel of 1, but with it torch takes oneDNN's convolution on a single thread too, at
    twice the speed of its own."""
    return (2, 2) if kernel == 1 else (1, 1)


class IntegerConv2d(nn.Module):
    """A convolution trained with fake quantisation, followed by a rectifier that saturates at `top`.

    Its bias has one row for each learned quality; the rows are interpolated. Input and output are in integer units
    (integers as floats): activations in 0..255, or `z_hat` in -127..127 for the first layer.

    Args:
        inputs, outputs: channels.
        kernel: 1 or 3, odd.
        rows: number of quality rows of the bias.
        input_steps: integer steps per real unit of the input (1 for z_hat, 16 for activations).
        top: saturation of the output, 255 for activations.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rows: int,
        input_steps: int = ACTIVATION_STEPS,
        top: int = ACTIVATION_TOP,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(rows, outputs))
        self.input_steps = input_steps
        self.top = top
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def exponent(self) -> Tensor:
        """Exponent e per output channel, (O,) float: the weight's step is 2^-e, as fine as int8 and the bound allow."""
        magnitude = self.weight.detach().float().abs()
        finest = torch.minimum(
            WEIGHT_TOP / magnitude.amax((1, 2, 3)).clamp_min(1e-6),
            WEIGHT_SUM_LIMIT / magnitude.sum((1, 2, 3)).clamp_min(1e-6),
        )
        # The output is in steps of 1/16: below log2(16 / input_steps) the shift would be negative.
        return torch.floor(torch.log2(finest)).clamp(math.log2(ACTIVATION_STEPS / self.input_steps), 16)

    def forward(self, x: Tensor, position: Tensor, quantise: bool = True) -> Tensor:
        """x: (B, I, H, W) float32 in integer units. position: (B,) float in 0..1. Returns (B, O, H, W) float32.

        With quantise=False weights, biases and outputs stay unrounded: the float network that quantisation is
        compared with.
        """
        with torch.autocast(x.device.type, enabled=False):
            weight: Tensor = self.weight
            bias = interpolate_rows(self.bias, position)
            if quantise:
                exponent = self.exponent().view(-1, 1, 1, 1)
                weight = round_through(weight * torch.exp2(exponent)) * torch.exp2(-exponent)
            steps = ACTIVATION_STEPS / self.input_steps
            y = F.conv2d(x, weight, padding=weight.shape[-1] // 2) * steps + bias[:, :, None, None] * ACTIVATION_STEPS
            if quantise:
                y = floor_through(y + 0.5)
            # A rectified feature may rest at zero; a scale index must not get stuck there.
            return y.clamp(0, self.top) if self.top == ACTIVATION_TOP else ClampThrough.apply(y, 0, self.top)

    def export(self, name: str) -> dict[str, Tensor]:
        """The layer in integers: weight (O, I, k, k) int8, bias (R, O) int32, shift (O,) int8.

        Raises ModelError if the 2^24 bound does not hold.
        """
        exponent = self.exponent()
        weight = torch.round(self.weight.detach() * torch.exp2(exponent).view(-1, 1, 1, 1)).to(torch.int8)
        shift = exponent + math.log2(self.input_steps / ACTIVATION_STEPS)
        # The bias in accumulator units, plus the half step that turns floor into rounding.
        bias = torch.round(self.bias.detach().double() * torch.exp2(exponent) * self.input_steps) + torch.floor(
            torch.exp2(shift - 1)
        )
        check_bound(name, weight, bias)
        return {"weight": weight, "bias": bias.to(torch.int32), "shift": shift.to(torch.int8)}

    @torch.no_grad()
    def restore(self, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
        """The inverse of `export`, but for what its rounding lost."""
        shift = shift.double()
        steps = torch.exp2(shift) * ACTIVATION_STEPS / self.input_steps  # integers per unit of weight
        self.weight.copy_(weight / steps.view(-1, 1, 1, 1))
        self.bias.copy_((bias - torch.floor(torch.exp2(shift - 1))) / (steps * self.input_steps))
