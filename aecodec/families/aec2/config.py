"""What decides the shapes of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aecodec.families.aec1.config import STRIDE

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
        """From what `values` gives, lists for tuples. Raises TypeError if it is not that."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

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
