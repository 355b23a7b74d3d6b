"""Where training starts: at the Karhunen-Loeve transform of the training pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aecodec.families.hyperprior.constants import SCALE_COUNT, SCALE_MIN, SCALES_PER_OCTAVE, rate_distortion_lambda
from aecodec.families.hyperprior.layers import Network


@torch.no_grad()
def start_from_klt(network: Network, covariance: Tensor) -> None:
    """Makes the untrained network a decent transform coder.

    Both linear paths become the leading eigenvectors of the covariance, the nonlinear paths nearly nothing, the
    gains those of the high-rate optimum, the scales those of the eigenvalues.

    covariance: (768, 768) float64 of 16x16x3 blocks with samples in 0..1, in the order of
            unshuffle(unshuffle(., 8), 2).
    """
    m = network.config.latent_channels
    values, vectors = torch.linalg.eigh(covariance)
    std = values.flip(0)[:m].clamp_min(1e-12).sqrt()
    basis = vectors.flip(1)[:, :m].T
    network.analysis.linear.weight.copy_(basis[:, :, None, None])
    network.synthesis.linear.weight.copy_(basis.T[:, :, None, None])
    network.analysis.latent_std.copy_(std)

    positions = torch.linspace(0, 1, network.config.rows, dtype=torch.float64)
    lambdas = rate_distortion_lambda(network.config, positions)
    # Three samples a pixel, each with distortion step^2 / 12: d(bpp + lambda MSE) / d step = 0 at high rate.
    step = (18 / (lambdas * 0.6931)).sqrt() / 255
    gain = (1 / step)[:, None].expand(-1, m)
    network.log_encoder_gain.copy_(gain.log())
    network.log_decoder_gain.copy_(-gain.log())
    scale = gain * std  # (rows, M), standard deviation in steps
    network.synthesis.log_input_gain.copy_(-(1 + scale.square()).log() / 4)
    network.synthesis.log_output_gain.copy_(step.log()[:, None])
    index = SCALES_PER_OCTAVE * (scale / SCALE_MIN).log2() - 3
    network.scale_model.index_head.bias.copy_(index.clamp(0, SCALE_COUNT - 1) / 16)
    network.scale_model.index_head.weight.mul_(0.1)
    network.entropy_model.neighbours.weight.zero_()
    for layer in (
        network.analysis.nonlinear[-1],
        network.synthesis.last,
        network.entropy_model.first_mean[-1],
        network.entropy_model.second_mean[-1],
    ):
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        layer.weight.mul_(0.1)  # type: ignore[operator]
    network.synthesis.filter.start()
