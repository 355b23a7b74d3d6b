"""What decides the shapes of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aecodec.families.hyperprior.constants import BLOCKS, CHANNELS, STRIDE
from aecodec.families.schema import check_integers, check_lambdas

RANGES = {
    "latent_channels": CHANNELS,
    "channels_8": CHANNELS,
    "channels_16": CHANNELS,
    "analysis_blocks_8": BLOCKS,
    "analysis_blocks_16": BLOCKS,
    "blocks_8": BLOCKS,
    "blocks_16": BLOCKS,
    "filter_channels": CHANNELS,
    "filter_layers": BLOCKS,
    "hyper_channels": CHANNELS,
    "trunk_channels": CHANNELS,
    "context_channels": CHANNELS,
    "rows": (2, 256),
}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes of the network; saved with the weights."""

    latent_channels: int = 320
    channels_8: int = 128  # of the residual blocks at 1/8 of the resolution
    channels_16: int = 192  # at 1/16
    analysis_blocks_8: int = 2
    analysis_blocks_16: int = 2
    blocks_8: int = 2  # of the synthesis, after two layers that are none
    blocks_16: int = 3
    filter_channels: int = 32  # at 1/2
    filter_layers: int = 4  # 3x3 layers between its first and its last
    hyper_channels: int = 96
    trunk_channels: int = 128  # integer network from hyper latents to the scale indices
    context_channels: int = 160
    rows: int = 15  # learned qualities; in between, gains and biases are interpolated
    lambda_min: float = 0.00028  # quality 1, bits per pixel per squared 8-bit level
    lambda_max: float = 0.96  # quality 100

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelConfig:
        """From what `values` gives. Raises TypeError or ValueError if it is not that."""
        config = cls(**values)
        check_integers(asdict(config), RANGES)
        check_lambdas(config.lambda_min, config.lambda_max)
        return config

    def values(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def analysis_halo(self) -> int:
        """Pixels around a tile that its latents depend on, in whole latents: a 3x3 kernel at 1/8 reaches 8 pixels."""
        return STRIDE * math.ceil((8 * (2 * self.analysis_blocks_8 + 1) + 16 * 2 * self.analysis_blocks_16) / STRIDE)

    @property
    def pixel_halo(self) -> int:
        """Latents around a window that the layers of the synthesis above 1/16 depend on."""
        return math.ceil((8 * 2 * (self.blocks_8 + 1) + 2 * (self.filter_layers + 1)) / STRIDE)

    @property
    def synthesis_halo(self) -> int:
        """Latents around a window that its pixels depend on."""
        return self.pixel_halo + 2 * self.blocks_16
