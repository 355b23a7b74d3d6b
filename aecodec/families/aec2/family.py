"""aec2 as the codec sees it: pixels of windows to payloads of tiles, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecodec.container import QUALITY_MIN
from aecodec.errors import ModelError
from aecodec.exact import selftest
from aecodec.families.aec2 import integers
from aecodec.families.aec2.decoder import ExactDecoder
from aecodec.families.aec2.integers import PIXEL_STEPS
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.weights import Parts, network_of
from aecodec.families.base import Mosaic, Weights
from aecodec.families.hyperprior.constants import STRIDE
from aecodec.families.hyperprior.family import HyperpriorFamily, inference_dtype
from aecodec.families.hyperprior.hiding import Passes
from aecodec.families.hyperprior.rounding import quantise_pass
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.layouts import gather, pixels_of_squares
from aecodec.tiling import Box


def load(weights: Weights, device: str, precision: str) -> Aec2Family:
    """See `families.base.FamilyModule`. precision: of the encoder; the decoder is exact in any case."""
    return Aec2Family(weights, device, precision)


class Aec2Family(HyperpriorFamily):
    """See `HyperpriorFamily`. States are integers. Attributes: decoder (exact)."""

    LATENT_STEPS = integers.LATENT_STEPS
    network: Aec2

    def __init__(self, weights: Weights, device: str, precision: str = "auto"):
        selftest.check(device)
        parts = Parts(weights)
        self.encoder = parts.encoder
        self.device = torch.device(device)
        try:
            self.network = network_of(parts)
            self.scale_model = ExactScaleModel(parts.scales, self.device)
            self.decoder = ExactDecoder(parts.decoder, parts.config, self.device)
            self.tables = parts.tables
            self.prices = torch.from_numpy(self.tables.prices()).to(self.device)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"tensors do not fit the network ({error})") from error
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.prepare_for_inference(inference_dtype(precision, self.device))

    @torch.inference_mode()
    def render(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Tensor:
        states = torch.cat([gather(mosaic, STRIDE) for mosaic in mosaics])
        config = self.network.config
        decoded, features = states.split([config.latent_channels, config.trunk_channels], 1)
        x = self.decoder.synthesis(decoded, features, quality - QUALITY_MIN, inside.in_units(STRIDE))
        if depth == 8:
            levels = x.div_(PIXEL_STEPS).round_().clamp_(0, 255).to(torch.uint8)
            return pixels_of_squares(levels).permute(0, 2, 3, 1)
        white = 2**depth - 1  # in doubles only the division rounds, as it does on every machine
        unit = x.new_tensor(255 * PIXEL_STEPS, dtype=torch.float64)  # CUDA would multiply by a number's reciprocal
        levels = x.double().mul_(white).div_(unit).round_().clamp_(0, white).to(torch.int32)
        return pixels_of_squares(levels).permute(0, 2, 3, 1)

    def _latents(self, features: Tensor, index: Tensor, symbols: Tensor) -> Tensor:
        given = symbols.double()
        return self.decoder.passes(features, index, lambda *_: given)[1].float()

    def _rounded(self, y: Tensor, features: Tensor, index: Tensor, shift: Tensor, groups: Sequence[Passes]) -> Tensor:
        def symbols_of(mean: Tensor, number: int) -> Tensor:
            residual = y - (mean / self.LATENT_STEPS).float()
            return quantise_pass(residual, shift, [passes[number] for passes in groups]).double()

        symbols, _ = self.decoder.passes(features, index, symbols_of)  # by the means that the decoder will have
        return symbols.float()
