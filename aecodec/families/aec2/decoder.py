"""The decoder of aec2 in integers: the same pixels on every machine, whatever the order of summation.

Its layers are `exact.narrow` and, where 8 bits do not suffice, under 2 kMAC/pixel in all, `exact.wide`. Gains that
depend on quality are powers of two of exactly interpolated rows, rounded to 16 bits, so that no machine's exp() has a
say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.exact.layers import ACTIVATION_STEPS, ACTIVATION_TOP, SUM_LIMIT, WEIGHT_TOP, interpolate_rows_exactly
from aecodec.exact.narrow import SIGNED_ZERO, Narrow
from aecodec.exact.wide import INPUT_LIMIT, Wide, exact_gain
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.integers import (
    GELU_REACH,
    LATENT_STEPS,
    LATENT_TOP,
    MEAN_STEPS,
    PIXEL_STEPS,
    SCALE_BITS,
    STREAM_TOP,
    SUM_STEPS,
    SUM_TOP,
    WIDE_TOP,
)
from aecodec.families.hyperprior.constants import STRIDE
from aecodec.families.hyperprior.layers import first_pass_mask
from aecodec.families.layouts import by_rows, cut, shuffle, squares_of_blocks
from aecodec.tiling import Box

HIDDEN_TOP = 2.0**20  # of what GELU gives, in 1/256


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _seen(x: Tensor) -> Tensor:
    """What a layer sees of a stream, as `exact.narrow` has signed activations. x: integers in float32."""
    return _channels_last(x.clamp(-WEIGHT_TOP, WEIGHT_TOP).add_(SIGNED_ZERO).to(torch.uint8))


def _blocks(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a layer whose results are blocks of pixels, with these in the order of `layouts.by_rows`."""
    own = {key: tensors[key] for key in tensors if key.startswith(f"{name}.")}
    return {key: by_rows(value.T).T if key == f"{name}.bias" else by_rows(value) for key, value in own.items()}


