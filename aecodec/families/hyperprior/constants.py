"""What all networks of this kind have in common: strides, scales, limits of what is coded, lambda."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

STRIDE = 16  # pixels per latent, each way
HYPER_STRIDE = 64  # pixels per hyper latent, each way; pictures are padded to a multiple of it
BLOCK = 3 * STRIDE * STRIDE  # samples in the block that one latent position stands for
SCALE_COUNT = 64  # entries of the table of scales
SCALE_MIN = 0.11  # standard deviation of scale index 0, in quantisation steps
SCALES_PER_OCTAVE = 6
Z_INDEX_STEPS = 4096  # fixed-point steps per scale index of a hyper channel
Z_TOP = 127  # hyper latents are clamped to -127..127
SYMBOL_TOP = 2047  # symbols of latents to -2047..2047: five times what any picture gives, see docs/adr/0030
Z_WEIGHT_STEPS = 64  # fixed-point steps per unit of a weight in their prediction
TRUNK_LAYERS = ((3, False), (1, True), (3, False), (1, True), (3, False))  # kernel, followed by 2x subpixel upsampling

CHANNELS, BLOCKS = (1, 1024), (0, 16)  # of a layer, of residual blocks: more than any network that a picture waits for


class LambdaRange(Protocol):
    """lambda at quality 1 and at quality 100."""

    @property
    def lambda_min(self) -> float: ...

    @property
    def lambda_max(self) -> float: ...


def rate_distortion_lambda(config: LambdaRange, position: Tensor) -> Tensor:
    """lambda of J = bpp + lambda * 255^2 * MSE at each position: geometric from lambda_min to lambda_max."""
    return config.lambda_min * (config.lambda_max / config.lambda_min) ** position


def scale_of_index(index: Tensor) -> Tensor:
    """Standard deviation, in quantisation steps, of a (possibly fractional) scale index."""
    return SCALE_MIN * torch.exp2(index / SCALES_PER_OCTAVE)
