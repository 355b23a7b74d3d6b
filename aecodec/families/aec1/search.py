"""A search for latents that are rounded better: that give less bits + lambda * distortion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from aecodec.families.aec1.config import rate_distortion_lambda
from aecodec.families.aec1.hiding import Passes
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.rounding import Encoder, round_latents, shifts
from aecodec.families.layouts import latents_of_pixels

# From decoded pixels and those of the picture, (B, 12, h, w) as `layouts.regroup` makes them, and the bits that a
# squared error of 1 costs, (B,), to the gradient of the cost by the decoded pixels, in bits.
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


def squared_error(pixels: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The `Objective` of PSNR."""
    return 2 * weight[:, None, None, None] * (pixels - target)


OBJECTIVES: Mapping[str, Objective] = {"mse": squared_error}


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
    encoder: Encoder,
) -> tuple[Tensor, Tensor]:
    """Latents that give less bits + lambda * distortion than those of the analysis, and the shift to round them with.

    A proximal gradient method (Parikh and Boyd, "Proximal Algorithms", 2014, section 4.2), damped: the distortion of
    the decoded pixels gives each latent the value that would be best if the others stayed; rounding, the proximal step
    of the rate, follows. Hyper latents stay, so the scale indices and the bits of each symbol do. The first step takes
    the gradient through the linear path alone, which is nearly as good and saves the way back through the others.

    y, features, index, groups: see `round_latents`. prices: see `shifts`. position: (B,). steps: at least 1.
    target: (B, 12, 8 h, 8 w), pixels in -0.5..0.5, see `layouts.regroup`.
    Returns (B, M, h, w) float32 twice.
    """

    def shift_after(step: int) -> Tensor:
        return shifts(index, prices, encoder.bits_per_square(position, step / (steps + 1)))

    y = y.clone()  # the steps change it
    synthesis, objective = network.synthesis, OBJECTIVES[encoder.objective]
    # lambda * 255^2 * MSE of each picture in bits: squared differences, three samples a pixel.
    weight = rate_distortion_lambda(network.config, position) * 255**2 / 3
    gain = network.decoder_gain(position)
    for step in range(steps):
        hiding = groups if step else []  # the first step gains nothing by it
        _, y_hat = round_latents(network, y, features, index, shift_after(step), hiding)
        y_hat.requires_grad_(step > 0)
        with torch.set_grad_enabled(step > 0):
            pixels = synthesis(y_hat, y_hat * gain, features, position)
        error = objective(pixels, target, weight)
        if step == 0:
            slope = gain * latents_of_pixels(synthesis.linear, error)
        else:
            (slope,) = torch.autograd.grad(pixels, y_hat, error)
        best = y_hat - slope / (2 * encoder.curvature)
        y.lerp_(best, encoder.first_step + (encoder.last_step - encoder.first_step) * step / steps)
    return y, shift_after(steps)