class ExactDecoder:
    """From features, scale indices and symbols to pixels, in integers. See `export` for the tensors."""

    def __init__(self, tensors: Mapping[str, Tensor], config: ModelConfig, device: torch.device):
        def narrow(name: str, signed: bool = False) -> Narrow:
            return Narrow(tensors, name, device, signed)

        def wide(name: str) -> Wide:
            return Wide(tensors, name, device)

        def pair(name: str) -> tuple[Narrow, Narrow]:
            return narrow(f"synthesis.{name}.first", signed=True), narrow(f"synthesis.{name}.second")

        def blocks(level: str, count: int, start: float) -> list[tuple[Narrow, Narrow]]:
            made = [pair(f"blocks_{level}.{number}") for number in range(count)]
            if start + sum(second.reach for _, second in made) >= SUM_LIMIT:
                raise ModelError(f"the stream of synthesis.blocks_{level}: sums do not fit float32 exactly")
            return made

        self.device, self.pixel_halo = device, config.pixel_halo
        self.thresholds = tensors["means.thresholds"].double().to(device)
        self.scales = tensors["means.scales"].double().to(device)
        self.gelu_table = tensors["means.gelu"].double().to(device)
        self.first_mean = wide("means.first_mean.0"), wide("means.first_mean.2")
        self.context, self.context_features = narrow("means.context", signed=True), wide("means.context_features")
        self.second_mean = wide("means.second_mean.1"), wide("means.second_mean.3")
        self.neighbours = wide("means.neighbours")
        names = ("input_gain", "output_gain", "decoder_gain", "filter.gain", "filter.bias")
        self.rows = {name: tensors[f"synthesis.{name}"].long() for name in names}
        self.first, self.up = wide("synthesis.first"), narrow("synthesis.up", signed=True)
        self.blocks_16 = blocks("16", config.blocks_16, STREAM_TOP)
        self.enter = pair("enter")
        self.blocks_8 = blocks("8", config.blocks_8, self.enter[1].reach)
        self.last = Narrow(_blocks(tensors, "synthesis.last"), "synthesis.last", device, signed=True)
        self.linear = Wide(_blocks(tensors, "synthesis.linear"), "synthesis.linear", device)
        self.filter_first = narrow("synthesis.filter.first", signed=True), narrow("synthesis.filter.first")
        self.filter_layers = [narrow(f"synthesis.filter.layers.{k}") for k in range(config.filter_layers)]
        self.filter_last = narrow("synthesis.filter.last")

    def gain(self, name: str, position: int) -> Tensor:
        """(C,) float64. position: 0..9900."""
        return exact_gain(interpolate_rows_exactly(self.rows[name], position)).to(self.device)

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
        ratio = SUM_STEPS // ACTIVATION_STEPS
        hidden = self._gelu(self.first_mean[0](features, gain=float(ratio)))
        mean = self._mean(self.first_mean[1](hidden), scale)
        symbols = symbols_of(mean, 0) * members
        latents = (LATENT_STEPS * symbols + mean * members).clamp_(-LATENT_TOP, LATENT_TOP)

        magnitudes = torch.bucketize(latents.abs().contiguous(), self.thresholds, right=True)
        hidden = self.context.sums(_seen(magnitudes * latents.sign())).double().mul_(ratio).round_()
        hidden += self.context_features(features, gain=float(ratio))
        mean = self._mean(self.second_mean[1](self._gelu(self.second_mean[0](self._gelu(hidden)))), scale)
        mean = mean + self.neighbours(latents)
        others = 1 - members
        second = symbols_of(mean, 1) * others
        latents = latents + (LATENT_STEPS * second + mean * others)
        return symbols + second, latents.clamp_(-LATENT_TOP, LATENT_TOP)

    def _gelu(self, x: Tensor) -> Tensor:
        """Of integers in 1/256, by the table; above it, x itself."""
        top = GELU_REACH * SUM_STEPS
        return torch.where(x < top, self.gelu_table[(x.clamp(-top, top - 1) + top).long()], x.clamp(max=HIDDEN_TOP))

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
        x = self.first(x, position, gain=ACTIVATION_STEPS / SUM_STEPS).clamp_(-STREAM_TOP, STREAM_TOP).float()
        x = cut(_through(self.blocks_16, _channels_last(x)), near)
        x = shuffle(self.up.sums(_seen(x), position).round_(), 2)
        x = _through(self.blocks_8, _pair(self.enter, x).round_())

        decoder_gain = self.gain("decoder_gain", position) * (255 * PIXEL_STEPS / LATENT_STEPS)
        step = self.gain("output_gain", position)  # a quantisation step, in units of white
        per_step = step * (255 * PIXEL_STEPS / ACTIVATION_STEPS)
        linear = (cut(latents, near) * decoder_gain.view(1, -1, 1, 1)).round_().clamp_(1 - INPUT_LIMIT, INPUT_LIMIT - 1)
        pixels = squares_of_blocks(self.linear(linear))
        pixels = pixels.add_(squares_of_blocks(self.last.sums(_seen(x)).double().mul_(per_step).round_()))
        pixels = pixels.add_(self._filter(pixels, step, position).mul_(per_step).round_())
        return cut(pixels.add_(255 * PIXEL_STEPS // 2), wanted.within(near), STRIDE // 2)

    def _filter(self, pixels: Tensor, step: Tensor, position: int) -> Tensor:
        """What the filter adds, (B, 12, H/2, W/2) float64, in 1/16 of a quantisation step, not rounded."""
        # In 1/256 of a step: in 1/16 the rounding was most of the error of smooth pictures.
        steps = (pixels * (SUM_STEPS / (255 * PIXEL_STEPS)) / step).round_().clamp_(-WIDE_TOP - 1, WIDE_TOP)
        high = (steps / 256).floor_()  # 16 bits in two bytes
        signed, unsigned = self.filter_first
        sums = signed.sums(_channels_last((high + SIGNED_ZERO).to(torch.uint8))).double().mul_(256)
        sums += unsigned.sums(_channels_last((steps - 256 * high).to(torch.uint8)))
        sums = sums.mul_(self.gain("filter.gain", position).view(1, -1, 1, 1)).round_()
        sums += interpolate_rows_exactly(self.rows["filter.bias"], position).to(sums).view(1, -1, 1, 1)
        x = _channels_last(sums.div_(SUM_STEPS // ACTIVATION_STEPS).round_().clamp_(0, ACTIVATION_TOP).to(torch.uint8))
        for layer in self.filter_layers:
            x = layer(x)
        return self.filter_last.sums(x).double()


def _pair(layers: tuple[Narrow, Narrow], x: Tensor) -> Tensor:
    """What they make of a stream, not rounded. x: integers in float32."""
    return layers[1].sums(layers[0](_seen(x)))


def _through(blocks: Sequence[tuple[Narrow, Narrow]], x: Tensor) -> Tensor:
    """The stream after residual blocks."""
    for block in blocks:
        x = _pair(block, x).add_(x).round_()
    return x
