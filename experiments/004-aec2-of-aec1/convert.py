"""Makes an aec2 of the weights of aec1-11: the same transforms, with a rectifier for GELU in the synthesis, streams and
activations scaled into the range of 8 bits, and more residual blocks, which change nothing yet. Training goes on from
there.

    python convert.py aec1-11 OUT.safetensors PHOTO...
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import interpolate_rows
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.weights import Parts, trainable
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import ACTIVATION_MAX, SIGNED_MAX, Aec2
from aecodec.families.aec2.weights import tensors_of
from aecodec.families.hyperprior.objective import measure
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.weights import metadata_of
from aecodec.families.layouts import from_pixels, network_input
from aecodec.models import locate, read_weights, write_weights
from aecodec.training.sources import Pictures

BEFORE, AFTER = 1, 2  # rows of qualities below and above those of aec1, as far apart
ROOM = 0.8  # of the range of 8 bits, for the largest of 10,000 activations
LINEAR = (
    "log_encoder_gain",
    "log_decoder_gain",
    "log_input_gain",
    "log_output_gain",
    "log_first_gain",
    "index_head.bias",
)


def more_rows(rows: Tensor, linear: bool) -> Tensor:
    """Rows for qualities beyond the ends: on the straight line through the last two, or like the last."""
    low, high = (rows[0] - rows[1], rows[-1] - rows[-2]) if linear else (0 * rows[0], 0 * rows[0])
    below = [rows[0] + k * low for k in range(BEFORE, 0, -1)]
    above = [rows[-1] + k * high for k in range(1, AFTER + 1)]
    return torch.stack([*below, *rows, *above])


class Peaks:
    """The largest of 10,000 values of each channel, seen in passes of a network."""

    def __init__(self) -> None:
        self.of: dict[str, Tensor] = {}

    def note(self, name: str, x: Tensor) -> None:
        flat = x.detach().float().abs().transpose(0, 1).flatten(1)
        peak = flat.kthvalue(max(1, math.ceil(0.9999 * flat.shape[1])), 1).values
        self.of[name] = torch.maximum(self.of[name], peak) if name in self.of else peak


@torch.no_grad()
def peaks_of(network: Aec1, x: Tensor) -> Peaks:
    """Of streams, of what is rectified within blocks, of the filter and of the means, at all qualities."""
    peaks = Peaks()
    synthesis = network.synthesis

    def noting(name: str, of_input: bool = False, rectified: bool = False):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            value = inputs[0] if of_input else output
            peaks.note(name, F.relu(value) if rectified else value)

        return hook

    synthesis.first.register_forward_hook(noting("stream_16"))
    synthesis.up.register_forward_pre_hook(lambda module, inputs: peaks.note("stream_16", inputs[0]))
    (block,) = synthesis.blocks_8
    block.register_forward_hook(noting("entering", of_input=True))
    block.first.register_forward_hook(noting("hidden_8", rectified=True))
    block.second.register_forward_hook(noting("stream_8"))

    def look_into_filter(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Its layers are not called but fused with their rectifiers, so they are computed here once more."""
        pixels, step, position = inputs
        own = synthesis.filter
        weight = own.first.weight.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
        gain = interpolate_rows(own.log_first_gain, position).exp()[:, :, None, None]
        bias = interpolate_rows(own.first_bias, position)[:, :, None, None]
        x = F.relu(F.conv2d(pixels / step, weight, padding=1) * gain + bias)
        peaks.note("filter_0", x)
        for number, layer in enumerate([own.second, *own.more], 1):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=1))
            peaks.note(f"filter_{number}", x)

    synthesis.filter.register_forward_hook(look_into_filter)
    for position in torch.linspace(0, 1, 5):
        measure(network, x, position.repeat(len(x)), noise=False)
    return peaks


def scaled(peak: Tensor, top: float) -> Tensor:
    """Factors that bring peaks near to the top, powers of two so that nothing is rounded."""
    return torch.exp2(torch.floor(torch.log2(ROOM * top / peak.clamp_min(top / 16))))


