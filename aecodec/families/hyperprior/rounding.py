"""How latents are rounded: for the least bits + lambda * distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aecodec.coding.tables import ESCAPE_TOP
from aecodec.families.hyperprior.constants import STRIDE, LambdaRange, rate_distortion_lambda, scale_of_index
from aecodec.families.hyperprior.hiding import Passes, Places, hide
from aecodec.families.hyperprior.layers import Network
from aecodec.families.layouts import pixels_of_squares
from aecodec.perceptual.mixture import Mixture

LIFTED = 0.6  # position above which `Encoder.lift` counts
LUMA = 0.3, 0.59, 0.11
CALMEST = 30.0  # squared levels; below, nothing is calmer


@dataclass(frozen=True)
class Encoder:
    """What the encoder decides by. It is fitted to a set of weights and stands in their metadata; these are those of
    aec1-11, which says nothing of it, chosen on held-out training crops (docs/adr).

    objective: what a search lowers beside the bits, a key of `search.OBJECTIVES`. worth: bits that a squared error of
    one step is worth, at quality 1 and at quality 100; searched_worth: the same of latents that know what they do to
    the pixels. curvature: bits of distortion per squared step of a latent. first_step, last_step: how far a latent goes
    to what is best for it alone, at first and after all steps. linear_start: whether the first step takes the gradient
    through the linear path alone, which saves the way back through the others. limit: steps that a latent is moved by,
    at most, before that; None: any number. masking: by which power of its local variance an error is worth less, see
    `masks`. lift: the logarithm of how much larger lambda is at quality 100 than the config says, see `lambdas`.
    mixture: shares of what a visual objective is made of, see `mixture.Mixture`.
    """

    objective: str = "mse"
    worth: tuple[float, float] = (53.0, 15.0)
    searched_worth: float = 9.0
    curvature: float = 10.0
    first_step: float = 0.35
    last_step: float = 0.15
    linear_start: bool = True
    limit: float | None = None
    masking: float = 0.0
    lift: float = 0.0
    mixture: Mixture = field(default_factory=Mixture)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Encoder:
        """From its fields as `dataclasses.asdict` gives them, a tuple also as a list; models that came before mixtures
        have none. Raises TypeError or KeyError if it is not that."""
        mixture = Mixture(**values.get("mixture", {}))
        return cls(**{**values, "worth": tuple(values["worth"]), "mixture": mixture})

    def bits_per_square(self, position: Tensor, searched: float = 0) -> Tensor:
        """What a squared error of one quantisation step is worth, in bits, at positions in 0..1.

        The high-rate optimum, d(bits + w * error) / d step = 0 with error = step^2 / 12, is w = 6 / ln 2 = 8.7. More is
        better where few symbols are other than 0.
        searched: how much of a search is behind the latents, 0..1; the more, the less they need.
        """
        first, last = self.worth
        return (first - (first - last) * position) ** (1 - searched) * self.searched_worth**searched

    def worth_map(self, position: Tensor, target: Tensor | None, searched: float = 0) -> Tensor:
        """The same as `shifts` takes it; target: see `masks`, None where nothing is masked."""
        worth = self.bits_per_square(position, searched)
        if not self.masking or target is None:
            return worth
        return worth.view(-1, 1, 1, 1) * masks(target, self.masking)

    def lambdas(self, config: LambdaRange, position: Tensor) -> Tensor:
        """lambda at positions in 0..1: that of the config, but larger in the upper part of the range."""
        above = ((position - LIFTED) / (1 - LIFTED)).clamp_min(0)
        return rate_distortion_lambda(config, position) * (self.lift * above.square()).exp()


def masks(target: Tensor, power: float) -> Tensor:
    """What an error of a latent is worth beside the mean of the picture: (B, 1, h, w), geometric mean 1.

    Where much is going on, less is seen of it. The variance that counts is that of luma in the block of 16x16 pixels,
    or in its quarters if they are calmer. target: (B, 12, 8 h, 8 w), see `layouts.regroup`.
    """
    pixels = 255 * pixels_of_squares(target.float())
    luma = (pixels * torch.tensor(LUMA, device=pixels.device).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def variance(side: int) -> Tensor:
        return F.avg_pool2d(luma.square(), side) - F.avg_pool2d(luma, side).square()

    calm = torch.minimum(variance(STRIDE), F.avg_pool2d(variance(STRIDE // 2), 2)).clamp_min(0)
    logarithm = -power * (calm + CALMEST).log()
    return (logarithm - logarithm.mean((1, 2, 3), keepdim=True)).exp()


def shifts(index: Tensor, prices: Tensor, worth: Tensor) -> Tensor:
    """By how much rounding differs from rounding down: (B, M, h, w), for `quantise`.

    A symbol of 1 rather than 0 pays if its price is less than worth * (r^2 - (r - 1)^2), so from r = 0.5 + price /
    (2 worth) on; the same is good for larger symbols, and never are two steps rounded away.

    index: (B, M, h, w), scale indices. prices: (64,), see `Tables.prices`. worth: see `Encoder.bits_per_square`; (B,),
    or (B, 1, h, w).
    """
    if worth.ndim > 1:
        price = prices[index.long()]
        shift = (price / (2 * worth) - 0.5).clamp_(max=0.5)
        return torch.where(price.isinf(), ESCAPE_TOP + 1, shift)
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
    network: Network, y: Tensor, features: Tensor, index: Tensor, shift: Tensor, groups: Sequence[Passes]
) -> tuple[Tensor, Tensor]:
    """All passes: symbols and the latents that they decode to, (B, M, h, w) float32. y: latents in steps; the rest as
    `ExactScaleModel` returns it and `quantise` takes it. groups: of signs to be hidden, see `hiding`."""

    def symbols_of(mean: Tensor, number: int) -> Tensor:
        return quantise_pass(y - mean, shift, [passes[number] for passes in groups])

    symbols, means = network.entropy_model.passes(features, scale_of_index(index), symbols_of)
    return symbols, means.add_(symbols)
