"""What decides the shapes of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aecodec.families.aec1.config import BLOCKS, CHANNELS, STRIDE
from aecodec.families.schema import check_integers, check_lambdas

RANGES = {
    "latent_channels": CHANNELS,
    "analysis_channels": CHANNELS,
    "analysis_blocks": BLOCKS,
    "synthesis_channels": CHANNELS,
    "synthesis_blocks": BLOCKS,
    "hyper_channels": CHANNELS,
    "trunk_channels": CHANNELS,
    "context_channels": CHANNELS,
    "rows": (2, 256),
}
ANALYSIS_HALO = 6 * STRIDE  # pixels around a tile that its analysis sees; the layers reach further, to no avail


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes of the network; saved with the weights."""

    latent_channels: int = 320
    analysis_channels: tuple[int, int, int] = (64, 128, 192)  # at 1/4, 1/8 and 1/16 of the resolution
    analysis_blocks: tuple[int, int, int] = (1, 2, 3)
    synthesis_channels: tuple[int, int, int, int] = (32, 64, 128, 192)  # at 1/2, 1/4, 1/8 and 1/16
    synthesis_blocks: tuple[int, int, int, int] = (2, 1, 2, 3)
    hyper_channels: int = 96
    trunk_channels: int = 128  # integer network from hyper latents to the scale indices
    context_channels: int = 192
    rows: int = 12  # learned qualities; in between, gains and biases are interpolated
    lambda_min: float = 0.0003  # quality 1, bits per pixel per squared 8-bit level
    lambda_max: float = 0.6  # quality 100

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelConfig:
        """From what `values` gives, lists for tuples. Raises TypeError or ValueError if it is not that."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = cls(**plain)
        check_integers(asdict(config), RANGES)
        check_lambdas(config.lambda_min, config.lambda_max)
        if [len(sizes) for sizes in (config.analysis_channels, config.analysis_blocks)] != [3, 3]:
            raise ValueError("an analysis of other than three resolutions")
        if [len(sizes) for sizes in (config.synthesis_channels, config.synthesis_blocks)] != [4, 4]:
            raise ValueError("a synthesis of other than four resolutions")
        return config

    def values(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def pixel_halo(self) -> int:
        """Latents around a window that the layers of the synthesis above 1/16 depend on."""
        at_2, at_4, at_8, _ = self.synthesis_blocks
        return math.ceil((8 * 2 * at_8 + 4 * 2 * at_4 + 2 * (2 * at_2 + 2)) / STRIDE)

    @property
    def synthesis_halo(self) -> int:
        """Latents around a window that its pixels depend on."""
        return self.pixel_halo + 2 * self.synthesis_blocks[3]
