"""How latents are rounded: for the least bits + lambda * distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aecodec.coding.tables import ESCAPE_TOP
from aecodec.families.aec1.config import scale_of_index
from aecodec.families.aec1.hiding import Passes, Places, hide
from aecodec.families.aec1.network import Aec1


@dataclass(frozen=True)
class Encoder:
    """What the encoder decides by. It is fitted to a set of weights and stands in their metadata; these are those of
    aec1-10 and aec1-11, which say nothing of it, chosen on held-out training crops (docs/adr).

    objective: what a search lowers beside the bits, a key of `search.OBJECTIVES`. worth: bits that a squared error of
    one step is worth, at quality 1 and at quality 100; searched_worth: the same of latents that know what they do to
    the pixels. curvature: bits of distortion per squared step of a latent. first_step, last_step: how far a latent goes
    to what is best for it alone, at first and after all steps.
    """

    objective: str = "mse"
    worth: tuple[float, float] = (53.0, 15.0)
    searched_worth: float = 9.0
    curvature: float = 10.0
    first_step: float = 0.35
    last_step: float = 0.15

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Encoder:
        """From its fields, a tuple as a list. Raises TypeError or KeyError if it is not that."""
        return cls(**{**values, "worth": tuple(values["worth"])})

    def bits_per_square(self, position: Tensor, searched: float = 0) -> Tensor:
        """What a squared error of one quantisation step is worth, in bits, at positions in 0..1.

        The high-rate optimum, d(bits + w * error) / d step = 0 with error = step^2 / 12, is w = 6 / ln 2 = 8.7. More is
        better where few symbols are other than 0.
        searched: how much of a search is behind the latents, 0..1; the more, the less they need.
        """
        first, last = self.worth
        return (first - (first - last) * position) ** (1 - searched) * self.searched_worth**searched


def shifts(index: Tensor, prices: Tensor, worth: Tensor) -> Tensor:
    """By how much rounding differs from rounding down: (B, M, h, w), for `quantise`.

    A symbol of 1 rather than 0 pays if its price is less than worth * (r^2 - (r - 1)^2), so from r = 0.5 + price /
    (2 worth) on; the same is good for larger symbols, and never are two steps rounded away.

    index: (B, M, h, w), scale indices. prices: (64,), see `Tables.prices`. worth: (B,), see `Encoder.bits_per_square`.
    """
    table = (prices / (2 * worth[:, None]) - 0.5).clamp_(max=0.5)
    table = torch.where(prices.isinf(), ESCAPE_TOP + 1, table)  # what is not coded becomes 0
    place = index.permute(0, 2, 3, 1).int()
    place += (torch.arange(len(worth), device=index.device, dtype=torch.int32) * len(prices)).view(-1, 1, 1, 1)
    return table.view(-1).index_select(0, place.reshape(-1)).view(place.shape).permute(0, 3, 1, 2)


def quantise(residual: Tensor, shift: Tensor) -> Tensor:
    """Rate-distortion optimised rounding: towards zero where the bits of the larger symbol are worth more.

    residual: (B, M, h, w) float32. shift: see `shifts`. Returns integers of the same shape, as float32.
    """
    return residual.abs().clamp_(max=ESCAPE_TOP).sub_(shift).floor_().clamp_(min=0).copysign_(residual)


def quantise_pass(residual: Tensor, shift: Tensor, groups: Sequence[Places]) -> Tensor:
    """`quantise`, and with the signs of a pass hidden if there are groups for each tile."""
    symbols = quantise(residual, shift)
    return hide(symbols, residual, shift, groups) if groups else symbols


def round_latents(
    network: Aec1, y: Tensor, features: Tensor, index: Tensor, shift: Tensor, groups: Sequence[Passes]
) -> tuple[Tensor, Tensor]:
    """All passes: symbols and the latents that they decode to, (B, M, h, w) float32. y: latents in steps; the rest as
    `ExactScaleModel` returns it and `quantise` takes it. groups: of signs to be hidden, see `hiding`."""

    def symbols_of(mean: Tensor, number: int) -> Tensor:
        return quantise_pass(y - mean, shift, [passes[number] for passes in groups])

    symbols, means = network.entropy_model.passes(features, scale_of_index(index), symbols_of)
    return symbols, means.add_(symbols)
