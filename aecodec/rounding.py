"""What the encoder is free to decide: how latents are rounded, and a search for latents that are rounded better."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecodec.entropy import ESCAPE_TOP
from aecodec.hiding import Passes, Places, hide
from aecodec.networks import Aec1, latents_of_pixels, rate_distortion_lambda, scale_of_index

# Of the search, chosen on held-out training crops (docs/decisions.md).
CURVATURE = 10.0  # bits of distortion per squared step of a latent
SEARCH_WORTH = 9.0  # as `bits_per_square`, for latents that know what they do to the pixels
FIRST_STEP, LAST_STEP = 0.35, 0.15  # how far a latent goes to what is best for it alone, at first and after all steps


def bits_per_square(position: Tensor, searched: float = 0) -> Tensor:
    """What a squared error of one quantisation step is worth to the encoder, in bits, at positions in 0..1.

    The high-rate optimum, d(bits + w * error) / d step = 0 with error = step^2 / 12, is w = 6 / ln 2 = 8.7. More is
    better where few symbols are other than 0: chosen on held-out training crops, see docs/decisions.md.
    searched: how much of a search is behind the latents, 0..1; the more, the less they need.
    """
    return (53 - 38 * position) ** (1 - searched) * SEARCH_WORTH**searched


def shifts(index: Tensor, prices: Tensor, worth: Tensor) -> Tensor:
    """By how much rounding differs from rounding down: (B, M, h, w), for `quantise`.

    A symbol of 1 rather than 0 pays if its price is less than worth * (r^2 - (r - 1)^2), so from r = 0.5 + price /
    (2 worth) on; the same is good for larger symbols, and never are two steps rounded away.

    index: (B, M, h, w), scale indices. prices: (64,), see `Tables.prices`. worth: (B,), see `bits_per_square`.
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


@torch.no_grad()
def search(
    network: Aec1,
    y: Tensor,
    features: Tensor,
    index: Tensor,
    prices: Tensor,
    position: Tensor,
    target: Tensor,
    steps: int,
    groups: Sequence[Passes],
) -> tuple[Tensor, Tensor]:
    """Latents that give less bits + lambda * distortion than those of the analysis, and the shift to round them with.

    A proximal gradient method (Parikh and Boyd, "Proximal Algorithms", 2014, section 4.2), damped: the distortion of
    the decoded pixels gives each latent the value that would be best if the others stayed; rounding, the proximal step
    of the rate, follows. Hyper latents stay, so the scale indices and the bits of each symbol do. The first step takes
    the gradient through the linear path alone, which is nearly as good and saves the way back through the others.

    y, features, index, groups: see `round_latents`. prices: see `shifts`. position: (B,). steps: at least 1.
    target: (B, 12, 8 h, 8 w), pixels in -0.5..0.5, see `networks.regroup`.
    Returns (B, M, h, w) float32 twice.
    """

    def shift_after(step: int) -> Tensor:
        return shifts(index, prices, bits_per_square(position, step / (steps + 1)))

    y = y.clone()  # the steps change it
    synthesis = network.synthesis
    # lambda * 255^2 * MSE of each picture in bits: squared differences, three samples a pixel.
    weight = rate_distortion_lambda(network.config, position) * 255**2 / 3
    gain = network.decoder_gain(position)
    for step in range(steps):
        hiding = groups if step else []  # the first step gains nothing by it
        _, y_hat = round_latents(network, y, features, index, shift_after(step), hiding)
        y_hat.requires_grad_(step > 0)
        with torch.set_grad_enabled(step > 0):
            pixels = synthesis(y_hat, y_hat * gain, features, position)
        error = 2 * weight[:, None, None, None] * (pixels - target)
        if step == 0:
            slope = gain * latents_of_pixels(synthesis.linear, error)
        else:
            (slope,) = torch.autograd.grad(pixels, y_hat, error)
        best = y_hat - slope / (2 * CURVATURE)
        y.lerp_(best, FIRST_STEP + (LAST_STEP - FIRST_STEP) * step / steps)
    return y, shift_after(steps)