@torch.no_grad()
def convert(old: Aec1, config: ModelConfig, x: Tensor) -> Aec2:
    new = Aec2(config)
    peaks = peaks_of(old, x).of
    given = old.state_dict()
    wanted = new.state_dict()

    def rename(name: str) -> str:
        blocks = old.config.blocks_8
        for old_part, new_part in (
            (f"analysis.nonlinear.{blocks + 1}.", f"analysis.nonlinear.{config.analysis_blocks_8 + 1}."),
            (f"analysis.nonlinear.{blocks + 2}.", f"analysis.nonlinear.{len(new.analysis.nonlinear) - 1}."),
            ("synthesis.blocks_8.0.", "synthesis.enter."),  # its stream was a hundredth of what it added
            ("filter.second.", "filter.layers.0."),
            *((f"filter.more.{k}.", f"filter.layers.{k + 1}.") for k in range(8)),
        ):
            if old_part in name:
                return name.replace(old_part, new_part)
        return name

    assert old.config.analysis_blocks_16 == 0
    rows = old.config.rows
    died = [name for name in given if name.startswith("synthesis.blocks_16.")]  # in aec1-11: all of it is constant
    constant = sum(value for name, value in given.items() if name in died and name.endswith("second.bias"))
    given["synthesis.first.bias"] = given["synthesis.first.bias"] + constant
    for name, value in given.items():
        if name in died:
            continue
        if len(value) == rows and len(wanted[rename(name)]) == config.rows and value.ndim == 2:
            value = more_rows(value, any(part in name for part in LINEAR))
        assert wanted[rename(name)].shape == value.shape, name
        wanted[rename(name)] = value
    new.load_state_dict(wanted)

    s = new.synthesis
    squares = torch.arange(12).view(3, 4).T.flatten()  # from (colour, row, column) to (row, column, colour)
    s.filter.first.weight.copy_(s.filter.first.weight[:, squares])
    s.filter.last.weight.copy_(s.filter.last.weight[squares])
    s.filter.last.bias.copy_(s.filter.last.bias[squares])

    def outputs(layer: nn.Conv2d, factor: Tensor) -> None:
        layer.weight.mul_(factor.view(-1, 1, 1, 1))
        if layer.bias is not None:
            layer.bias.mul_(factor)

    def inputs(layer: nn.Conv2d, factor: Tensor) -> None:
        layer.weight.div_(factor.view(1, -1, 1, 1))

    # In aec1-11 what should be the quantisation step in units of pixels has drifted to a five-thousandth of it.
    at = config.rows // 2
    drift = (new.log_decoder_gain[at].mean() - s.log_output_gain[at]).exp()
    s.log_output_gain.add_(drift.log())
    outputs(s.last, 1 / drift.expand(s.last.out_channels))
    outputs(s.filter.last, 1 / drift.expand(12))
    inputs(s.filter.first, 1 / drift.expand(12))

    at_16, entering, at_8 = (scaled(peaks[name], SIGNED_MAX) for name in ("stream_16", "entering", "stream_8"))
    outputs(s.first, at_16)
    s.first_bias.mul_(at_16)
    inputs(s.up, at_16)
    outputs(s.up, entering.repeat_interleave(4))
    s.up_bias.mul_(entering)
    inputs(s.last, at_8)
    hidden = scaled(peaks["hidden_8"], ACTIVATION_MAX)
    inputs(s.enter.first, entering)
    outputs(s.enter.first, hidden)
    inputs(s.enter.second, hidden)
    outputs(s.enter.second, at_8)
    first = scaled(peaks["filter_0"], ACTIVATION_MAX)
    size = torch.exp2(torch.floor(torch.log2(s.filter.first.weight.abs().amax((1, 2, 3)))))
    outputs(s.filter.first, 1 / size)
    s.filter.log_first_gain.add_((first * size).log())
    s.filter.first_bias.mul_(first)
    following = [*s.filter.layers, s.filter.last]
    for number, layer in enumerate(following):
        inputs(layer, scaled(peaks[f"filter_{number}"], ACTIVATION_MAX))
        if number + 1 < len(following):
            outputs(layer, scaled(peaks[f"filter_{number + 1}"], ACTIVATION_MAX))
    fresh = [*s.blocks_16, *s.blocks_8]
    fresh += list(new.analysis.nonlinear)[1 + old.config.blocks_8 : 1 + config.analysis_blocks_8]
    fresh += list(new.analysis.nonlinear)[2 + config.analysis_blocks_8 : -1]
    for block in fresh:
        nn.init.kaiming_normal_(block.first.weight, nonlinearity="relu")
        nn.init.zeros_(block.first.bias)
        nn.init.zeros_(block.second.weight)
        nn.init.zeros_(block.second.bias)
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    options = parser.parse_args()
    weights = read_weights(*locate(options.model))
    old = trainable(weights).eval()
    pictures = Pictures(options.photos)
    crops = [np.asarray(pictures.image(k, pictures.read(k)).convert("RGB"))[:256, :256] for k in range(16)]
    x = network_input(from_pixels(np.stack(crops))).contiguous(memory_format=torch.channels_last)
    new = convert(old, ModelConfig(), x)
    encoder = Encoder.of(asdict(Parts(weights).encoder))
    metadata = metadata_of(new.config, encoder, {"step": "0", "training_minutes": "0"})
    tables = (torch.tensor(weights.tensors[f"tables.{name}"]) for name in ("frequencies", "reach"))
    print(write_weights(options.out, "aec2", tensors_of(new, *tables), metadata))


if __name__ == "__main__":
    main()
