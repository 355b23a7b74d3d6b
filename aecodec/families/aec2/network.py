"""The network "aec2": a nonlinear transform of normal size beside a linear one; read in the order in which data flows.

Shapes are (batch, channels, height, width); M = latent channels. `position` is the quality as the network sees it,
0..1 along the learned rows of gains and biases.

All layers of the decoder are ReLU convolutions whose activations stay within 0..ACTIVATION_MAX, so that they can be
quantised to unsigned 8-bit integers with steps of 1/16. Everything dense is a multiple of 32 channels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import ACTIVATION_STEPS, ACTIVATION_TOP, WEIGHT_TOP, interpolate_rows
from aecodec.families.aec1.config import BLOCK, Z_TOP
from aecodec.families.aec1.network import asinh, first_pass_mask
from aecodec.families.aec1.scale_model import ScaleModel
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.layouts import blocks_of_pixels, quarter, shuffle, unshuffle

# Of the decoder's 8-bit weights: 255 * 56,000 + 255 * 2^12 leave a room of 1.4 million below 2^24 for biases.
DECODER_SUM_LIMIT = 56_000
FINEST_EXPONENT = 12
CONTEXT_MAX = WEIGHT_TOP / ACTIVATION_STEPS  # 7.94: what a signed 8-bit asinh of a latent can hold
STREAM_SIZE = 4  # of the synthesis, about: so large that steps of 1/16 are fine
FEATURE_GAIN = STREAM_SIZE / ACTIVATION_STEPS  # of the scale model's features, integers
LAST_GAIN = 1 / STREAM_SIZE  # of what is added to pixels
LEAK = 0.1  # slope of the analysis's rectifiers below 0
ACTIVATION_MAX = ACTIVATION_TOP / ACTIVATION_STEPS  # 15.94: what an unsigned 8-bit activation can hold


def round_to_steps(x: Tensor) -> Tensor:
    """Rounds to steps of an activation, 1/16; the gradient is that of the identity (straight-through). In bfloat16,
    too, where all of 0..255 are exact."""
    return x + (torch.round(x.detach() * ACTIVATION_STEPS) / ACTIVATION_STEPS - x.detach())


class Rectifier(nn.Module):
    """The rectifier of the decoder: saturates where unsigned 8 bits do, and rounds as they do if `quantised`."""

    quantised = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(x, 0.0, ACTIVATION_MAX)
        return round_to_steps(x) if self.quantised else x


class DecoderConv2d(nn.Conv2d):
    """A convolution whose exact form has 8-bit weights, with a power of two as the step of each output channel; they
    are rounded if `quantised`, with straight-through gradients."""

    quantised = False

    def exponent(self) -> Tensor:
        """(O,) float: the weights' step is 2^-exponent, as fine as 8 bits and the bound on sums allow."""
        magnitude = self.weight.detach().float().abs()
        finest = torch.minimum(
            WEIGHT_TOP / magnitude.amax((1, 2, 3)).clamp_min(1e-6),
            DECODER_SUM_LIMIT / magnitude.sum((1, 2, 3)).clamp_min(1e-6),
        )
        return torch.floor(torch.log2(finest)).clamp(0, FINEST_EXPONENT)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.quantised:
            step = torch.exp2(-self.exponent()).view(-1, 1, 1, 1)
            weight = weight + (torch.round(weight.detach() / step) * step - weight.detach())
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a stream that is signed and never rectified itself: rectified after each sum, all of
    a stream died within thousands of steps, at the bounds of 8 bits, where no gradient comes through."""

    quantised = False

    def __init__(self, channels: int):
        super().__init__()
        self.first = DecoderConv2d(channels, channels, 3, padding=1)
        self.second = DecoderConv2d(channels, channels, 3, padding=1)
        self.rectifier = Rectifier()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.second(self.rectifier(self.first(self.rectifier(x))))
        return round_to_steps(x) if self.quantised else x


class AnalysisBlock(nn.Module):
    """The same, where nothing has to be exact."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), LEAK))


def _blocks(kind: Callable[[int], nn.Module], channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(kind(channels) for _ in range(count)))


