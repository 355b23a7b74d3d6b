"""What decides the shapes of the network, and the constants of its format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from aecodec.families.schema import check_integers, check_lambdas

STRIDE = 16  # pixels per latent, each way
HYPER_STRIDE = 64  # pixels per hyper latent, each way; pictures are padded to a multiple of it
BLOCK = 3 * STRIDE * STRIDE  # samples in the block that one latent position stands for
SCALE_COUNT = 64  # entries of the table of scales
SCALE_MIN = 0.11  # standard deviation of scale index 0, in quantisation steps
SCALES_PER_OCTAVE = 6
Z_INDEX_STEPS = 4096  # fixed-point steps per scale index of a hyper channel
Z_TOP = 127  # hyper latents are clamped to -127..127
SYMBOL_TOP = 2047  # symbols of latents to -2047..2047: five times what any picture gives, see docs/adr/0030
Z_WEIGHT_STEPS = 64  # fixed-point steps per unit of a weight in their prediction
TRUNK_LAYERS = ((3, False), (1, True), (3, False), (1, True), (3, False))  # kernel, followed by 2x subpixel upsampling


CHANNELS, BLOCKS = (1, 1024), (0, 16)  # of a layer, of residual blocks: more than any network that a picture waits for
RANGES = {
    "latent_channels": CHANNELS,
    "channels_8": CHANNELS,
    "blocks_8": BLOCKS,
    "channels_16": CHANNELS,
    "blocks_16": BLOCKS,
    "analysis_blocks_16": BLOCKS,
    "hyper_channels": CHANNELS,
    "trunk_channels": CHANNELS,
    "context_channels": CHANNELS,
    "filter_channels": CHANNELS,
    "filter_layers": (1, 16),
    "rows": (2, 256),
}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes of the network; saved with the weights."""

    latent_channels: int = 320  # 256 KLT channels leave an MSE of 5, 320 leave 0.9: the top of the range needs 320
    channels_8: int = 128  # residual blocks at 1/8 of the resolution
    blocks_8: int = 1
    channels_16: int = 192  # residual blocks at 1/16 of the resolution
    blocks_16: int = 1  # of the synthesis
    analysis_blocks_16: int = 0
    hyper_channels: int = 96
    trunk_channels: int = 128  # integer network from z_hat to the scale indices
    context_channels: int = 160
    filter_channels: int = 32  # of the filter at 1/2 of the resolution
    filter_layers: int = 4  # 3x3 layers between its first and its last
    rows: int = 12  # learned qualities; in between, gains and biases are interpolated
    lambda_min: float = 0.0005  # quality 1, bits per pixel per squared 8-bit level
    lambda_max: float = 0.3  # quality 100

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelConfig:
        """From what `values` gives. Raises TypeError or ValueError if it is not that."""
        if values.get("hidden_signs") is not True:
            raise ValueError("a network that hides no signs")
        config = cls(**{name: value for name, value in values.items() if name != "hidden_signs"})
        check_integers(asdict(config), RANGES)
        check_lambdas(config.lambda_min, config.lambda_max)
        return config

    def values(self) -> dict[str, Any]:
        """As weights and checkpoints name it: with what the format could leave out, and no model does."""
        return {**asdict(self), "hidden_signs": True}

    @property
    def analysis_halo(self) -> int:
        """Pixels around a tile that its latents depend on, in whole latents: a 3x3 kernel at 1/8 reaches 8 pixels."""
        return STRIDE * math.ceil((8 * (2 * self.blocks_8 + 1) + 16 * 2 * self.analysis_blocks_16) / STRIDE)

    @property
    def filter_halo(self) -> int:
        """Latents around a tile whose pixels the filter sees."""
        return math.ceil(self._filter_reach / STRIDE)

    @property
    def pixel_halo(self) -> int:
        """Latents around a tile that the layers of the synthesis at 1/8 and the filter depend on."""
        return math.ceil((8 * 2 * self.blocks_8 + self._filter_reach) / STRIDE)

    @property
    def _filter_reach(self) -> int:
        return 2 * (1 + self.filter_layers)  # pixels

    @property
    def synthesis_halo(self) -> int:
        """Latents around a tile that its pixels depend on."""
        return self.pixel_halo + 2 * self.blocks_16


class LambdaRange(Protocol):
    """lambda at quality 1 and at quality 100."""

    @property
    def lambda_min(self) -> float: ...

    @property
    def lambda_max(self) -> float: ...


def rate_distortion_lambda(config: LambdaRange, position: Tensor) -> Tensor:
    """lambda of J = bpp + lambda * 255^2 * MSE at each position: geometric from lambda_min to lambda_max."""
    return config.lambda_min * (config.lambda_max / config.lambda_min) ** position


def scale_of_index(index: Tensor) -> Tensor:
    """Standard deviation, in quantisation steps, of a (possibly fractional) scale index."""
    return SCALE_MIN * torch.exp2(index / SCALES_PER_OCTAVE)
