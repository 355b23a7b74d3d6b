"""The decoder of aec2 in integers: the same pixels on every machine, whatever the order of summation.

Its layers are `exact.narrow` and, where 8 bits do not suffice, under 2 kMAC/pixel in all, `exact.wide`. Gains that
depend on quality are powers of two of exactly interpolated rows, rounded to 16 bits, so that no machine's exp() has a
say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.exact.layers import ACTIVATION_STEPS, ACTIVATION_TOP, SUM_LIMIT, interpolate_rows_exactly
from aecodec.exact.narrow import Narrow
from aecodec.exact.wide import Wide, exact_gain
from aecodec.families.aec1.config import STRIDE
from aecodec.families.aec1.network import first_pass_mask
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.integers import (
    LATENT_STEPS,
    LATENT_TOP,
    MEAN_STEPS,
    PIXEL_STEPS,
    SCALE_BITS,
    STREAM_TOP,
    SUM_STEPS,
    SUM_TOP,
    WIDE_TOP,
    block_names,
)
from aecodec.families.aec2.network import FEATURE_GAIN, LAST_GAIN
from aecodec.families.layouts import cut, shuffle
from aecodec.tiling import Box


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _rectified(x: Tensor) -> Tensor:
    """What a layer sees of a stream. x: integers in float32."""
    return _channels_last(x.clamp(0, ACTIVATION_TOP).to(torch.uint8))


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
            level: [(narrow(f"{name}.first"), narrow(f"{name}.second")) for name in block_names(level, count)]
            for level, count in zip(("2", "4", "8", "16"), config.synthesis_blocks, strict=True)
        }
        for level, blocks in self.blocks.items():
            begin = self.up[level].reach if level in ("8", "4") else STREAM_TOP
            if begin + sum(second.reach for _, second in blocks) >= SUM_LIMIT:
                raise ModelError(f"the stream of synthesis.blocks_{level}: sums do not fit float32 exactly")
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
        x = torch.cat([gained, features.double() * (FEATURE_GAIN * SUM_STEPS)], 1)
        x = self.first(x, position, gain=ACTIVATION_STEPS / SUM_STEPS).clamp_(-STREAM_TOP, STREAM_TOP).float()
        x = cut(self._through_blocks("16", x), near)
        x = self._through_blocks("8", shuffle(self.up["8"].sums(_rectified(x), position).round_(), 2))
        x = self._through_blocks("4", shuffle(self.up["4"].sums(_rectified(x), position).round_(), 2))

        decoder_gain = self.gain("decoder_gain", position) * (255 * PIXEL_STEPS / LATENT_STEPS)
        pixels = self._linear((cut(latents, near) * decoder_gain.view(1, -1, 1, 1)).round_())
        step = self.gain("output_gain", position)  # a quantisation step, in units of white
        ratio = SUM_STEPS // ACTIVATION_STEPS
        sums = shuffle(self.up["2"].sums(_rectified(x), position).double().mul_(ratio).round_(), 2)
        pixel_gain = self.gain("pixel_gain", position) * ratio
        sums = sums.add_(self._seen(pixels, step).mul_(pixel_gain.view(1, -1, 1, 1)).round_())
        x = self._through_blocks("2", sums.clamp_(-SUM_TOP, SUM_TOP).div_(ratio).round_().float())
        correction = self.last.sums(_rectified(x)).double()
        correction = correction.mul_(step * (LAST_GAIN * 255 * PIXEL_STEPS / ACTIVATION_STEPS)).round_()
        return cut(pixels.add_(correction).add_(255 * PIXEL_STEPS // 2), wanted.within(near), STRIDE // 2)

    def _through_blocks(self, level: str, x: Tensor) -> Tensor:
        """x: the stream, integers in float32."""
        x = _channels_last(x)
        for first, second in self.blocks[level]:
            x = second.sums(first(_rectified(x))).add_(x).round_()
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
