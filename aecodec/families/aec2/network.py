"""The network "aec2": the transforms of aec1 with a decoder that can be computed in 8 bits; read in the order in which
data flows.

Shapes are (batch, channels, height, width); M = latent channels. `position` is the quality as the network sees it,
0..1 along the learned rows of gains and biases.

What the decoder's layers see has 8 bits in steps of 1/16: rectified, 0..ACTIVATION_MAX, or of a stream of residual
blocks, which is never rectified itself, -SIGNED_MAX..SIGNED_MAX.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import ACTIVATION_STEPS, ACTIVATION_TOP, WEIGHT_TOP, interpolate_rows
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.convolutions import dtype_of
from aecodec.families.hyperprior.constants import BLOCK
from aecodec.families.hyperprior.layers import Analysis, EntropyModel, Network, asinh, prepare_layers
from aecodec.families.hyperprior.scale_model import ScaleModel
from aecodec.families.layouts import blocks_of_pixels, shuffle

SNAKE = (0, 1, 2, 5, 4, 3, 6, 7, 8)  # a path through a kernel of 3x3, each step to a neighbour

# Of the decoder's 8-bit weights: 255 * 56,000 + 255 * 2^12 leave a room of 1.4 million below 2^24 for biases; of which
# a layer's own takes 2^20 at most, and the rows for each quality what is left.
DECODER_SUM_LIMIT = 56_000
BIAS_LIMIT = 2**20 / ACTIVATION_STEPS
FINEST_EXPONENT = 12
SIGNED_MAX = WEIGHT_TOP / ACTIVATION_STEPS  # 7.94: what a signed 8-bit activation can hold
ACTIVATION_MAX = ACTIVATION_TOP / ACTIVATION_STEPS  # 15.94: what an unsigned one can


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
    are rounded if `quantised`, with straight-through gradients.

    subpixels: parts of the input channels, one after the other, that hold subpixels of the same picture.
    """

    quantised = False

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True, subpixels: int = 1):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.subpixels = subpixels

    def exponent(self) -> Tensor:
        """(O,) float: the weights' step is 2^-exponent, as fine as 8 bits and the bound on sums allow."""
        magnitude = self.weight.detach().float().abs()
        finest = torch.minimum(
            WEIGHT_TOP / magnitude.amax((1, 2, 3)).clamp_min(1e-6),
            DECODER_SUM_LIMIT / magnitude.sum((1, 2, 3)).clamp_min(1e-6),
        )
        if self.bias is not None:
            finest = torch.minimum(finest, BIAS_LIMIT / self.bias.detach().float().abs().clamp_min(1e-6))
        return torch.floor(torch.log2(finest)).clamp(0, FINEST_EXPONENT)

    @torch.no_grad()
    def integers(self) -> Tensor:
        """(O, I, k, k) float32: the weights in steps, rounded. What is lost at one position of a kernel of 3x3 is made
        good at the next, so that a smooth picture is answered as by the real weights: most of what 8 bits cost there
        was a constant that came from sums of rounded weights. Noise shaping: Cutler, "Transmission systems employing
        quantization", US patent 2,927,962, 1960."""
        weight = self.weight.float() * torch.exp2(self.exponent()).view(-1, 1, 1, 1)
        if weight.shape[-1] == 1:
            return torch.round(weight)
        parts = weight.flatten(2)[:, :, SNAKE].unflatten(1, (self.subpixels, -1)).movedim(1, 2)  # (O, I/s, s, 9)
        sums = torch.round(parts.flatten(2).cumsum(2))
        rounded = torch.diff(sums, prepend=torch.zeros_like(sums[:, :, :1])).clamp_(-WEIGHT_TOP, WEIGHT_TOP)
        own = torch.empty_like(weight.flatten(2))
        own[:, :, SNAKE] = rounded.view_as(parts).movedim(2, 1).flatten(1, 2)
        return own.view_as(weight)

    def as_computed(self) -> Tensor:
        """The weights, rounded if `quantised`."""
        if not self.quantised:
            return self.weight
        rounded = self.integers() * torch.exp2(-self.exponent()).view(-1, 1, 1, 1)
        return self.weight + (rounded - self.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.as_computed(), self.bias, padding=self.padding)


class Stream(nn.Module):
    """What layers see of a stream."""

    quantised = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(x, -SIGNED_MAX, SIGNED_MAX)
        return round_to_steps(x) if self.quantised else x


class Pair(nn.Module):
    """Two 3x3 convolutions with a rectifier between them."""

    quantised = False

    def __init__(self, channels: int):
        super().__init__()
        self.seen = Stream()
        self.first = DecoderConv2d(channels, channels, 3)
        self.rectifier = Rectifier()
        self.second = DecoderConv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.rectifier(self.first(self.seen(x))))
        return round_to_steps(x) if self.quantised else x


