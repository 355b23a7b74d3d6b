"""aec2 as the codec sees it: pixels of windows to payloads of tiles, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from aecodec.coding.tables import Indices, Symbols, Tables
from aecodec.container import QUALITY_MIN
from aecodec.errors import ModelError
from aecodec.exact import selftest
from aecodec.exact.layers import POSITION_STEPS
from aecodec.families.aec2.decoder import ExactDecoder
from aecodec.families.aec2.integers import LATENT_STEPS, PIXEL_STEPS
from aecodec.families.aec2.weights import Parts, network_of
from aecodec.families.base import Geometry, Mosaic, Pixels, Weights
from aecodec.families.hyperprior.constants import HYPER_STRIDE, STRIDE
from aecodec.families.hyperprior.hiding import Passes, sign_groups, tables_of, with_signs, without_signs
from aecodec.families.hyperprior.rounding import quantise_pass, shifts
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.search import search
from aecodec.families.layouts import array, from_pixels, gather, network_input, pixels_of_squares, regroup
from aecodec.options import EncodeOptions
from aecodec.tiling import Box, Size


def load(weights: Weights, device: str, precision: str) -> Aec2Family:
    """See `families.base.FamilyModule`. precision: of the encoder; the decoder is exact in any case."""
    return Aec2Family(weights, device, precision)


class Aec2Family:
    """See `families.base.Family`.

    Latents are (B, M, h, w) float32, before gain; they do not depend on quality. States are (M + trunk, h, w) float32:
    latents in 1/256 of a quantisation step, after them the features of the scale model, all of them integers.

    Attributes: network (floating point, for the encoder), decoder and scale_model (exact), tables, prices
    (`Tables.prices` as a tensor), encoder (what it decides by).
    """

    portable = True

    def __init__(self, weights: Weights, device: str, precision: str = "auto"):
        selftest.check(device)
        parts = Parts(weights)
        self.config, self.encoder = parts.config, parts.encoder
        self.device = torch.device(device)
        try:
            self.network = network_of(parts)
            self.scale_model = ExactScaleModel(parts.scales, self.device)
            self.decoder = ExactDecoder(parts.decoder, parts.config, self.device)
            self.tables = Tables(parts.tables["frequencies"], parts.tables["reach"].astype(np.int32))
            self.prices = torch.from_numpy(self.tables.prices()).to(self.device)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"tensors do not fit the network ({error})") from error
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.prepare_for_inference(precision)

    @property
    def geometry(self) -> Geometry:
        return Geometry(HYPER_STRIDE, STRIDE, self.config.analysis_halo, STRIDE * self.config.synthesis_halo)

    @torch.inference_mode()
    def analyse(self, pixels: Pixels, inside: Sequence[Box]) -> list[Tensor]:
        x = network_input(from_pixels(pixels).to(self.device)).to(memory_format=torch.channels_last)
        with self.network.reduced_precision():
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
        looked_at = from_pixels(pixels()) if options.effort else None
        z, symbols, index, groups = self.symbols(latents, quality, looked_at, options.effort)
        hyper, z_indices = array(self.scale_model.z_residual(z), torch.int32), self.z_indices(z.shape[1:], quality)
        coded, tables = without_signs(symbols, groups), tables_of(index, groups)
        tiles = zip(hyper, array(coded, torch.int32), array(tables, torch.uint8), strict=True)
        return [self.tables.encode([(z, z_indices), (symbols, tables)]) for z, symbols, tables in tiles]

    def encoders(self, options: EncodeOptions) -> int:
        return 1 if options.effort > 1 else 2  # more steps gain nothing by two and take twice the memory

    @torch.inference_mode()
    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Tensor]:
        decoders = [self.tables.decoder(payload) for payload in payloads]
        shape = (self.config.hyper_channels, size[0] // HYPER_STRIDE, size[1] // HYPER_STRIDE)
        z_indices = self.z_indices(shape, quality)
        z = self.scale_model.z_of_residual(np.stack([decoder.take(z_indices) for decoder in decoders]))
        z_hat = torch.from_numpy(z).to(self.device, torch.float32, memory_format=torch.channels_last)
        features, index = self.scale_model(z_hat, quality - QUALITY_MIN)
        groups = sign_groups(index)
        symbols = []
        for decoder, indices in zip(decoders, array(tables_of(index, groups), torch.uint8), strict=True):
            symbols.append(decoder.take(indices))
            decoder.finish()
        r_hat = torch.from_numpy(np.stack(symbols)).to(self.device, torch.float32, memory_format=torch.channels_last)
        r_hat = with_signs(r_hat, groups).double()
        _, decoded = self.decoder.passes(features, index, lambda *_: r_hat)
        return list(torch.cat([decoded.float(), features], 1))

    @torch.inference_mode()
    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Pixels:
        states = torch.cat([gather(mosaic, STRIDE) for mosaic in mosaics])
        decoded, features = states.split([self.config.latent_channels, self.config.trunk_channels], 1)
        x = self.decoder.synthesis(decoded, features, quality - QUALITY_MIN, inside.in_units(STRIDE))
        if depth == 8:
            levels = x.div_(PIXEL_STEPS).round_().clamp_(0, 255).to(torch.uint8)
            return pixels_of_squares(levels).permute(0, 2, 3, 1).cpu().numpy()
        white = 2**depth - 1  # in doubles only the division rounds, as it does on every machine
        levels = x.double().mul_(white).div_(255 * PIXEL_STEPS).round_().clamp_(0, white).to(torch.int32)
        return pixels_of_squares(levels).permute(0, 2, 3, 1).cpu().numpy().astype(np.uint16)

    def lost(self, size: Size) -> Tensor:
        channels = self.config.latent_channels + self.config.trunk_channels
        return torch.zeros(channels, size[0] // STRIDE, size[1] // STRIDE, device=self.device)

    @torch.inference_mode()
    def symbols(
        self, latents: Tensor, quality: int, pixels: Tensor | None = None, effort: int = 0
    ) -> tuple[Tensor, Tensor, Tensor, list[Passes]]:
        """What is entropy-coded of a batch of tiles. See `families.aec1.family.Aec1Family.symbols`."""
        network = self.network
        position = self.row_position(quality, len(latents))
        y = latents * network.encoder_gain(position)
        z_index = self.scale_model.z_scale_index(quality - QUALITY_MIN).to(y.device)
        z_coded = self.prices[z_index].isfinite()  # what is not coded arrives as 0
        z = network.entropy_model.hyper_latents(y).round().mul_(z_coded[:, None, None])
        features, index = self.scale_model(z, quality - QUALITY_MIN)
        groups = sign_groups(index)
        if effort:
            assert pixels is not None
            target = regroup(network_input(pixels.to(y.device)))
            with torch.inference_mode(mode=False), network.reduced_precision():
                y, shift = search(  # of aec1, which needs of a network what both have
                    network,  # type: ignore[arg-type]
                    *(y, features, index, self.prices, position, target, effort, groups, self.encoder),
                )
        else:
            shift = shifts(index, self.prices, self.encoder.bits_per_square(position))

        def symbols_of(mean: Tensor, number: int) -> Tensor:
            residual = y - (mean / LATENT_STEPS).float()
            return quantise_pass(residual, shift, [passes[number] for passes in groups]).double()

        symbols, _ = self.decoder.passes(features, index, symbols_of)  # by the means that the decoder will have
        return z, symbols.float(), index, groups

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
