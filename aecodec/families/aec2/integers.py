"""The decoder's tensors in integers, made of the trained network, and the network restored from them.

Units: latents and means are in 1/256 of a quantisation step (`LATENT_STEPS`), pixels in 1/64 of an 8-bit level
(`PIXEL_STEPS`), activations in 1/16 (`ACTIVATION_STEPS`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aecodec.exact.layers import ACTIVATION_STEPS, WEIGHT_TOP
from aecodec.exact.narrow import check_narrow
from aecodec.exact.wide import GAIN_BITS
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2, DecoderConv2d
from aecodec.families.hyperprior.constants import SCALE_COUNT, scale_of_index
from aecodec.families.schema import Expected

LATENT_STEPS = 256  # of a quantisation step
MEAN_STEPS = 256  # of a mean in standard deviations
PIXEL_STEPS = 64  # of an 8-bit level
SUM_STEPS = 256  # of what adds up to the input of a rectifier, or of the table of GELU
GELU_REACH = 8  # below, GELU is 0, and above its input
WIDE_TOP = 2**15 - 1
SCALE_BITS = 12  # a standard deviation is a multiple of 2^-12
LATENT_TOP = 2**24  # of a latent, in 1/256 steps
SUM_TOP = 2**22
STREAM_TOP = 2**22  # of a stream before its first block


class Layer(NamedTuple):
    """A convolution of the decoder. rows: biases by quality that are added to its own, (R, C), one for each channel or
    for all subpixels of one. input_steps: of a wide layer, integers per unit of its input; 0: it is narrow."""

    name: str
    convolution: nn.Conv2d
    rows: Tensor | None = None
    input_steps: int = 0

    def biases(self) -> Tensor:
        """(R, O), real."""
        layer = self.convolution
        own = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
        if self.rows is None:
            return own[None]
        return own + self.rows.detach().repeat_interleave(layer.out_channels // self.rows.shape[1], 1)


def pairs(config: ModelConfig) -> list[str]:
    """The pairs of layers of the synthesis, as their tensors are named."""
    return [
        *(f"blocks_16.{number}" for number in range(config.blocks_16)),
        "enter",
        *(f"blocks_8.{number}" for number in range(config.blocks_8)),
    ]


def layers(model: Aec2) -> Iterator[Layer]:
    """All convolutions of the decoder but those of the scale model."""

    def narrow(name: str) -> Layer:
        convolution = model.get_submodule(name)
        assert isinstance(convolution, nn.Conv2d)
        return Layer(name, convolution)

    entropy, synthesis = model.entropy_model, model.synthesis
    of_features, of_hidden = ("first_mean.0", "context_features"), ("first_mean.2", "second_mean.1", "second_mean.3")
    for names, steps in ((of_features, ACTIVATION_STEPS), (of_hidden, SUM_STEPS)):
        for name in names:
            convolution = entropy.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            yield Layer(f"means.{name}", convolution, input_steps=steps)
    yield Layer("means.context", entropy.context)
    yield Layer("means.neighbours", entropy.neighbours, input_steps=LATENT_STEPS)
    yield Layer("synthesis.first", synthesis.first, synthesis.first_bias, SUM_STEPS)
    yield Layer("synthesis.up", synthesis.up, synthesis.up_bias)
    for pair in pairs(model.config):
        for half in ("first", "second"):
            yield narrow(f"synthesis.{pair}.{half}")
    yield narrow("synthesis.last")
    yield Layer("synthesis.linear", synthesis.linear, input_steps=1)
    yield narrow("synthesis.filter.first")
    for number in range(model.config.filter_layers):
        yield narrow(f"synthesis.filter.layers.{number}")
    yield narrow("synthesis.filter.last")


def rows(model: Aec2) -> dict[str, tuple[nn.Parameter, float]]:
    """What else has a row for each learned quality, by the names of tensors, and integers per unit: logarithms of
    gains, and a bias."""
    synthesis = model.synthesis
    octaves = 2**GAIN_BITS / math.log(2)
    return {
        "synthesis.input_gain": (synthesis.log_input_gain, octaves),
        "synthesis.output_gain": (synthesis.log_output_gain, octaves),
        "synthesis.decoder_gain": (model.log_decoder_gain, octaves),
        "synthesis.filter.gain": (synthesis.filter.log_first_gain, octaves),
        "synthesis.filter.bias": (synthesis.filter.first_bias, SUM_STEPS),
    }


def export(model: Aec2) -> dict[str, Tensor]:
    """All integer tensors of the decoder but those of the scale model. Raises ModelError if sums could leave the exact
    range."""
    tensors: dict[str, Tensor] = {}
    for layer in layers(model):
        name, convolution, _, input_steps = layer
        weight = convolution.weight.detach().double()
        if input_steps:
            largest = weight.abs().flatten(1).amax(1).clamp_min(1e-9)
            exponent, key = torch.floor(torch.log2(WIDE_TOP / largest)).clamp(-8, 30), "exponent"
            rounded = torch.round(weight * torch.exp2(exponent).view(-1, 1, 1, 1)).to(torch.int16)
            top, steps = torch.int64, input_steps
        else:
            assert isinstance(convolution, DecoderConv2d)
            exponent, key = convolution.exponent().double(), "shift"
            rounded = convolution.integers().to(torch.int8)
            top, steps = torch.int32, ACTIVATION_STEPS
        tensors[f"{name}.weight"] = rounded
        tensors[f"{name}.bias"] = torch.round(layer.biases().double() * torch.exp2(exponent) * steps).to(top)
        tensors[f"{name}.{key}"] = exponent.to(torch.int8)
        if not input_steps:
            check_narrow(name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    for name, (parameter, per_unit) in rows(model).items():
        tensors[name] = torch.round(parameter.detach().double() * per_unit).to(torch.int32)
    # |latent| from which asinh rounds to k / 16, for k = 1..127
    k = torch.arange(1, WEIGHT_TOP + 1, dtype=torch.float64)
    tensors["means.thresholds"] = torch.ceil(torch.sinh((k - 0.5) / ACTIVATION_STEPS) * LATENT_STEPS).to(torch.int32)
    x = torch.arange(-GELU_REACH * SUM_STEPS, GELU_REACH * SUM_STEPS, dtype=torch.float64) / SUM_STEPS
    tensors["means.gelu"] = torch.round(nn.functional.gelu(x) * SUM_STEPS).to(torch.int16)
    scales = scale_of_index(torch.arange(SCALE_COUNT, dtype=torch.float64))
    tensors["means.scales"] = torch.round(scales * 2**SCALE_BITS).to(torch.int32)
    return tensors


@torch.no_grad()
def restore(model: Aec2, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `export`, but for what its rounding lost."""
    for name, convolution, own_rows, input_steps in layers(model):
        exponent = tensors[f"{name}.exponent" if input_steps else f"{name}.shift"]
        step = torch.exp2(-exponent.double())
        convolution.weight.copy_(tensors[f"{name}.weight"] * step.view(-1, 1, 1, 1))
        bias = tensors[f"{name}.bias"] * step / (input_steps or ACTIVATION_STEPS)
        if convolution.bias is not None:
            convolution.bias.copy_(bias[0])
        if own_rows is not None:  # one for all subpixels of a channel
            own_rows.copy_((bias - bias[0])[:, :: bias.shape[1] // own_rows.shape[1]])
    for name, (parameter, per_unit) in rows(model).items():
        parameter.copy_(tensors[name].double() / per_unit)


def expected(model: Aec2) -> Expected:
    """What `export` gives, see `families.schema.check_tensors`."""
    kinds: Expected = {
        "means.thresholds": ((WEIGHT_TOP,), ("int32",)),
        "means.gelu": ((2 * GELU_REACH * SUM_STEPS,), ("int16",)),
        "means.scales": ((SCALE_COUNT,), ("int32",)),
    }
    for name, convolution, own_rows, input_steps in layers(model):
        outputs = convolution.out_channels
        kinds[f"{name}.weight"] = tuple(convolution.weight.shape), ("int16" if input_steps else "int8",)
        biases = (1 if own_rows is None else len(own_rows), outputs)
        kinds[f"{name}.bias"] = biases, ("int64" if input_steps else "int32",)
        kinds[f"{name}.exponent" if input_steps else f"{name}.shift"] = (outputs,), ("int8",)
    return kinds | {name: (tuple(parameter.shape), ("int32",)) for name, (parameter, _) in rows(model).items()}
