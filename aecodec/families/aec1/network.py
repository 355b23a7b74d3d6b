"""The network "aec1": its synthesis, and the whole. Its other parts are in `families.hyperprior.layers`.

Shapes are (batch, channels, height, width); M = latent channels. `quality` is what people see (1..100); `position`
is the same thing as the networks see it, 0..1 along the learned rows of gains and biases.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import interpolate_rows
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.convolutions import dtype_of, rectified
from aecodec.families.hyperprior.constants import BLOCK, STRIDE
from aecodec.families.hyperprior.layers import Analysis, EntropyModel, Network, ResidualBlock, prepare_layers
from aecodec.families.hyperprior.scale_model import ScaleModel
from aecodec.families.layouts import blocks_of_pixels, cut, shuffle
from aecodec.tiling import Box


class Filter(nn.Module):
    """Removes what quantisation leaves in pixels, at 1/2 of the resolution, as the loop filters of video codecs do.

    Convolutions at 1/8 cannot: they write blocks of 8x8 pixels without seeing what the linear path wrote.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c = config.filter_channels
        self.first = nn.Conv2d(12, c, 3, padding=1, bias=False)
        self.log_first_gain = nn.Parameter(torch.zeros(config.rows, c))
        self.first_bias = nn.Parameter(torch.zeros(config.rows, c))
        self.second = nn.Conv2d(c, c, 3, padding=1)
        self.more = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _ in range(config.filter_layers - 1))
        self.last = nn.Conv2d(c, 12, 1)

    @torch.no_grad()
    def start(self) -> None:
        """Makes the untrained filter blind to brightness, and change nothing."""
        weight = self.first.weight.unflatten(1, (3, 4))
        weight.sub_(weight.mean((2, 3, 4), keepdim=True))
        for layer in self.more:  # near the identity, which the ReLU before it leaves as it is
            assert isinstance(layer, nn.Conv2d)
            layer.weight.mul_(0.1)
            channels = range(layer.in_channels)
            layer.weight[channels, channels, 1, 1] += 1
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, step: Tensor, position: Tensor) -> Tensor:
        """pixels: (B, 12, H/2, W/2) float32, see `regroup`. step: (B, 1, 1, 1), about the quantisation step in
        units of pixels. position: (B,). Returns what to add to the pixels."""
        # The layers know the samples of a square in the order (colour, row, column).
        weight = self.first.weight.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
        # In float32: beside what is to be removed from them pixels are large; bfloat16 rounds by up to half a level.
        x = F.conv2d(pixels / step, weight, padding=1)
        gain = interpolate_rows(self.log_first_gain, position).exp()[:, :, None, None].to(x.dtype)
        bias = interpolate_rows(self.first_bias, position)[:, :, None, None].to(x.dtype)
        x = F.relu_(torch.addcmul(bias, x, gain))
        if dtype_of(self.second) != torch.float32:  # if it is, autocast may be at work
            x = x.to(dtype_of(self.second))
        for layer in (self.second, *self.more):
            x = rectified(layer, x)
        weight, bias = (p.unflatten(0, (3, 4)).transpose(0, 1).flatten(0, 1) for p in self.last.parameters())
        return step * F.conv2d(x, weight, bias, dilation=self.last.dilation)


class Synthesis(nn.Module):
    """Latents to pixels: the transposed linear transform plus a correction in units of the quantisation step, and a
    filter."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        c8, c16, m = config.channels_8, config.channels_16, config.latent_channels
        self.halos = config.pixel_halo, config.filter_halo
        self.linear = nn.Conv2d(m, BLOCK, 1, bias=False)
        self.log_input_gain = nn.Parameter(torch.zeros(config.rows, m))
        self.log_output_gain = nn.Parameter(torch.zeros(config.rows, 1))
        self.first = nn.Conv2d(m + config.trunk_channels, c16, 1)
        self.first_bias = nn.Parameter(torch.zeros(config.rows, c16))
        self.blocks_16 = nn.Sequential(*(ResidualBlock(c16) for _ in range(config.blocks_16)))
        self.up = nn.Conv2d(c16, 4 * c8, 1)
        self.up_bias = nn.Parameter(torch.zeros(config.rows, c8))
        self.blocks_8 = nn.Sequential(*(ResidualBlock(c8) for _ in range(config.blocks_8)))
        self.last = nn.Conv2d(c8, 3 * 64, 1)
        self.filter = Filter(config)

    def forward(
        self,
        y_hat: Tensor,
        dequantised: Tensor,
        features: Tensor,
        position: Tensor,
        inside: Box | None = None,
    ) -> Tensor:
        """y_hat: (B, M, h, w) in quantisation steps; dequantised: the same after the decoder's gain;
        features: (B, trunk, h, w) of the entropy model; position: (B,). Returns (B, 12, 8 h, 8 w) float32: pixels,
        about -0.5..0.5, not clamped, see `regroup`.
        inside: box of the latents whose pixels are wanted, and returned; None: all. The layers see what is
        around them, each no more of it than the next one needs."""

        def row(parameter: Tensor) -> Tensor:
            return interpolate_rows(parameter, position)[:, :, None, None]

        whole = y_hat.shape[2], y_hat.shape[3]
        wanted = inside or Box.whole(whole)
        at_8, filtered = (wanted.with_halo(halo, whole) for halo in self.halos)

        dtype = dtype_of(self.first)
        x = torch.cat([y_hat * row(self.log_input_gain).exp(), features / 16], 1).to(dtype)
        x = self.first(x) + row(self.first_bias).to(dtype)
        x = cut(self.blocks_16(x), at_8)
        x = self.blocks_8(shuffle(self.up(x), 2) + row(self.up_bias).to(dtype))
        gain = row(self.log_output_gain).exp()
        correction = cut(blocks_of_pixels(self.last, x), filtered.within(at_8), STRIDE // 2).float()
        pixels = torch.addcmul(blocks_of_pixels(self.linear, cut(dequantised, filtered)).float(), correction, gain)
        pixels = pixels + self.filter(pixels, gain, position)
        return cut(pixels, wanted.within(filtered), STRIDE // 2)


class Aec1(Network):
    """The whole network. `codec` runs its parts one by one; training runs `forward`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.analysis = Analysis(config, config.blocks_8, config.analysis_blocks_16)
        self.log_encoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.log_decoder_gain = nn.Parameter(torch.zeros(config.rows, config.latent_channels))
        self.scale_model = ScaleModel(config)
        self.entropy_model = EntropyModel(config)
        self.synthesis = Synthesis(config)

    def prepare_for_inference(self, dtype: torch.dtype) -> None:
        """Moves the nonlinear paths of analysis and synthesis to a dtype; all else has to stay float32."""
        synthesis = self.synthesis
        parts: list[nn.Module] = [self.analysis.nonlinear, synthesis.first, synthesis.blocks_16, synthesis.up]
        parts += [synthesis.blocks_8, synthesis.last]
        parts += [synthesis.filter.second, synthesis.filter.more, synthesis.filter.last]
        for part in parts:
            part.to(dtype)
        prepare_layers(self)