class ResidualBlock(Pair):
    """Such a pair beside a stream that is signed and never rectified itself: rectified after each sum, all of a stream
    died within thousands of steps, at the bounds of 8 bits, where no gradient comes through."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class IntegerEntropyModel(EntropyModel):
    """The usual one with means that can be computed in integers; GELU there is a table."""

    quantised = False  # whether what the context sees is rounded, as in the exact form

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.context = DecoderConv2d(config.latent_channels, config.context_channels, 3)

    def seen_by_context(self, first: Tensor) -> Tensor:
        seen = asinh(first)
        return round_to_steps(seen.clamp(-SIGNED_MAX, SIGNED_MAX)) if self.quantised else seen


class Filter(nn.Module):
    """Removes what quantisation leaves in pixels, at 1/2 of the resolution. See `families.aec1.network.Filter`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        c = config.filter_channels
        self.first = DecoderConv2d(12, c, 3, bias=False, subpixels=4)
        self.log_first_gain = nn.Parameter(torch.zeros(config.rows, c))
        self.first_bias = nn.Parameter(torch.zeros(config.rows, c))
        self.layers = nn.ModuleList(DecoderConv2d(c, c, 3) for _ in range(config.filter_layers))
        self.last = DecoderConv2d(c, 12, 1)
        self.rectifier = Rectifier()

    @torch.no_grad()
    def start(self) -> None:
        """Makes the untrained filter blind to brightness, and change nothing."""
        weight = self.first.weight.unflatten(1, (4, 3))
        weight.sub_(weight.mean((1, 3, 4), keepdim=True))
        for layer in self.layers:  # near the identity, which the rectifier before it leaves as it is
            assert isinstance(layer, DecoderConv2d)
            layer.weight.mul_(0.1)
            channels = range(layer.in_channels)
            layer.weight[channels, channels, 1, 1] += 1
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, position: Tensor) -> Tensor:
        """pixels: (B, 12, H/2, W/2) float32, see `regroup`, in about quantisation steps. position: (B,). Returns what
        to add to them."""
        with torch.autocast(pixels.device.type, enabled=False):
            x = self.first(pixels)  # float32: beside what is to be removed from them pixels are large
        gain = interpolate_rows(self.log_first_gain, position).exp()[:, :, None, None]
        bias = interpolate_rows(self.first_bias, position)[:, :, None, None]
        x = self.rectifier(torch.addcmul(bias, x, gain)).to(dtype_of(self.last))
        for layer in self.layers:
            x = self.rectifier(layer(x))
        changes: Tensor = self.last(x)
        return changes.float()


class Synthesis(nn.Module):
    """Latents to pixels: the transposed linear transform plus a correction in units of the quantisation step, and a
    filter."""

    quantised = False

    def __init__(self, config: ModelConfig):
        super().__init__()
        c8, c16, m = config.channels_8, config.channels_16, config.latent_channels
        self.linear = nn.Conv2d(m, BLOCK, 1, bias=False)
        self.log_input_gain = nn.Parameter(torch.zeros(config.rows, m))
        self.log_output_gain = nn.Parameter(torch.zeros(config.rows, 1))
        self.first = nn.Conv2d(m + config.trunk_channels, c16, 1)
        self.first_bias = nn.Parameter(torch.zeros(config.rows, c16))
        self.blocks_16 = nn.Sequential(*(ResidualBlock(c16) for _ in range(config.blocks_16)))
        self.up = DecoderConv2d(c16, 4 * c8, 1)
        self.up_bias = nn.Parameter(torch.zeros(config.rows, c8))
        self.enter = Pair(c8)
        self.blocks_8 = nn.Sequential(*(ResidualBlock(c8) for _ in range(config.blocks_8)))
        self.last = DecoderConv2d(c8, 3 * 64, 1)
        self.seen = Stream()
        self.filter = Filter(config)

    def forward(self, y_hat: Tensor, dequantised: Tensor, features: Tensor, position: Tensor) -> Tensor:
        """y_hat: (B, M, h, w) in quantisation steps; dequantised: the same after the decoder's gain;
        features: (B, trunk, h, w) of the entropy model; position: (B,). Returns (B, 12, 8 h, 8 w) float32: pixels,
        about -0.5..0.5, not clamped, see `regroup`."""

        def row(parameter: Tensor) -> Tensor:
            return interpolate_rows(parameter, position)[:, :, None, None]

        # With autocast elementwise operations would be in float32, and take most of the time of a step.
        dtype = torch.bfloat16 if torch.is_autocast_enabled(y_hat.device.type) else dtype_of(self.first)
        x = torch.cat([y_hat * row(self.log_input_gain).exp(), features / ACTIVATION_STEPS], 1).to(dtype)
        x = self.blocks_16(self._rounded(self.first(x) + row(self.first_bias).to(dtype)))
        x = self._rounded(shuffle(self.up(self.seen(x)), 2) + row(self.up_bias).to(dtype))
        x = self.blocks_8(self.enter(x))
        correction = blocks_of_pixels(self.last, self.seen(x), self.last.as_computed()).float()
        gain = row(self.log_output_gain).exp()
        pixels = torch.addcmul(blocks_of_pixels(self.linear, dequantised).float(), correction, gain)
        return torch.addcmul(pixels, self.filter(pixels / gain, position), gain)

    def _rounded(self, stream: Tensor) -> Tensor:
        return round_to_steps(stream) if self.quantised else stream


class Aec2(Network):
    """The whole network."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.analysis = Analysis(config, config.analysis_blocks_8, config.analysis_blocks_16)
        self.log_encoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.log_decoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.scale_model = ScaleModel(config)
        self.entropy_model = IntegerEntropyModel(config)
        self.synthesis = Synthesis(config)

    def quantise(self, on: bool) -> None:
        """Whether entropy model and synthesis compute with the weights and activations of the exact decoder."""
        for part in (self.entropy_model, self.synthesis):
            for module in part.modules():
                if hasattr(module, "quantised"):
                    module.quantised = on

    def prepare_for_inference(self, dtype: torch.dtype) -> None:
        """Moves the nonlinear paths of analysis and synthesis to a dtype; all else has to stay float32."""
        synthesis = self.synthesis
        parts: list[nn.Module] = [self.analysis.nonlinear, synthesis.first, synthesis.blocks_16, synthesis.up]
        parts += [synthesis.enter, synthesis.blocks_8, synthesis.last]
        parts += [synthesis.filter.layers, synthesis.filter.last]
        for part in parts:
            part.to(dtype)
        prepare_layers(self)
