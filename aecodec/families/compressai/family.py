"""A model of CompressAI as the codec sees it: pixels of windows to payloads of tiles, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.exact.precision import full_precision
from aecodec.families.base import Geometry, Mosaic, Pixels, Weights
from aecodec.families.compressai import zoo
from aecodec.families.compressai.coder import Coder
from aecodec.families.compressai.zoo import STRIDE
from aecodec.families.layouts import from_pixels, gather, on_host
from aecodec.options import EncodeOptions
from aecodec.tiling import Box, Size


def load(weights: Weights, device: str, precision: str) -> CompressaiFamily:
    """See `families.base.FamilyModule`."""
    return CompressaiFamily(weights, device, precision)


class CompressaiFamily:
    """See `families.base.Family`. A model has one rate: neither quality nor effort change anything.

    Latents are (B, M, h, w) float32, before rounding; states are (M, h, w) float32, as the synthesis takes them.
    """

    def __init__(self, weights: Weights, device: str, precision: str = "auto"):
        architecture = weights.metadata.get("architecture", "")
        tensors = {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}
        model = zoo.build(architecture, tensors)
        zoo.check_tables(model)
        if model.downsampling_factor not in (STRIDE, 4 * STRIDE):
            raise ModelError(f"{architecture} makes latents of {model.downsampling_factor} pixels, not of {STRIDE}")
        self.device = torch.device(device)
        self.analysis, self.synthesis = model.g_a.to(self.device), model.g_s.to(self.device)
        self.geometry = Geometry(model.downsampling_factor, STRIDE, *zoo.halos(architecture))
        self.channels = model.M
        # The tables of factorised models are in the file; others choose among theirs by what floats predict.
        self.portable = not hasattr(model, "gaussian_conditional")
        self.coder = Coder(model, STRIDE)
        self._reduced = precision == "bfloat16"

    @torch.inference_mode()
    def analyse(self, pixels: Pixels, inside: Sequence[Box]) -> list[Tensor]:
        x = from_pixels(pixels).to(self.device).float().div_(255)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._reduced):
            latents = self.analysis(x).float()
        parts = []
        for box in inside:
            rows, columns = box.in_units(STRIDE).slices
            parts.append(latents[:, :, rows, columns].clone())
        return parts

    @torch.inference_mode()
    def encode(
        self, latents: Tensor, pixels: Callable[[], Pixels], quality: int, options: EncodeOptions
    ) -> list[bytes]:
        return [self.coder.encode(one[None]) for one in latents]

    def encoders(self, options: EncodeOptions) -> int:
        return 1  # the coder takes one tile at a time

    @torch.inference_mode()
    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Tensor]:
        return [self.coder.decode(payload, size).to(self.device) for payload in payloads]

    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Pixels:
        return on_host(self.render(mosaics, inside, quality, depth).contiguous())

    @torch.inference_mode()
    def render(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Tensor:
        latents = torch.cat([gather(mosaic, STRIDE) for mosaic in mosaics])
        with full_precision(self.device.type):
            x = self.synthesis(latents)
        rows, columns = inside.slices
        white = 2**depth - 1
        levels = x[:, :, rows, columns].clamp(0, 1).mul(white).round()
        return levels.to(torch.uint8 if depth == 8 else torch.int32).permute(0, 2, 3, 1)

    def lost(self, size: Size) -> Tensor:
        return torch.zeros(self.channels, size[0] // STRIDE, size[1] // STRIDE, device=self.device)
