"""Parts of the networks: analysis, hyperprior and two-pass means; read in the order in which data flows.

Shapes are (batch, channels, height, width); M = latent channels. `quality` is what people see (1..100); `position`
is the same thing as the networks see it, 0..1 along the learned rows of gains and biases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import cpu_dilation, interpolate_rows
from aecodec.families.convolutions import dtype_of
from aecodec.families.hyperprior.constants import BLOCK, Z_TOP
from aecodec.families.hyperprior.scale_model import ScaleModel
from aecodec.families.layouts import unshuffle


class _Asinh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        root = x.square().add_(1).sqrt_()
        ctx.save_for_backward(root)
        return (root + x.abs()).log_().copysign_(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return gradient / root


def asinh(x: Tensor) -> Tensor:
    """torch.asinh to 1e-6, at a tenth of its time."""
    result: Tensor = _Asinh.apply(x)
    return result


class Sizes(Protocol):
    """Channels of a network of this kind."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def channels_8(self) -> int: ...

    @property
    def channels_16(self) -> int: ...

    @property
    def hyper_channels(self) -> int: ...

    @property
    def trunk_channels(self) -> int: ...

    @property
    def context_channels(self) -> int: ...


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(x)))


class Analysis(nn.Module):
    """Pixels to latents: a linear transform of 16x16 blocks plus what a linear transform cannot do."""

    latent_std: Tensor

    def __init__(self, config: Sizes, blocks_8: int, blocks_16: int):
        super().__init__()
        self.linear = nn.Conv2d(BLOCK, config.latent_channels, 1, bias=False)
        self.nonlinear = nn.Sequential(
            nn.Conv2d(3 * 64, config.channels_8, 1),
            *(ResidualBlock(config.channels_8) for _ in range(blocks_8)),
            nn.Conv2d(config.channels_8, config.channels_16, 3, stride=2, padding=1),
            *(ResidualBlock(config.channels_16) for _ in range(blocks_16)),
            nn.Conv2d(config.channels_16, config.latent_channels, 1),
        )
        self.register_buffer("latent_std", torch.ones(config.latent_channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 192, H/8, W/8), see `network_input`. Returns (B, M, H/16, W/16) float32, before gain."""
        if self.training:
            linear = self.linear(unshuffle(x, 2)).float()
        else:  # the same without the copy, which takes longer than the convolution
            linear = F.conv2d(x, self.linear.weight.view(-1, x.shape[1], 2, 2), stride=2).float()
        nonlinear = self.nonlinear(x.to(dtype_of(self.nonlinear))).float()
        return linear + self.latent_std[:, None, None] * nonlinear


class _Halving(nn.Conv2d):
    """A convolution of stride 2, whose output may be one column wide: in bfloat16 on the CPU torch 2.14 (oneDNN) then
    gives what happened to be in memory, so that zeros, which padding has there anyway, make it two."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 2:
            return super().forward(x)
        return super().forward(F.pad(x, (0, 4 - x.shape[-1])))[..., :1]


class EntropyModel(nn.Module):
    """The floating-point part of the entropy model: latents to hyper latents, and means in two passes.

    The passes go over a checkerboard whose colours are swapped for the second half of the channels (He et al., CVPR
    2021). A mean that differs in its last bit moves a pixel by nothing visible and can never desynchronise the stream.
    """

    def __init__(self, config: Sizes):
        super().__init__()
        m, n, c = config.latent_channels, config.trunk_channels, config.context_channels
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(m, c, 1),
            nn.GELU(),
            nn.Conv2d(c, c, 3, stride=2, padding=1),
            nn.GELU(),
            _Halving(c, config.hyper_channels, 3, stride=2, padding=1),
        )
        self.first_mean = nn.Sequential(nn.Conv2d(n, c, 1), nn.GELU(), nn.Conv2d(c, m, 1))
        self.neighbours = nn.Conv2d(m, m, 3, padding=1, groups=m, bias=False)
        self.context = nn.Conv2d(m, c, 3, padding=1)
        self.context_features = nn.Conv2d(n, c, 1)
        self.second_mean = nn.Sequential(nn.GELU(), nn.Conv2d(c, c, 1), nn.GELU(), nn.Conv2d(c, m, 1))

    def hyper_latents(self, y: Tensor) -> Tensor:
        """y: (B, M, H/16, W/16), gained. Returns unrounded z: (B, hyper, H/64, W/64) float32 within -127..127."""
        return self.hyper_analysis(asinh(y)).float().clamp(-Z_TOP, Z_TOP)

    def passes(
        self, features: Tensor, scale: Tensor, symbols_of: Callable[[Tensor, int], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Symbols and means of all elements, (B, M, h, w) float32, in steps; what they stand for is the sum of both.

        features: (B, trunk, h, w), integers 0..255. scale: (B, M, h, w), standard deviations.
        symbols_of: from means (B, M, h, w) and the number of the pass to symbols; only those of the pass count.
        """
        members = first_pass_mask(scale).to(
            scale.dtype
        )  # arithmetic with 0 and 1 is exact, and faster than torch.where
        mean = self.mean_of_first_pass(features, scale)
        first, means = symbols_of(mean, 0) * members, mean * members
        others = 1 - members
        mean = self.mean_of_second_pass(features, scale, first + means)
        return torch.addcmul(first, symbols_of(mean, 1), others), torch.addcmul(means, mean, others)

    def mean_of_first_pass(self, features: Tensor, scale: Tensor) -> Tensor:
        """See `passes`. Returns (B, M, h, w) float32, in steps."""
        return scale * self.first_mean(features / 16).float()

    def mean_of_second_pass(self, features: Tensor, scale: Tensor, first: Tensor) -> Tensor:
        """The same, knowing the elements of the first pass. first: (B, M, h, w), latents where decoded, 0 elsewhere."""
        context = self.context(self.seen_by_context(first)) + self.context_features(features / 16)
        with torch.autocast(first.device.type, enabled=False):
            linear = self.neighbours(first)  # float32: a mean of the brightest blocks needs more than 8 bits
        return linear + scale * self.second_mean(context).float()

    def seen_by_context(self, first: Tensor) -> Tensor:
        """What its first layer sees of the latents of the first pass."""
        return asinh(first)


def first_pass_mask(latents: Tensor) -> Tensor:
    """(M, h, w) bool, True for the elements of the first pass among latents (B, M, h, w), on their device.

    In the first M // 2 channels, those with an even row + column; in the others, those with an odd one.
    """
    channels, height, width = latents.shape[1:]
    device = latents.device
    half = torch.arange(channels, device=device) >= channels // 2
    patterns = torch.stack([~half, half])  # where row + column are even, and odd
    parity = (torch.arange(height, device=device)[:, None] + torch.arange(width, device=device)) % 2
    return patterns.index_select(0, parity.flatten()).view(height, width, channels).permute(2, 0, 1)


class Network(nn.Module):
    """What a whole network of this kind has.

    config: its sizes and range of lambda. log_encoder_gain, log_decoder_gain: of latents, rows (R, M). synthesis:
    latents in steps, the same after the decoder's gain, features and position to squares of pixels; its `linear` is the
    part that is linear.
    """

    config: Any
    analysis: Analysis
    log_encoder_gain: nn.Parameter
    log_decoder_gain: nn.Parameter
    scale_model: ScaleModel
    entropy_model: EntropyModel
    synthesis: Any

    def encoder_gain(self, position: Tensor) -> Tensor:
        """(B, M, 1, 1): quantisation steps per unit of latent."""
        return interpolate_rows(self.log_encoder_gain, position).exp()[:, :, None, None]

    def decoder_gain(self, position: Tensor) -> Tensor:
        """(B, M, 1, 1): units of latent per quantisation step."""
        return interpolate_rows(self.log_decoder_gain, position).exp()[:, :, None, None]


def prepare_layers(network: nn.Module) -> None:
    """Evaluation mode, and layers as they are computed fastest."""
    network.requires_grad_(False).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.device.type == "cpu":
            layer.dilation = cpu_dilation(layer.kernel_size[0])
