"""Where training starts: at normal variance, beside the Karhunen-Loeve transform of the training pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aecodec.families.aec1.config import SCALE_COUNT, SCALE_MIN, SCALES_PER_OCTAVE, rate_distortion_lambda
from aecodec.families.aec2.network import STREAM_SIZE, Aec2


@torch.no_grad()
def start(model: Aec2, covariance: Tensor) -> None:
    """Gains and scales of a transform coder; the linear paths become its Karhunen-Loeve transform; everything else is
    random, at normal variance.

    covariance: (768, 768) float64, see `training.data.block_covariance`.
    """
    config = model.config
    m = config.latent_channels
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for name, module in model.named_modules():
        if name.endswith(".second"):
            assert isinstance(module, nn.Conv2d)
            module.weight.mul_(0.3)  # the streams of residual blocks neither grow nor saturate
    values, vectors = torch.linalg.eigh(covariance)
    std = values.flip(0)[:m].clamp_min(1e-12).sqrt()
    basis = vectors.flip(1)[:, :m].T
    model.analysis.linear.weight.copy_(basis[:, :, None, None])
    model.synthesis.linear.weight.copy_(basis.T[:, :, None, None])
    model.analysis.latent_std.copy_(std)
    positions = torch.linspace(0, 1, config.rows, dtype=torch.float64)
    lambdas = rate_distortion_lambda(config, positions)
    step = (18 / (lambdas * 0.6931)).sqrt() / 255  # the optimum at high rate
    gain = (1 / step)[:, None].expand(-1, m)
    model.log_encoder_gain.copy_(gain.log())
    model.log_decoder_gain.copy_(-gain.log())
    scale = gain * std  # (rows, M), standard deviation in steps
    synthesis = model.synthesis
    synthesis.log_input_gain.copy_(math.log(STREAM_SIZE) - (1 + scale.square()).log() / 4)
    synthesis.log_output_gain.copy_(step.log()[:, None])
    # What the pixels are divided by before they meet the nonlinear path; beside it they shall be of normal size.
    synthesis.log_pixel_gain.copy_(
        (STREAM_SIZE * step.clamp_max(0.1) / 0.1).log()[:, None].expand(-1, synthesis.log_pixel_gain.shape[1])
    )
    index = SCALES_PER_OCTAVE * (scale / SCALE_MIN).log2() - 3
    model.scale_model.index_head.bias.copy_(index.clamp(0, SCALE_COUNT - 1) / 16)
    model.scale_model.index_head.weight.mul_(0.1)
    model.entropy_model.neighbours.weight.zero_()
    entropy = model.entropy_model
    for layer, size in (
        (model.analysis.last, 0.05),
        (synthesis.last, 0.1),
        (entropy.first_mean[-1], 0.1),
        (entropy.second_mean[-1], 0.1),
    ):
        layer.weight.mul_(size / math.sqrt(2))  # type: ignore[operator]
