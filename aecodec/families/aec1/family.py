"""aec1 as the codec sees it: pixels of windows to payloads of tiles, and back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aecodec.coding.tables import Indices, Symbols, Tables
from aecodec.container import QUALITY_MIN
from aecodec.errors import ModelError
from aecodec.exact import selftest
from aecodec.exact.layers import POSITION_STEPS
from aecodec.exact.precision import full_precision
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.weights import Parts
from aecodec.families.base import Geometry, Mosaic, Pixels, Traits, Weights
from aecodec.families.hyperprior.constants import HYPER_STRIDE, STRIDE, SYMBOL_TOP, scale_of_index
from aecodec.families.hyperprior.hiding import Passes, sign_groups, tables_of, with_signs, without_signs
from aecodec.families.hyperprior.layers import prepare_layers
from aecodec.families.hyperprior.rounding import round_latents, shifts
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.search import search
from aecodec.families.layouts import array, from_pixels, gather, network_input, pixels_of_squares, regroup
from aecodec.options import EncodeOptions
from aecodec.tiling import Box, Size


def load(weights: Weights, device: str, precision: str) -> Aec1Family:
    """See `families.base.FamilyModule`."""
    return Aec1Family(weights, device, precision)


class _Decoded(NamedTuple):
    """What is coded of a batch of tiles, and what follows from it: hyper latents (B, hyper, h/4, w/4) and features
    (B, trunk, h, w); latents (B, M, h, w), in steps; of each tile symbols and the tables they are coded with,
    (M, h, w)."""

    z: Tensor
    features: Tensor
    y_hat: Tensor
    coded: list[tuple[Symbols, Indices]]


class Aec1Family:
    """See `families.base.Family`.

    Latents are (B, M, h, w) float32, before gain; they do not depend on quality. States are (M + trunk, h, w) float32:
    latents in quantisation steps, after them the features of the scale model.

    Attributes: network (Aec1 without its training-time scale model, in evaluation mode, channels_last), synthesis (its
    own, in float32 whatever the encoder computes in: bfloat16 moves pixels of charts by three levels), scale_model
    (exact), tables, prices (`Tables.prices` as a tensor), encoder (what it decides by).
    """

    portable = True

    def __init__(self, weights: Weights, device: str, precision: str = "auto"):
        selftest.check(device)
        parts = Parts(weights)
        self.device = torch.device(device)
        self.encoder = parts.encoder
        try:
            with torch.device("meta"):
                self.network = Aec1(parts.config)
            del self.network.scale_model
            self.network.load_state_dict(parts.floats, assign=True)
            self.scale_model = ExactScaleModel(parts.exact, self.device)
            self.tables = Tables(parts.tables["frequencies"], parts.tables["reach"].astype(np.int32))
            self.prices = torch.from_numpy(self.tables.prices()).to(self.device)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"tensors do not fit the network ({error})") from error
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        dtype = _dtype(precision, self.device)
        self.synthesis = self.network.synthesis if dtype == torch.float32 else copy.deepcopy(self.network.synthesis)
        self.network.prepare_for_inference(dtype)
        prepare_layers(self.synthesis)

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
        looked_at = from_pixels(pixels()) if options.effort or self.encoder.masking else None
        z, symbols, index, groups = self.symbols(latents, quality, looked_at, options.effort)
        hyper, z_indices = array(self.scale_model.z_residual(z), torch.int32), self.z_indices(z.shape[1:], quality)
        coded, tables = without_signs(symbols, groups), tables_of(index, groups)
        tiles = zip(hyper, array(coded, torch.int32), array(tables, torch.uint8), strict=True)
        return [self.tables.encode([(z, z_indices), (symbols, tables)]) for z, symbols, tables in tiles]

    def encoders(self, options: EncodeOptions) -> int:
        # Steps back through the whole synthesis gain nothing by two, and take twice the memory.
        return 1 if options.effort > (1 if self.encoder.linear_start else 0) else 2

    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Tensor]:
        decoded = self._decoded(payloads, size, quality)
        return list(torch.cat([decoded.y_hat, decoded.features], 1))

    @torch.inference_mode()
    def traits(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Traits]:
        """See `families.base.Describing`. Colours are those of the linear path alone: the rest moves edges."""
        decoded = self._decoded(payloads, size, quality)
        y = decoded.y_hat * self.network.decoder_gain(self.row_position(quality, len(payloads)))
        linear = self.synthesis.linear.weight.flatten(1).unflatten(0, (3, -1)).mean(1)  # blocks are ordered by colour
        colour = torch.einsum("cm,bmhw->bhwc", linear, y).add_(0.5).mul_(255)
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
        with full_precision(self.device.type):
            r_hat, means = self.network.entropy_model.passes(features, scale_of_index(index), lambda *_: r_hat)
        return _Decoded(z_hat, features, means.add_(r_hat), coded)

    @torch.inference_mode()
    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Pixels:
        states = torch.cat([gather(mosaic, STRIDE) for mosaic in mosaics])
        position = self.row_position(quality, len(states))
        m = self.network.config.latent_channels
        y_hat, features = (v.contiguous(memory_format=torch.channels_last) for v in (states[:, :m], states[:, m:]))
        with full_precision(self.device.type):  # of the linear path: pixels within a level, whatever the host asks for
            x = self.synthesis(
                y_hat, y_hat * self.network.decoder_gain(position), features, position, inside.in_units(STRIDE)
            )
        white = 2**depth - 1
        levels = x.add_(0.5).mul_(white).round_().clamp_(0, white).to(torch.uint8 if depth == 8 else torch.int32)
        pixels = pixels_of_squares(levels).permute(0, 2, 3, 1).cpu().numpy()
        return pixels if depth == 8 else pixels.astype(np.uint16)

    def lost(self, size: Size) -> Tensor:
        config = self.network.config
        channels = config.latent_channels + config.trunk_channels
        return torch.zeros(channels, size[0] // STRIDE, size[1] // STRIDE, device=self.device)

    @torch.inference_mode()
    def symbols(
        self, latents: Tensor, quality: int, pixels: Tensor | None = None, effort: int = 0
    ) -> tuple[Tensor, Tensor, Tensor, list[Passes]]:
        """What is entropy-coded of a batch of tiles.

        latents: see `analyse`. quality: hundredths. effort: steps of `search`, which needs the pixels of the tiles,
        (B, 3, H, W); so does an encoder that masks.
        Returns hyper latents (B, hyper, h/4, w/4), symbols (B, M, h, w) and their scale indices of the same shape, all
        as integers in float32, and the groups that hide signs.
        """
        network = self.network
        position = self.row_position(quality, len(latents))
        y = latents * network.encoder_gain(position)
        z_index = self.scale_model.z_scale_index(quality - QUALITY_MIN).to(y.device)
        z_coded = self.prices[z_index].isfinite()  # what is not coded arrives as 0
        z = network.entropy_model.hyper_latents(y).round().mul_(z_coded[:, None, None])
        features, index = self.scale_model(z, quality - QUALITY_MIN)
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
        symbols, _ = round_latents(network, y, features, index, shift, groups)
        return z, symbols, index, groups

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


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the processor has instructions for it: twice the speed for less than 0.02 dB."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32
