"""A search for latents that are rounded better: that give less bits + lambda * distortion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from aecodec.families.hyperprior.hiding import Passes
from aecodec.families.hyperprior.layers import Network
from aecodec.families.hyperprior.rounding import Encoder, masks, round_latents, shifts
from aecodec.families.layouts import latents_of_pixels, pixels_of_squares
from aecodec.perceptual.mixture import Mixture, distortion

# From decoded pixels and those of the picture, (B, 12, h, w) as `layouts.regroup` makes them, lambda, (B,), and the
# mixture of a visual model to the gradient of the cost by the decoded pixels, in bits.
Objective = Callable[[Tensor, Tensor, Tensor, Mixture], Tensor]
SMALLEST = 176  # pixels of a side; of smaller tiles MS-SSIM is not defined


def squared_error(pixels: Tensor, target: Tensor, lambdas: Tensor, _: Mixture) -> Tensor:
    """The `Objective` of PSNR: lambda * 255^2 * MSE, three samples a pixel."""
    return 2 * (lambdas * 255**2 / 3)[:, None, None, None] * (pixels - target)


def appearance(pixels: Tensor, target: Tensor, lambdas: Tensor, mixture: Mixture) -> Tensor:
    """The `Objective` of visual models, see `mixture.distortion`; nothing for tiles smaller than `SMALLEST`."""
    if 2 * min(pixels.shape[2:]) < SMALLEST:
        return torch.zeros_like(pixels)
    pixels = pixels.detach().requires_grad_(True)
    with torch.enable_grad():
        lost = distortion(mixture, pixels_of_squares(target) + 0.5, pixels_of_squares(pixels) + 0.5, lambdas)
        (gradient,) = torch.autograd.grad(4 * pixels.shape[2] * pixels.shape[3] * lost.sum(), pixels)
    return gradient


OBJECTIVES: Mapping[str, Objective] = {"mse": squared_error, "visual": appearance}


@torch.no_grad()
def search(
    network: Network,
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
    of the rate, follows. Hyper latents stay, so the scale indices and the bits of each symbol do.

    y, features, index, groups: see `round_latents`. prices: see `shifts`. position: (B,). steps: at least 1.
    target: (B, 12, 8 h, 8 w), pixels in -0.5..0.5, see `layouts.regroup`.
    Returns (B, M, h, w) float32 twice.
    """

    def shift_after(step: int) -> Tensor:
        return shifts(index, prices, encoder.worth_map(position, target, step / (steps + 1)))

    y = y.clone()  # the steps change it
    synthesis, objective = network.synthesis, OBJECTIVES[encoder.objective]
    lambdas = encoder.lambdas(network.config, position)
    mixture = encoder.mixture if steps > 1 else encoder.mixture.quick()
    curvature = encoder.curvature * (masks(target, encoder.masking) if encoder.masking else 1)
    limit = math.inf if encoder.limit is None else encoder.limit
    gain = network.decoder_gain(position)
    for step in range(steps):
        hiding = groups if step else []  # the first step gains nothing by it
        _, y_hat = round_latents(network, y, features, index, shift_after(step), hiding)
        linear = step == 0 and encoder.linear_start
        y_hat.requires_grad_(not linear)
        with torch.set_grad_enabled(not linear):
            pixels = synthesis(y_hat, y_hat * gain, features, position)
        error = objective(pixels, target, lambdas, mixture)
        if linear:
            slope = gain * latents_of_pixels(synthesis.linear, error)
        else:
            (slope,) = torch.autograd.grad(pixels, y_hat, error)
        best = y_hat - (slope / (2 * curvature)).clamp_(-limit, limit)
        y.lerp_(best, encoder.first_step + (encoder.last_step - encoder.first_step) * step / steps)
    return y, shift_after(steps)
