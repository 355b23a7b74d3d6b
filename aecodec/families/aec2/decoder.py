"""The decoder of aec2 in integers: the same pixels on every machine, whatever the order of summation.

Two kinds of layers, both with weights that are integers:

- *narrow*: y = clamp(round((conv(x, w) + b) * 2^-s + r), 0, 255), where x and the shortcut r are unsigned 8-bit
  activations in steps of 1/16 (signed 8-bit ones in the context), w is int8, and round is to the nearest, half to even.
  All sums stay below 2^24, so float32 holds each exactly, and so does any integer unit of a processor.
- *wide*: y = round((conv(x, w) + b) * g), in float64, where w is int16, x stays below 2^26 and g has 16 bits and an
  exponent: the few layers that need more than 8 bits, under 2 kMAC/pixel in all.

Units: latents and means are in 1/256 of a quantisation step (`LATENT_STEPS`), pixels in 1/64 of an 8-bit level
(`PIXEL_STEPS`), activations in 1/16 (`ACTIVATION_STEPS`). Gains that depend on quality are powers of two of exactly
interpolated rows, rounded to 16 bits, so that no machine's exp() has a say. All else in float64 is single
multiplications, divisions and roundings, which IEEE 754 makes the same everywhere, or sums that are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.errors import ModelError
from aecodec.exact.layers import (
    ACTIVATION_STEPS,
    ACTIVATION_TOP,
    SUM_LIMIT,
    WEIGHT_TOP,
    cpu_dilation,
    interpolate_rows_exactly,
)
from aecodec.families.aec1.config import SCALE_COUNT, STRIDE, scale_of_index
from aecodec.families.aec1.network import first_pass_mask
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2, DecoderConv2d, EntropyModel, ResidualBlock, Synthesis
from aecodec.families.layouts import cut, shuffle
from aecodec.tiling import Box

LATENT_STEPS = 256  # of a quantisation step
MEAN_STEPS = 256  # of a mean in standard deviations
PIXEL_STEPS = 64  # of an 8-bit level
SUM_STEPS = 256  # of what adds up to the input of a rectifier
WIDE_TOP = 2**15 - 1
SCALE_BITS = 12  # a standard deviation is a multiple of 2^-12
GAIN_BITS = 16  # of the logarithm of a gain, below the point
LATENT_TOP = 2**24  # of a latent, in 1/256 steps
SUM_TOP = 2**22


def exact_gain(log2: Tensor) -> Tensor:
    """2^(log2 / 65536) with a mantissa of 16 bits, the same on every machine. log2: int64. Returns float64."""
    octave, part = log2 >> GAIN_BITS, log2 & (2**GAIN_BITS - 1)
    # The mantissa is rounded to 1 / 32768: far coarser than what the exp2 of any machine is off.
    mantissa = torch.floor(torch.exp2(part.double() / 2**GAIN_BITS) * 2**15 + 0.5) / 2**15
    return torch.ldexp(mantissa, octave.double())


def log2_rows(log_rows: Tensor) -> Tensor:
    """Rows of natural logarithms to int32 rows of `exact_gain`."""
    return torch.round(log_rows.detach().double() / math.log(2) * 2**GAIN_BITS).to(torch.int32)


def wide_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int16 weights and their exponents (O,): w = integers * 2^-exponent."""
    magnitude = weight.detach().double().abs().flatten(1).amax(1).clamp_min(1e-9)
    exponent = torch.floor(torch.log2(WIDE_TOP / magnitude)).clamp(-8, 30)
    return torch.round(weight.detach().double() * torch.exp2(exponent).view(-1, *[1] * (weight.ndim - 1))).to(
        torch.int16
    ), exponent.to(torch.int8)


def _export_narrow(name: str, layer: DecoderConv2d, rows: Tensor | None = None) -> dict[str, Tensor]:
    """rows: (R, O) biases by quality that are added to the layer's own."""
    exponent = layer.exponent()
    weight = torch.round(layer.weight.detach() * torch.exp2(exponent).view(-1, 1, 1, 1)).to(torch.int8)
    own = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    bias = own[None] if rows is None else own + rows.detach()
    bias = torch.round(bias.double() * torch.exp2(exponent) * ACTIVATION_STEPS).to(torch.int32)
    check_narrow(name, weight, bias, exponent)
    return {f"{name}.weight": weight, f"{name}.bias": bias, f"{name}.shift": exponent.to(torch.int8)}


