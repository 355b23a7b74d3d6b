"""The objective: bits and distortion of a batch of patches, differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aecodec.exact.layers import round_through
from aecodec.families.hyperprior.constants import rate_distortion_lambda, scale_of_index
from aecodec.families.hyperprior.hiding import Passes, count_hidden, sign_groups
from aecodec.families.hyperprior.layers import Network
from aecodec.families.hyperprior.rounding import Encoder, quantise_pass, shifts
from aecodec.families.hyperprior.search import search
from aecodec.families.layouts import pixels_of_squares, regroup
from aecodec.families.trainable import Measures
from aecodec.perceptual.mixture import distortion

LIKELIHOOD_FLOOR = 1e-9
ENCODER = Encoder()


def noise_like(x: Tensor) -> Tensor:
    """What stands for rounding: uniform in -0.5..0.5."""
    return torch.rand_like(x) - 0.5


def laplace_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """Bits of an integer-binned zero-mean Laplace distribution: -log2 P(residual - 1/2 .. residual + 1/2).

    scale: standard deviation, in quantisation steps.
    """
    distance, spread = residual.abs(), scale * math.sqrt(0.5)
    tail = torch.exp(-(distance - 0.5).abs() / spread) / 2  # beyond the bin's edge that is nearer to zero
    far = torch.exp(-(distance + 0.5) / spread) / 2
    inner = torch.where(distance > 0.5, tail, 1 - tail)
    return -(inner - far).clamp_min(LIKELIHOOD_FLOOR).log2()


def measure(
    model: Network,
    x: Tensor,
    position: Tensor,
    *,
    noise: bool,
    quantise: bool = True,
    prices: Tensor | None = None,
    effort: int = 0,
    cut: int | None = None,
    encoder: Encoder = ENCODER,
) -> Measures:
    """Codes a batch in the model's own estimate.

    Distortion comes from rounded latents (straight-through gradients); with `noise` the rate comes from latents with
    additive uniform noise, which is differentiable (Balle et al., ICLR 2017), otherwise from the rounded ones.

    x: (B, 192, H/8, W/8), pixels in -0.5..0.5 unshuffled by 8. position: (B,) in 0..1.
    quantise: whether the integer path is rounded. prices: see `Tables.prices`, to round latents as the encoder does;
    None rounds to the nearest. effort: steps of the encoder's search before that; they need prices. Rounded with
    prices, the latents get their gradients straight through search and rounding from the distortion, and from the rate
    by additive noise: no gradient straight through sees the bits that a latent saves that rounds to 0. cut: dimension
    of x along which the entropy model sees two halves, each as a tile of its own; analysis and synthesis see across, as
    they do in a picture. encoder: what it decides by, if there are prices, and what distortion counts.
    """
    entropy = model.entropy_model

    analysed = model.analysis(x) * model.encoder_gain(position)
    tile_position = position
    if cut is not None:
        analysed, tile_position = torch.cat(analysed.chunk(2, cut)), position.repeat(2)
    z = entropy.hyper_latents(analysed)
    z_scale = scale_of_index(model.scale_model.z_scale_index(tile_position, quantise))
    z_hat = round_through(z)
    coded = (z + noise_like(z) if noise else z_hat) - model.scale_model.predict(z_hat, quantise)
    elements = {"z": laplace_bits(coded, z_scale)}
    bits = elements["z"].sum((1, 2, 3))

    features, index = model.scale_model(z_hat, tile_position, quantise)
    scale = scale_of_index(index)
    y = analysed
    groups: list[Passes] = []
    shift = None
    if prices is not None:
        y, index = y.detach(), index.detach()
        groups = sign_groups(index)
        target = regroup(x if cut is None else torch.cat(x.chunk(2, cut)))
        if effort:
            y, shift = search(model, y, features, index, prices, tile_position, target, effort, groups, encoder)
        else:
            shift = shifts(index, prices, encoder.worth_map(tile_position, target))

    def symbols_of(mean: Tensor, number: int) -> Tensor:
        residual = y - mean
        if shift is None:
            return round_through(residual)
        with torch.no_grad():
            change = quantise_pass(residual, shift, [passes[number] for passes in groups]) - residual
        return residual + change

    rounded, mean = entropy.passes(features, scale.detach(), symbols_of)
    residual = y - mean
    elements["y"] = laplace_bits(residual + noise_like(residual) if noise else rounded, scale)
    bits = bits + elements["y"].sum((1, 2, 3))
    if groups:
        bits = bits - count_hidden(rounded.detach(), groups)

    y_hat = mean + rounded
    if prices is not None and analysed.requires_grad:
        through = analysed - analysed.detach()  # 0, but for its gradient
        y_hat = y_hat + through
        noisy = y + through - mean.detach() + noise_like(y)
        rate = laplace_bits(noisy, scale.detach()).sum((1, 2, 3))
        bits = bits + rate - rate.detach()
    if cut is not None:
        bits = bits.view(2, -1).sum(0)
        y_hat, features = (torch.cat(halves.chunk(2), cut) for halves in (y_hat, features))
    x_hat = model.synthesis(y_hat, y_hat * model.decoder_gain(position), features, position)
    original = regroup(x)
    mse = (original - x_hat).square().mean((1, 2, 3))
    lambdas = encoder.lambdas(model.config, position)
    if encoder.objective == "visual":
        pictures = pixels_of_squares(original) + 0.5, pixels_of_squares(x_hat) + 0.5
        lost = distortion(encoder.mixture, *pictures, lambdas, sampled=noise)
    else:
        lost = lambdas * 255**2 * mse
    return Measures(bits / (64 * x.shape[2] * x.shape[3]), mse, lost, x_hat, elements)


def loss_per_patch(model: Network, measures: Measures, position: Tensor) -> Tensor:
    """The root of (bpp + distortion) / sqrt(lambda), (B,): no rate dominates, and neither pages of text, of which it is
    ten times as large as of a photograph (about 7), nor empty patches decide what is learnt."""
    return ((measures.bpp + measures.lost) * rate_distortion_lambda(model.config, position).rsqrt()).sqrt()
