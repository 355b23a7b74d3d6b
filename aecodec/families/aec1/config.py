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