def check_narrow(name: str, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
    """Raises ModelError unless all sums of the layer, a shortcut among them, stay below 2^24.

    weight: (O, I, k, k) int8. bias: (R, O) int32. shift: (O,).
    """
    worst = weight.long().abs().sum((1, 2, 3)) * ACTIVATION_TOP + bias.long().abs().amax(0)
    worst += ACTIVATION_TOP << shift.long()
    if int(worst.max()) >= SUM_LIMIT:
        raise ModelError(
            f"layer {name}, output channel {int(worst.argmax())}: sums of up to {int(worst.max())} do not fit float32 "
            f"exactly (limit {SUM_LIMIT})"
        )


def _export_wide(name: str, layer: nn.Conv2d, input_steps: int, rows: Tensor | None = None) -> dict[str, Tensor]:
    weight, exponent = wide_weight(layer.weight)
    tensors = {f"{name}.weight": weight, f"{name}.exponent": exponent}
    own = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    bias = own[None] if rows is None else own + rows.detach()
    scaled = bias.double() * torch.exp2(exponent.double()) * input_steps
    return tensors | {f"{name}.bias": torch.round(scaled).to(torch.int64)}


def export(model: Aec2) -> dict[str, Tensor]:
    """All integer tensors of the decoder but those of the scale model. Raises ModelError if sums could leave the exact
    range."""
    entropy, synthesis = model.entropy_model, model.synthesis
    tensors: dict[str, Tensor] = {}
    for name, layer in _means(entropy).items():
        tensors |= _export_wide(f"means.{name}", layer, ACTIVATION_STEPS)
    tensors |= _export_narrow("means.context", entropy.context)
    tensors |= _export_wide("means.neighbours", entropy.neighbours, LATENT_STEPS)
    # |latent| from which asinh rounds to k / 16, for k = 1..127
    k = torch.arange(1, WEIGHT_TOP + 1, dtype=torch.float64)
    tensors["means.thresholds"] = torch.ceil(torch.sinh((k - 0.5) / ACTIVATION_STEPS) * LATENT_STEPS).to(torch.int32)
    scales = scale_of_index(torch.arange(SCALE_COUNT, dtype=torch.float64))
    tensors["means.scales"] = torch.round(scales * 2**SCALE_BITS).to(torch.int32)

    tensors["synthesis.input_gain"] = log2_rows(synthesis.log_input_gain)
    tensors["synthesis.output_gain"] = log2_rows(synthesis.log_output_gain)
    tensors["synthesis.pixel_gain"] = log2_rows(synthesis.log_pixel_gain)
    tensors["synthesis.decoder_gain"] = log2_rows(model.log_decoder_gain)
    tensors |= _export_wide("synthesis.first", synthesis.first, SUM_STEPS, synthesis.first_bias)
    for level, up, bias in (
        ("8", synthesis.up_8, synthesis.bias_8),
        ("4", synthesis.up_4, synthesis.bias_4),
        ("2", synthesis.up_2, synthesis.bias_2),
    ):
        tensors |= _export_narrow(f"synthesis.up_{level}", up, bias.repeat_interleave(4, 1))
    for name, layer in _in_blocks(synthesis):
        tensors |= _export_narrow(name, layer)
    tensors |= _export_narrow("synthesis.last", synthesis.last)
    tensors |= _export_wide("synthesis.linear", synthesis.linear, 1)
    tensors |= _export_narrow("synthesis.pixels_in", synthesis.pixels_in)
    return tensors


def _in_blocks(synthesis: Synthesis) -> Iterator[tuple[str, DecoderConv2d]]:
    """The layers of the residual blocks, with the names of their tensors."""
    for level, count in zip(("2", "4", "8", "16"), synthesis.block_counts, strict=True):
        for name in _blocks(level, count):
            block = synthesis.get_submodule(name.removeprefix("synthesis."))
            assert isinstance(block, ResidualBlock)
            yield f"{name}.first", block.first
            yield f"{name}.second", block.second


@torch.no_grad()
def restore(model: Aec2, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `export`, but for what its rounding lost. Raises KeyError or RuntimeError if the tensors do not
    fit the network."""
    entropy, synthesis = model.entropy_model, model.synthesis

    def narrow(name: str, layer: nn.Conv2d, rows: nn.Parameter | None = None) -> None:
        step = torch.exp2(-tensors[f"{name}.shift"].double())
        layer.weight.copy_(tensors[f"{name}.weight"] * step.view(-1, 1, 1, 1))
        put_bias(layer, tensors[f"{name}.bias"] * step / ACTIVATION_STEPS, rows)

    def wide(name: str, layer: nn.Conv2d, input_steps: int, rows: nn.Parameter | None = None) -> None:
        step = torch.exp2(-tensors[f"{name}.exponent"].double())
        layer.weight.copy_(tensors[f"{name}.weight"] * step.view(-1, 1, 1, 1))
        put_bias(layer, tensors[f"{name}.bias"] * step / input_steps, rows)

    def put_bias(layer: nn.Conv2d, bias: Tensor, rows: nn.Parameter | None) -> None:
        if layer.bias is not None:
            layer.bias.copy_(bias[0])
        if rows is not None:  # one for all subpixels of a channel
            rows.copy_((bias - bias[0])[:, :: bias.shape[1] // rows.shape[1]])

    for name, layer in _means(entropy).items():
        wide(f"means.{name}", layer, ACTIVATION_STEPS)
    narrow("means.context", entropy.context)
    wide("means.neighbours", entropy.neighbours, LATENT_STEPS)
    gains = {"input": synthesis.log_input_gain, "output": synthesis.log_output_gain, "pixel": synthesis.log_pixel_gain}
    for name, parameter in {**gains, "decoder": model.log_decoder_gain}.items():
        parameter.copy_(tensors[f"synthesis.{name}_gain"].double() * (math.log(2) / 2**GAIN_BITS))
    wide("synthesis.first", synthesis.first, SUM_STEPS, synthesis.first_bias)
    narrow("synthesis.up_8", synthesis.up_8, synthesis.bias_8)
    narrow("synthesis.up_4", synthesis.up_4, synthesis.bias_4)
    narrow("synthesis.up_2", synthesis.up_2, synthesis.bias_2)
    for name, layer in _in_blocks(synthesis):
        narrow(name, layer)
    narrow("synthesis.last", synthesis.last)
    wide("synthesis.linear", synthesis.linear, 1)
    narrow("synthesis.pixels_in", synthesis.pixels_in)


def _means(entropy: EntropyModel) -> dict[str, nn.Conv2d]:
    """The wide layers of the means, by the names of their tensors."""
    names = ("first_mean.0", "first_mean.2", "context_features", "second_mean.1", "second_mean.3")
    layers = {name: entropy.get_submodule(name) for name in names}
    return {name: layer for name, layer in layers.items() if isinstance(layer, nn.Conv2d)}


def _blocks(level: str, count: int) -> list[str]:
    return [f"synthesis.blocks_{level}.{number}" for number in range(count)]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class Narrow:
    """A layer of 8-bit weights and activations, see the module. On processors where that is exact and at hand, in the
    8-bit convolutions of oneDNN, which are four times as fast as those in float32; elsewhere in float32."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: torch.device):
        weight, bias, shift = (tensors[f"{name}.{key}"] for key in ("weight", "bias", "shift"))
        check_narrow(name, weight, bias, shift)
        self.bias = bias.long()
        self.step = torch.ldexp(torch.ones(len(weight)), -shift.float()).to(device)
        self.padding = weight.shape[-1] // 2
        self.weight = weight.float().to(device, memory_format=torch.channels_last)
        self.packed: Tensor | None = None
        if device.type == "cpu" and int8_convolutions():
            self.packed = _pack(weight, self.step, self.padding)

    def sums(self, x: Tensor, position: int = 0) -> Tensor:
        """(conv(x, w) + b) * 2^-s, exact: (B, O, H, W) float32. x: (B, I, H, W), uint8 or, of the context, int8."""
        bias = self._bias(position)
        if self.packed is not None and x.dtype == torch.uint8:
            return _convolve(x, self.packed, self.step, bias, self.padding, torch.float32)
        dilation = cpu_dilation(self.weight.shape[-1]) if x.device.type == "cpu" else (1, 1)
        sums = F.conv2d(x.float(), self.weight, padding=self.padding, dilation=dilation).round_()
        return sums.mul_(self.step.view(1, -1, 1, 1)).add_(bias.view(1, -1, 1, 1))

    def __call__(self, x: Tensor, position: int = 0, shortcut: Tensor | None = None) -> Tensor:
        """(B, O, H, W) uint8. x: uint8. shortcut: uint8, of the shape of the result; may be overwritten."""
        if self.packed is not None:
            return _convolve(x, self.packed, self.step, self._bias(position), self.padding, torch.uint8, shortcut)
        y = self.sums(x, position)
        if shortcut is not None:
            y.add_(shortcut)
        return y.round_().clamp_(0, ACTIVATION_TOP).to(torch.uint8)

    def _bias(self, position: int) -> Tensor:
        """(O,) float32, in units of the result: the integer times 2^-s, exact."""
        bias = self.bias[0] if len(self.bias) == 1 else interpolate_rows_exactly(self.bias, position)
        return bias.to(self.step) * self.step


def _pack(weight: Tensor, step: Tensor, padding: int) -> Tensor:
    sides = [padding, padding]
    packed: Tensor = torch.ops.onednn.qconv_prepack(weight, step, 1.0, 0, [1, 1], sides, [1, 1], 1, None)
    return packed


def _convolve(
    x: Tensor,
    packed: Tensor,
    step: Tensor,
    bias: Tensor,
    padding: int,
    dtype: torch.dtype,
    shortcut: Tensor | None = None,
) -> Tensor:
    """conv(x, w) * step + bias (+ shortcut), rounded to the nearest, half to even, and cut to 0..255 if dtype is uint8.
    x: (B, I, H, W) uint8, in channels_last memory."""
    sides, zero = [padding, padding], torch.zeros(len(step), dtype=torch.int32)
    layer = x, 1.0, 0, packed, step, zero
    geometry = bias, [1, 1], sides, [1, 1], 1, 1.0, 0, dtype
    if shortcut is not None:
        # The sum is written over the shortcut, which nothing else needs any more.
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *layer, shortcut, *geometry, 1.0, 0, "sum", 1.0, "relu", [], ""
        )
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
    shortcut = torch.randint(0, 256, (1, 64, 16, 16), generator=generator, dtype=torch.uint8)
    x, shortcut = (v.contiguous(memory_format=torch.channels_last) for v in (x, shortcut))
    step, bias = torch.full((64,), 2.0**-9), torch.arange(64) / 4
    expected = F.conv2d(x.double(), weight.double(), padding=1) / 2**9 + bias.double().view(1, -1, 1, 1)
    try:
        packed = _pack(weight, step, 1)
        sums = _convolve(x, packed, step, bias, 1, torch.float32)
        rounded = _convolve(x, packed, step, bias, 1, torch.uint8)
        summed = _convolve(x, packed, step, bias, 1, torch.uint8, shortcut.clone())
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    return bool(
        torch.equal(sums.double(), expected)
        and torch.equal(rounded.double(), expected.round().clamp(0, 255))
        and torch.equal(summed.double(), (expected + shortcut).round().clamp(0, 255))
    )


class Wide:
    """A layer of 16-bit weights on integers, in float64, see the module."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: torch.device):
        self.weight = tensors[f"{name}.weight"].double().to(device)
        self.bias = tensors[f"{name}.bias"]
        self.factor = torch.ldexp(
            torch.ones(len(self.weight), dtype=torch.float64), -tensors[f"{name}.exponent"].double()
        )
        self.factor = self.factor.to(device)

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


class ExactDecoder:
    """From features, scale indices and symbols to pixels, in integers. See `export` for the tensors."""

    def __init__(self, tensors: Mapping[str, Tensor], config: ModelConfig, device: torch.device):
        def narrow(name: str) -> Narrow:
            return Narrow(tensors, name, device)

        def wide(name: str) -> Wide:
            return Wide(tensors, name, device)

        self.device, self.pixel_halo = device, config.pixel_halo
        self.thresholds = tensors["means.thresholds"].double().to(device)
        self.scales = tensors["means.scales"].double().to(device)
        self.first_mean = wide("means.first_mean.0"), wide("means.first_mean.2")
        self.context, self.context_features = narrow("means.context"), wide("means.context_features")
        self.second_mean = wide("means.second_mean.1"), wide("means.second_mean.3")
        self.neighbours = wide("means.neighbours")
        gains = ("input_gain", "output_gain", "pixel_gain", "decoder_gain")
        self.gains = {name: tensors[f"synthesis.{name}"].long() for name in gains}
        self.first, self.last = wide("synthesis.first"), narrow("synthesis.last")
        self.up = {level: narrow(f"synthesis.up_{level}") for level in ("8", "4", "2")}
        self.blocks = {
            level: [(narrow(f"{name}.first"), narrow(f"{name}.second")) for name in _blocks(level, count)]
            for level, count in zip(("2", "4", "8", "16"), config.synthesis_blocks, strict=True)
        }
        self.linear, self.pixels_in = wide("synthesis.linear"), narrow("synthesis.pixels_in")

    def gain(self, name: str, position: int) -> Tensor:
        return exact_gain(interpolate_rows_exactly(self.gains[name], position)).to(self.device)

    def passes(
        self, features: Tensor, index: Tensor, symbols_of: Callable[[Tensor, int], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Symbols and latents of all elements, (B, M, h, w): symbols as `symbols_of` gives them, and latents in 1/256
        of a quantisation step, integers in float64.

        features: (B, trunk, h, w), integers 0..255. index: (B, M, h, w), scale indices.
        symbols_of: from means in 1/256 of a step and the number of the pass to symbols, integers in float64.
        """
        scale = self.scales[index.long()]
        members = first_pass_mask(scale).to(scale.dtype)
        hidden = self.first_mean[0](features).clamp_(0, ACTIVATION_TOP)
        mean = self._mean(self.first_mean[1](hidden, gain=MEAN_STEPS / ACTIVATION_STEPS), scale)
        symbols = symbols_of(mean, 0) * members
        latents = (LATENT_STEPS * symbols + mean * members).clamp_(-LATENT_TOP, LATENT_TOP)

        magnitudes = torch.bucketize(latents.abs().contiguous(), self.thresholds, right=True)
        seen = _channels_last((magnitudes * latents.sign()).to(torch.int8))
        ratio = SUM_STEPS // ACTIVATION_STEPS
        hidden = self.context.sums(seen).double().mul_(ratio).round_()
        hidden += self.context_features(features, gain=float(ratio))
        hidden = hidden.div_(ratio).round_().clamp_(0, ACTIVATION_TOP)
        hidden = self.second_mean[0](hidden).clamp_(0, ACTIVATION_TOP)
        mean = self._mean(self.second_mean[1](hidden, gain=MEAN_STEPS / ACTIVATION_STEPS), scale)
        mean = mean + self.neighbours(latents)
        others = 1 - members
        second = symbols_of(mean, 1) * others
        latents = latents + (LATENT_STEPS * second + mean * others)
        return symbols + second, latents.clamp_(-LATENT_TOP, LATENT_TOP)

    def _mean(self, mean: Tensor, scale: Tensor) -> Tensor:
        """From standard deviations to 1/256 of a step."""
        return mean.clamp_(-SUM_TOP, SUM_TOP).mul_(scale).mul_(LATENT_STEPS / MEAN_STEPS / 2**SCALE_BITS).round_()

    def synthesis(self, latents: Tensor, features: Tensor, position: int, inside: Box | None = None) -> Tensor:
        """latents: (B, M, h, w), in 1/256 of a step, see `passes`; features: (B, trunk, h, w), 0..255;
        position: 0..9900; inside: box of the latents whose pixels are wanted, None: all. Returns (B, 12, 8 h, 8 w)
        float64 for it, see `layouts.regroup`: integers, 0 is black and 255 * PIXEL_STEPS white, not clamped."""
        whole = latents.shape[2], latents.shape[3]
        wanted = inside or Box.whole(whole)
        near = wanted.with_halo(self.pixel_halo, whole)
        latents = latents.double()
        gained = latents * self.gain("input_gain", position).view(1, -1, 1, 1)
        gained = gained.round_().clamp_(-LATENT_TOP, LATENT_TOP)
        x = torch.cat([gained, features.double() * (SUM_STEPS // ACTIVATION_STEPS)], 1)
        x = self.first(x, position, gain=ACTIVATION_STEPS / SUM_STEPS).clamp_(0, ACTIVATION_TOP).to(torch.uint8)
        x = cut(self._through_blocks("16", x), near)
        x = self._through_blocks("8", shuffle(self.up["8"](_channels_last(x), position), 2))
        x = self._through_blocks("4", shuffle(self.up["4"](x, position), 2))

        decoder_gain = self.gain("decoder_gain", position) * (255 * PIXEL_STEPS / LATENT_STEPS)
        pixels = self._linear((cut(latents, near) * decoder_gain.view(1, -1, 1, 1)).round_())
        step = self.gain("output_gain", position)  # a quantisation step, in units of white
        ratio = SUM_STEPS // ACTIVATION_STEPS
        sums = shuffle(self.up["2"].sums(x, position).double().mul_(ratio).round_(), 2)
        pixel_gain = self.gain("pixel_gain", position) * ratio
        sums = sums.add_(self._seen(pixels, step).mul_(pixel_gain.view(1, -1, 1, 1)).round_())
        x = sums.clamp_(-SUM_TOP, SUM_TOP).div_(ratio).round_().clamp_(0, ACTIVATION_TOP).to(torch.uint8)
        correction = self.last.sums(self._through_blocks("2", x)).double()
        correction = correction.mul_(step * (255 * PIXEL_STEPS / ACTIVATION_STEPS)).round_()
        return cut(pixels.add_(correction).add_(255 * PIXEL_STEPS // 2), wanted.within(near), STRIDE // 2)

    def _through_blocks(self, level: str, x: Tensor) -> Tensor:
        x = _channels_last(x)
        for first, second in self.blocks[level]:
            x = second(first(x), shortcut=x)
        return x

    def _linear(self, dequantised: Tensor) -> Tensor:
        """(B, M, h, w) in 1/64 of a level to pixels, (B, 12, 8 h, 8 w) in 1/64 of a level."""
        blocks = self.linear(dequantised)  # (B, 768, h, w), as by unshuffle(unshuffle(., 8), 2)
        b, _, h, w = blocks.shape
        # channel = ((colour, row of 4, row of 2, column of 4, column of 2), row of block, column of block)
        x = blocks.view(b, 3, 4, 2, 4, 2, 2, 2, h, w)  # colour, R, r, C, c, P, Q, h, w
        x = x.permute(0, 3, 5, 1, 8, 6, 2, 9, 7, 4)  # r, c, colour, h, P, R, w, Q, C
        return x.reshape(b, 12, 8 * h, 8 * w)

    def _seen(self, pixels: Tensor, output: Tensor) -> Tensor:
        """What the layer `pixels_in` makes of pixels in 1/16 of a quantisation step: 16 bits, in two bytes."""
        steps = (pixels * (ACTIVATION_STEPS / (255 * PIXEL_STEPS)) / output).round_().clamp_(-WIDE_TOP - 1, WIDE_TOP)
        high = (steps / 256).floor_()
        low = steps - 256 * high
        high_sums = self.pixels_in.sums(_channels_last(high.to(torch.int8))).double()
        return high_sums.mul_(256).add_(self.pixels_in.sums(_channels_last(low.to(torch.uint8))))