class Analysis(nn.Module):
    """Pixels to latents: a nonlinear transform at 1/4, 1/8 and 1/16, and a linear one of 16x16 blocks beside it."""

    latent_std: Tensor

    def __init__(self, config: ModelConfig):
        super().__init__()
        c4, c8, c16 = config.analysis_channels
        n4, n8, n16 = config.analysis_blocks
        m = config.latent_channels
        self.linear = nn.Conv2d(BLOCK, m, 1, bias=False)
        self.first = nn.Conv2d(48, c4, 3, padding=1)
        self.blocks_4 = _blocks(AnalysisBlock, c4, n4)
        self.down_8 = nn.Conv2d(4 * c4, c8, 1)
        self.blocks_8 = _blocks(AnalysisBlock, c8, n8)
        self.down_16 = nn.Conv2d(4 * c8, c16, 1)
        self.blocks_16 = _blocks(AnalysisBlock, c16, n16)
        self.last = nn.Conv2d(c16, m, 1)
        self.register_buffer("latent_std", torch.ones(m))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 192, H/8, W/8), see `networks.network_input`. Returns (B, M, H/16, W/16) float32, before gain."""
        h = self.blocks_4(self.first(4 * quarter(x)))
        h = self.blocks_8(self.down_8(unshuffle(h, 2)))
        h = self.down_16(unshuffle(h, 2))
        y = self.latent_std[:, None, None] * self.last(self.blocks_16(h)).float()
        return y + self.linear(unshuffle(x, 2)).float()


class EntropyModel(nn.Module):
    """Latents to hyper latents, and means in two passes over a checkerboard whose colours are swapped for the second
    half of the channels (He et al., CVPR 2021)."""

    quantised = False  # whether what the context sees is rounded, as in the exact form

    def __init__(self, config: ModelConfig):
        super().__init__()
        m, n, c = config.latent_channels, config.trunk_channels, config.context_channels
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(m, c, 1),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, config.hyper_channels, 3, stride=2, padding=1),
        )
        self.first_mean = nn.Sequential(nn.Conv2d(n, c, 1), Rectifier(), nn.Conv2d(c, m, 1))
        self.neighbours = nn.Conv2d(m, m, 3, padding=1, groups=m, bias=False)
        self.context = DecoderConv2d(m, c, 3, padding=1)
        self.context_features = nn.Conv2d(n, c, 1)
        self.second_mean = nn.Sequential(Rectifier(), nn.Conv2d(c, c, 1), Rectifier(), nn.Conv2d(c, m, 1))

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
        members = first_pass_mask(scale).to(scale.dtype)
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
        seen = asinh(first)
        if self.quantised:
            seen = round_to_steps(seen.clamp(-CONTEXT_MAX, CONTEXT_MAX))
        context = self.context(seen) + self.context_features(features / 16)
        with torch.autocast(first.device.type, enabled=False):
            linear = self.neighbours(first)  # float32: a mean of the brightest blocks needs more than 8 bits
        return linear + scale * self.second_mean(context).float()


class Synthesis(nn.Module):
    """Latents to pixels: a nonlinear path from 1/16 to 1/2, where it meets the pixels of the linear one; what it adds
    to them is in units of the quantisation step."""

    quantised = False

    def __init__(self, config: ModelConfig):
        super().__init__()
        c2, c4, c8, c16 = config.synthesis_channels
        n2, n4, n8, n16 = config.synthesis_blocks
        m, rows = config.latent_channels, config.rows
        self.log_input_gain = nn.Parameter(torch.zeros(rows, m))
        self.first = nn.Conv2d(m + config.trunk_channels, c16, 1)
        self.first_bias = nn.Parameter(torch.zeros(rows, c16))
        self.blocks_16 = _blocks(ResidualBlock, c16, n16)
        self.up_8 = DecoderConv2d(c16, 4 * c8, 1)
        self.bias_8 = nn.Parameter(torch.zeros(rows, c8))
        self.blocks_8 = _blocks(ResidualBlock, c8, n8)
        self.up_4 = DecoderConv2d(c8, 4 * c4, 1)
        self.bias_4 = nn.Parameter(torch.zeros(rows, c4))
        self.blocks_4 = _blocks(ResidualBlock, c4, n4)
        self.up_2 = DecoderConv2d(c4, 4 * c2, 1)
        self.bias_2 = nn.Parameter(torch.zeros(rows, c2))
        self.linear = nn.Conv2d(m, BLOCK, 1, bias=False)
        self.pixels_in = DecoderConv2d(12, c2, 3, padding=1, bias=False)
        self.log_pixel_gain = nn.Parameter(torch.zeros(rows, c2))
        self.blocks_2 = _blocks(ResidualBlock, c2, n2)
        self.last = DecoderConv2d(c2, 12, 3, padding=1)
        self.rectifier = Rectifier()
        self.log_output_gain = nn.Parameter(torch.zeros(rows, 1))

    def forward(self, y_hat: Tensor, dequantised: Tensor, features: Tensor, position: Tensor) -> Tensor:
        """y_hat: (B, M, h, w) in quantisation steps; dequantised: the same after the decoder's gain;
        features: (B, trunk, h, w) of the entropy model; position: (B,). Returns (B, 12, 8 h, 8 w) float32: pixels,
        about -0.5..0.5, not clamped, see `networks.regroup`."""

        def row(parameter: Tensor) -> Tensor:
            return interpolate_rows(parameter, position)[:, :, None, None]

        dtype = torch.bfloat16 if torch.is_autocast_enabled(y_hat.device.type) else y_hat.dtype
        x = torch.cat([y_hat * row(self.log_input_gain).exp(), features * FEATURE_GAIN], 1).to(dtype)
        x = self._through(self.blocks_16, self.first(x) + row(self.first_bias).to(dtype))
        x = self._through(self.blocks_8, shuffle(self.up_8(self.rectifier(x)), 2) + row(self.bias_8).to(dtype))
        x = self._through(self.blocks_4, shuffle(self.up_4(self.rectifier(x)), 2) + row(self.bias_4).to(dtype))
        x = shuffle(self.up_2(self.rectifier(x)), 2) + row(self.bias_2).to(dtype)
        gain = row(self.log_output_gain).exp()
        pixels = blocks_of_pixels(self.linear, dequantised).float()
        x = x + self.pixels_in((pixels / gain).to(dtype)) * row(self.log_pixel_gain).exp().to(dtype)
        x = self.last(self.rectifier(self._through(self.blocks_2, x))).float() * LAST_GAIN
        return torch.addcmul(pixels, x, gain)

    def _through(self, blocks: nn.Module, stream: Tensor) -> Tensor:
        x: Tensor = blocks(round_to_steps(stream) if self.quantised else stream)
        return x


class Aec2(nn.Module):
    """The whole network."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.log_encoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.log_decoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.scale_model = ScaleModel(config)
        self.entropy_model = EntropyModel(config)
        self.synthesis = Synthesis(config)

    def encoder_gain(self, position: Tensor) -> Tensor:
        """(B, M, 1, 1): quantisation steps per unit of latent."""
        return interpolate_rows(self.log_encoder_gain, position).exp()[:, :, None, None]

    def decoder_gain(self, position: Tensor) -> Tensor:
        """(B, M, 1, 1): units of latent per quantisation step."""
        return interpolate_rows(self.log_decoder_gain, position).exp()[:, :, None, None]

    def quantise(self, on: bool) -> None:
        """Whether entropy model and synthesis compute with the weights and activations of the exact decoder."""
        for part in (self.entropy_model, self.synthesis):
            for module in part.modules():
                if hasattr(module, "quantised"):
                    module.quantised = on  # type: ignore[assignment]

    def prepare_for_inference(self, precision: str) -> None:
        """precision: "float32", "bfloat16", or "auto": bfloat16 where the device has instructions for it."""
        self.requires_grad_(False).eval()
        device = self.log_encoder_gain.device
        native = device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
        self.inference_dtype = torch.bfloat16 if precision == "bfloat16" or (precision == "auto" and native) else None

    def reduced_precision(self) -> AbstractContextManager[Any]:
        """Within it the convolutions of the encoder compute as `prepare_for_inference` decided."""
        return torch.autocast(self.log_encoder_gain.device.type, self.inference_dtype, self.inference_dtype is not None)
