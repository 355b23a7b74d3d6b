"""A network of this kind as the codec sees it: pixels of windows to payloads of tiles, and back; what is not its own
way from symbols to latents and from latents to pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aecodec.coding.tables import Indices, Symbols, Tables
from aecodec.container import QUALITY_MIN
from aecodec.exact.layers import POSITION_STEPS
from aecodec.families.base import Geometry, Mosaic, Pixels, Traits
from aecodec.families.hyperprior.constants import HYPER_STRIDE, STRIDE, SYMBOL_TOP, scale_of_index
from aecodec.families.hyperprior.hiding import Passes, sign_groups, tables_of, with_signs, without_signs
from aecodec.families.hyperprior.layers import Network
from aecodec.families.hyperprior.rounding import Encoder, shifts
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.search import search
from aecodec.families.layouts import array, from_pixels, network_input, on_host, regroup
from aecodec.hardware import has_bfloat16
from aecodec.options import EncodeOptions
from aecodec.tiling import Box, Size


class _Decoded(NamedTuple):
    """What is coded of a batch of tiles, and what follows from it: hyper latents (B, hyper, h/4, w/4) and features
    (B, trunk, h, w); latents (B, M, h, w), in units of a state; of each tile symbols and the tables they are coded
    with, (M, h, w)."""

    z: Tensor
    features: Tensor
    latents: Tensor
    coded: list[tuple[Symbols, Indices]]


class HyperpriorFamily(ABC):
    """See `families.base.Family` and `families.base.Describing`.

    Latents are (B, M, h, w) float32, before gain; they do not depend on quality. States are (M + trunk, h, w) float32:
    latents in LATENT_STEPS of a quantisation step, after them the features of the scale model.

    Attributes: network (what the encoder needs of it at least, in evaluation mode, channels_last), scale_model (exact),
    tables, prices (`Tables.prices` as a tensor), encoder (what it decides by).
    """

    portable = True
    LATENT_STEPS = 1
    network: Network
    scale_model: ExactScaleModel
    tables: Tables
    prices: Tensor
    encoder: Encoder
    device: torch.device

    @abstractmethod
    def _latents(self, features: Tensor, index: Tensor, symbols: Tensor) -> Tensor:
        """From features (B, trunk, h, w), scale indices and symbols (B, M, h, w) to the latents of a state."""

    @abstractmethod
    def _rounded(self, y: Tensor, features: Tensor, index: Tensor, shift: Tensor, groups: Sequence[Passes]) -> Tensor:
        """Symbols (B, M, h, w) of latents in steps. See `rounding.round_latents`."""

    @abstractmethod
    def render(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Tensor:
        """See `families.base.Rendering`."""

    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Pixels:
        return on_host(self.render(mosaics, inside, quality, depth))

    @property
    def geometry(self) -> Geometry:
        config = self.network.config
        return Geometry(HYPER_STRIDE, STRIDE, config.analysis_halo, STRIDE * config.synthesis_halo)

    @torch.inference_mode()
    def analyse(self, pixels: Pixels, inside: Sequence[Box]) -> list[Tensor]:
        x = network_input(from_pixels(pixels).to(self.device)).to(memory_format=torch.channels_last)
        latents = self.network.analysis(x)
        parts = []
        for box in inside:
            rows, columns = box.in_units(STRIDE).slices
            parts.append(latents[:, :, rows, columns].contiguous(memory_format=torch.channels_last))
        return parts

    @torch.inference_mode()
    def encode(
        self, latents: Tensor, pixels: Callable[[], Pixels], quality: int, options: EncodeOptions
    ) -> list[bytes]:
        noise = options.denoise or 0.0
        effort = 0 if noise else options.effort  # a search looks at the pixels, and would code their noise
        looked_at = from_pixels(pixels()) if effort or self.encoder.masking else None
        z, symbols, index, groups = self.symbols(latents, quality, looked_at, effort, noise)
        hyper, z_indices = array(self.scale_model.z_residual(z), torch.int32), self.z_indices(z.shape[1:], quality)
        coded, tables = without_signs(symbols, groups), tables_of(index, groups)
        tiles = zip(hyper, array(coded, torch.int32), array(tables, torch.uint8), strict=True)
        return [self.tables.encode([(z, z_indices), (symbols, tables)]) for z, symbols, tables in tiles]

    def encoders(self, options: EncodeOptions) -> int:
        # Steps back through the whole synthesis gain nothing by two, and take twice the memory.
        return 1 if options.effort > (1 if self.encoder.linear_start else 0) else 2

    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Tensor]:
        decoded = self._decoded(payloads, size, quality)
        return list(torch.cat([decoded.latents, decoded.features], 1))

    @torch.inference_mode()
    def traits(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Traits]:
        """See `families.base.Describing`. Colours are those of the linear path alone: the rest moves edges."""
        decoded = self._decoded(payloads, size, quality)
        gain = self.network.decoder_gain(self.row_position(quality, len(payloads))) / self.LATENT_STEPS
        weight = self.network.synthesis.linear.weight.float()
        # Of 16x16 pixels, ordered as by `unshuffle(., 8)` and `unshuffle(., 2)`, means of 4x4.
        linear = weight.flatten(1).reshape(3, 2, 4, 2, 4, 2, 2, -1).mean((2, 4))
        colour = torch.einsum("krcuvm,bmhw->bhurwvck", linear, decoded.latents * gain).add_(0.5).mul_(255)
        b, h, _, _, w, *_ = colour.shape
        colour = colour.reshape(b, 4 * h, 4 * w, 3)
        hyper = torch.stack([decoded.z.mean((2, 3)), decoded.z.std((2, 3), correction=0)], 1)
        bits = [self.tables.costs(*each).mean((1, 2)) for each in decoded.coded]
        features = decoded.features.mean((2, 3))
        return list(map(Traits, *(array(values, torch.float32) for values in (colour, features, hyper)), bits))

    @torch.inference_mode()
    def _decoded(self, payloads: Sequence[bytes], size: Size, quality: int) -> _Decoded:
        decoders = [self.tables.decoder(payload) for payload in payloads]
        shape = (self.network.config.hyper_channels, size[0] // HYPER_STRIDE, size[1] // HYPER_STRIDE)
        z_indices = self.z_indices(shape, quality)
        z = self.scale_model.z_of_residual(np.stack([decoder.take(z_indices) for decoder in decoders]))
        z_hat = torch.from_numpy(z).to(self.device, torch.float32, memory_format=torch.channels_last)
        features, index = self.scale_model(z_hat, quality - QUALITY_MIN)
        groups = sign_groups(index)
        coded = []
        for decoder, indices in zip(decoders, array(tables_of(index, groups), torch.uint8), strict=True):
            coded.append((decoder.take(indices), indices))
            decoder.finish()
        symbols = np.stack([values for values, _ in coded])
        r_hat = torch.from_numpy(symbols).to(self.device, torch.float32, memory_format=torch.channels_last)
        r_hat = with_signs(r_hat, groups).clamp_(-SYMBOL_TOP, SYMBOL_TOP)
        return _Decoded(z_hat, features, self._latents(features, index, r_hat), coded)

    def lost(self, size: Size) -> Tensor:
        config = self.network.config
        channels = config.latent_channels + config.trunk_channels
        return torch.zeros(channels, size[0] // STRIDE, size[1] // STRIDE, device=self.device)

    @torch.inference_mode()
    def symbols(
        self, latents: Tensor, quality: int, pixels: Tensor | None = None, effort: int = 0, noise: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor, list[Passes]]:
        """What is entropy-coded of a batch of tiles.

        latents: see `analyse`. quality: hundredths. effort: steps of `search`, which needs the pixels of the tiles,
        (B, 3, H, W); so does an encoder that masks. noise: standard deviation, in levels, of what is to be left out.
        Returns hyper latents (B, hyper, h/4, w/4), symbols (B, M, h, w) and their scale indices of the same shape, all
        as integers in float32, and the groups that hide signs.
        """
        network = self.network
        position = self.row_position(quality, len(latents))
        y = latents * network.encoder_gain(position)
        z_index = self.scale_model.z_scale_index(quality - QUALITY_MIN).to(y.device)
        z_coded = self.prices[z_index].isfinite()  # what is not coded arrives as 0

        def scales_of(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            z = network.entropy_model.hyper_latents(y).round().mul_(z_coded[:, None, None])
            return z, *self.scale_model(z, quality - QUALITY_MIN)

        z, features, index = scales_of(y)
        if noise:
            y = self._denoised(y, features, index, position, noise)
            z, features, index = scales_of(y)
        groups = sign_groups(index)
        target = None if pixels is None else regroup(network_input(pixels.to(y.device)))
        if effort:
            assert target is not None
            with torch.inference_mode(mode=False):
                y, shift = search(
                    network, y, features, index, self.prices, position, target, effort, groups, self.encoder
                )
        else:
            shift = shifts(index, self.prices, self.encoder.worth_map(position, target))
        return z, self._rounded(y, features, index, shift, groups), index, groups

    def _denoised(self, y: Tensor, features: Tensor, index: Tensor, position: Tensor, noise: float) -> Tensor:
        """Latents as the means and scales that were predicted of the noisy ones make them likely: the Wiener filter,
        with the variance of the noise in each channel, as the linear path lets it through (of what comes through in all
        98 %). y, features, index: see `rounding.round_latents`."""
        network = self.network
        of_channels = network.analysis.linear.weight.float().flatten(1).norm(dim=1)[:, None, None]
        own = (noise / 255 * of_channels * network.encoder_gain(position)).square()
        scale = scale_of_index(index)
        kept = (1 - own / scale.square()).clamp_min_(0)
        residual, mean = network.entropy_model.passes(features, scale, lambda mean, _: (y - mean) * kept)
        return residual + mean

    def symbol_arrays(self, latents: Tensor, quality: int) -> tuple[Symbols, Symbols, Indices]:
        """`symbols` without a search and without the groups, as arrays."""
        z, symbols, index, _ = self.symbols(latents, quality)
        return array(z, torch.int32), array(symbols, torch.int32), array(index, torch.uint8)

    def z_indices(self, shape: Sequence[int], quality: int) -> Indices:
        """Table indices of hyper latents of one tile, (hyper, h/4, w/4)."""
        index = self.scale_model.z_scale_index(quality - QUALITY_MIN).to(torch.uint8).numpy()
        return np.broadcast_to(index[:, None, None], tuple(shape))

    def row_position(self, quality: int, count: int) -> Tensor:
        """(count,) float32: a quality in hundredths as the network knows it, 0..1."""
        return torch.full((count,), (quality - QUALITY_MIN) / POSITION_STEPS, device=self.device)


def inference_dtype(precision: str, device: torch.device) -> torch.dtype:
    """precision: "float32", "bfloat16", or "auto": bfloat16 where the processor has instructions for it, twice the
    speed for less than 0.02 dB."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return torch.bfloat16 if has_bfloat16(device) else torch.float32
