"""aec1 as the codec sees it: pixels of windows to payloads of tiles, and back."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.exact import selftest
from aecodec.exact.precision import full_precision
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.weights import Parts
from aecodec.families.base import Mosaic, Weights
from aecodec.families.hyperprior.constants import STRIDE, scale_of_index
from aecodec.families.hyperprior.family import HyperpriorFamily, inference_dtype
from aecodec.families.hyperprior.hiding import Passes
from aecodec.families.hyperprior.layers import prepare_layers
from aecodec.families.hyperprior.rounding import round_latents
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.layouts import gather, pixels_of_squares
from aecodec.tiling import Box


def load(weights: Weights, device: str, precision: str) -> Aec1Family:
    """See `families.base.FamilyModule`."""
    return Aec1Family(weights, device, precision)


class Aec1Family(HyperpriorFamily):
    """See `HyperpriorFamily`. Attributes: synthesis (its own, in float32 whatever the encoder computes in: bfloat16
    moves pixels of charts by three levels)."""

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
            self.tables = parts.tables
            self.prices = torch.from_numpy(self.tables.prices()).to(self.device)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"tensors do not fit the network ({error})") from error
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        dtype = inference_dtype(precision, self.device)
        self.synthesis = self.network.synthesis if dtype == torch.float32 else copy.deepcopy(self.network.synthesis)
        self.network.prepare_for_inference(dtype)
        prepare_layers(self.synthesis)

    @torch.inference_mode()
    def render(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Tensor:
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
        return pixels_of_squares(levels).permute(0, 2, 3, 1)

    def _latents(self, features: Tensor, index: Tensor, symbols: Tensor) -> Tensor:
        with full_precision(self.device.type):
            symbols, means = self.network.entropy_model.passes(features, scale_of_index(index), lambda *_: symbols)
        return means.add_(symbols)

    def _rounded(self, y: Tensor, features: Tensor, index: Tensor, shift: Tensor, groups: Sequence[Passes]) -> Tensor:
        return round_latents(self.network, y, features, index, shift, groups)[0]
