"""The network "aec1": analysis, gains, hyperprior, two-pass means, synthesis; read in the order in which data flows.

Shapes are (batch, channels, height, width); M = latent channels. `quality` is what people see (1..100); `position`
is the same thing as the networks see it, 0..1 along the learned rows of gains and biases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.integer import (
    ACTIVATION_TOP,
    IntegerConv2d,
    check_bound,
    cpu_dilation,
    floor_through,
    integer_conv2d,
    interpolate_rows,
    interpolate_rows_exactly,
    round_through,
)

STRIDE = 16  # pixels per latent, each way
HYPER_STRIDE = 64  # pixels per hyper latent, each way; pictures are padded to a multiple of it
BLOCK = 3 * STRIDE * STRIDE  # samples in the block that one latent position stands for
SCALE_COUNT = 64  # entries of the table of scales
SCALE_MIN = 0.11  # standard deviation of scale index 0, in quantisation steps
SCALES_PER_OCTAVE = 6
Z_INDEX_STEPS = 4096  # fixed-point steps per scale index of a hyper channel
Z_TOP = 127  # hyper latents are clamped to -127..127
Z_WEIGHT_STEPS = 64  # fixed-point steps per unit of a weight in their prediction
TRUNK_LAYERS = ((3, False), (1, True), (3, False), (1, True), (3, False))  # kernel, followed by 2x subpixel upsampling


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes of the network; saved with the weights."""

    latent_channels: int = 320  # 256 KLT channels leave an MSE of 5, 320 leave 0.9: the top of the range needs 320
    channels_8: int = 128  # residual blocks at 1/8 of the resolution
    blocks_8: int = 1
    channels_16: int = 192  # residual blocks at 1/16 of the resolution
    blocks_16: int = 2  # of the synthesis
    analysis_blocks_16: int = 2
    hyper_channels: int = 96
    trunk_channels: int = 128  # integer network from z_hat to the scale indices
    context_channels: int = 160
    filter_channels: int = 0  # of the filter at 1/2 of the resolution; 0, as before aec1-3: no filter
    filter_layers: int = 1  # 3x3 layers between its first and its last
    hidden_signs: bool = False  # whether signs are hidden in the parities of symbols, see `hiding`
    rows: int = 12  # learned qualities; in between, gains and biases are interpolated
    lambda_min: float = 0.0005  # quality 1, bits per pixel per squared 8-bit level
    lambda_max: float = 0.3  # quality 100

    @property
    def analysis_halo(self) -> int:
        """Pixels around a tile that its latents depend on, in whole latents: a 3x3 kernel at 1/8 reaches 8 pixels."""
        return STRIDE * math.ceil((8 * (2 * self.blocks_8 + 1) + 16 * 2 * self.analysis_blocks_16) / STRIDE)

    @property
    def filter_halo(self) -> int:
        """Latents around a tile whose pixels the filter sees."""
        return math.ceil(self._filter_reach / STRIDE)

    @property
    def pixel_halo(self) -> int:
        """Latents around a tile that the layers of the synthesis at 1/8 and the filter depend on."""
        return math.ceil((8 * 2 * self.blocks_8 + self._filter_reach) / STRIDE)

    @property
    def _filter_reach(self) -> int:
        return 2 * (1 + self.filter_layers) if self.filter_channels else 0  # pixels

    @property
    def synthesis_halo(self) -> int:
        """Latents around a tile that its pixels depend on."""
        return self.pixel_halo + 2 * self.blocks_16


def rate_distortion_lambda(config: ModelConfig, position: Tensor) -> Tensor:
    """lambda of J = bpp + lambda * 255^2 * MSE at each position: geometric from lambda_min to lambda_max."""
    return config.lambda_min * (config.lambda_max / config.lambda_min) ** position


def scale_of_index(index: Tensor) -> Tensor:
    """Standard deviation, in quantisation steps, of a (possibly fractional) scale index."""
    return SCALE_MIN * torch.exp2(index / SCALES_PER_OCTAVE)


Box = tuple[slice, slice]  # rows and columns


def with_halo(box: Box, limits: Sequence[int], halo: int) -> Box:
    """The box and what is around it, cut at the borders of the picture, which has the size `limits`."""
    rows, columns = (
        slice(max(side.start - halo, 0), min(side.stop + halo, limit)) for side, limit in zip(box, limits, strict=True)
    )
    return rows, columns


def within(box: Box, window: Box) -> Box:
    """The box as seen from a window that holds it."""
    rows, columns = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, window, strict=True))
    return rows, columns


def _cut(x: Tensor, box: Box, scale: int = 1) -> Tensor:
    """The box of x, (B, C, h, w); it has `scale` elements each way for a unit of the box."""
    rows, columns = (slice(scale * side.start, scale * side.stop) for side in box)
    return x[:, :, rows, columns]


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """F.pixel_unshuffle that reads and writes channels_last memory; torch's own leaves it, at twice the time."""
    b, _, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // factor, factor, w // factor, factor, -1)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(b, h // factor, w // factor, -1).permute(0, 3, 1, 2)


def shuffle(x: Tensor, factor: int) -> Tensor:
    """F.pixel_shuffle that reads and writes channels_last memory."""
    b, _, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, -1, factor, factor)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(b, h * factor, w * factor, -1).permute(0, 3, 1, 2)


def regroup(x: Tensor) -> Tensor:
    """(B, 192, h, w), unshuffled by 8, to squares of pixels, (B, 12, 4 h, 4 w), in channels_last memory.

    A square is 2x2 pixels, ordered (row, column, colour), so that a row of a picture is made of runs of 6 samples.
    """
    b, _, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, 3, 4, 2, 4, 2).permute(0, 1, 4, 2, 6, 5, 7, 3)
    return x.reshape(b, 4 * h, 4 * w, 12).permute(0, 3, 1, 2)


def pixels_of_squares(x: Tensor) -> Tensor:
    """(B, 12, h, w), see `regroup`, to (B, 3, 2 h, 2 w), in channels_last memory."""
    b, _, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, 2, 6).transpose(2, 3)
    return x.reshape(b, 2 * h, 2 * w, 3).permute(0, 3, 1, 2)


def blocks_of_pixels(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """layer(x), a 1x1 convolution to blocks of 8x8 or 16x16 pixels, as squares of pixels, see `regroup`.

    Its output channels are ordered as by `unshuffle(., 8)`, or that and `unshuffle(., 2)`. x: (B, C, h, w). Returns
    (B, 12, 4 h, 4 w) or (B, 12, 8 h, 8 w). The weights are put in order rather than the result, so that whole rows of
    a block are copied: 1 instead of 9 ms for a megapixel.
    """
    bias = None if layer.bias is None else _by_rows(layer.bias)
    x = F.conv2d(x, _by_rows(layer.weight), bias, dilation=layer.dilation)
    b, _, h, w = x.shape
    rows = math.isqrt(layer.out_channels // 12)
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, rows, rows * 12).transpose(2, 3)
    return x.reshape(b, rows * h, rows * w, 12).permute(0, 3, 1, 2)


def latents_of_pixels(layer: nn.Conv2d, squares: Tensor) -> Tensor:
    """The transpose of `blocks_of_pixels`: the gradient of (squares * blocks_of_pixels(layer, x)).sum() by x.

    squares: (B, 12, 4 h, 4 w) or (B, 12, 8 h, 8 w). Returns (B, C, h, w).
    """
    rows = math.isqrt(layer.out_channels // 12)
    b, _, height, width = squares.shape
    h, w = height // rows, width // rows
    x = squares.permute(0, 2, 3, 1).reshape(b, h, rows, w, rows * 12).transpose(2, 3)
    weight = _by_rows(layer.weight).transpose(0, 1)
    return F.conv2d(x.reshape(b, h, w, -1).permute(0, 3, 1, 2), weight, dilation=layer.dilation)


def _by_rows(parameter: Tensor) -> Tensor:
    """Output channels from the order of `unshuffle` to that of the samples in the rows of a block."""
    d = math.isqrt(len(parameter) // (3 * 64))
    ordered = parameter.reshape(3, 4, 2, 4, 2, d, d, -1).permute(5, 1, 6, 3, 2, 4, 0, 7)
    return ordered.reshape(parameter.shape)


def network_input(pixels: Tensor) -> Tensor:
    """pixels: (B, 3, H, W) uint8, H and W multiples of 8. Returns (B, 192, H/8, W/8) float32 in -0.5..0.5."""
    return unshuffle(pixels, 8).float().div_(255).sub_(0.5)


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


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _rectified(layer: nn.Module, x: Tensor) -> Tensor:
    """relu(layer(x)), a convolution; in one kernel, one pass over memory less, if it is for inference on the CPU."""
    assert isinstance(layer, nn.Conv2d)
    for_inference = x.dtype == layer.weight.dtype and not torch.is_grad_enabled()
    if for_inference and x.device.type == "cpu" and torch.backends.mkldnn.enabled and _fuses():
        geometry = layer.padding, layer.stride, layer.dilation, layer.groups
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *geometry, "relu", [], "")
        return fused
    return F.relu_(layer(x))


@cache
def _fuses() -> bool:
    """Whether there is the operator by which torch.compile fuses a convolution with what follows it."""
    available = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.linear = nn.Conv2d(BLOCK, config.latent_channels, 1, bias=False)
        self.nonlinear = nn.Sequential(
            nn.Conv2d(3 * 64, config.channels_8, 1),
            *(ResidualBlock(config.channels_8) for _ in range(config.blocks_8)),
            nn.Conv2d(config.channels_8, config.channels_16, 3, stride=2, padding=1),
            *(ResidualBlock(config.channels_16) for _ in range(config.analysis_blocks_16)),
            nn.Conv2d(config.channels_16, config.latent_channels, 1),
        )
        self.register_buffer("latent_std", torch.ones(config.latent_channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 192, H/8, W/8), see `network_input`. Returns (B, M, H/16, W/16) float32, before gain."""
        if self.training:
            linear = self.linear(unshuffle(x, 2)).float()
        else:  # the same without the copy, which takes longer than the convolution
            linear = F.conv2d(x, self.linear.weight.view(-1, x.shape[1], 2, 2), stride=2).float()
        nonlinear = self.nonlinear(x.to(_dtype(self.nonlinear))).float()
        return linear + self.latent_std[:, None, None] * nonlinear


def predict_hyper_latents(z: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the hyper latents to the left, above and above left; beyond the borders they are 0.

    z: (B, hyper, h, w). weights: (3, hyper), in 64ths. Returns (B, hyper, h, w), exact if all are integers.
    """
    padded = F.pad(z, (1, 0, 1, 0))
    left, above, corner = (weights / Z_WEIGHT_STEPS)[:, :, None, None]
    return left * padded[:, :, 1:, :-1] + above * padded[:, :, :-1, 1:] + corner * padded[:, :, :-1, :-1]


class ScaleModel(nn.Module):
    """Hyper latents to features and scale indices, in integers; this is the form that is trained.

    Because the scale indices come from the hyper latents alone and are exact, all symbols of a picture can be
    entropy-decoded in one go, on every machine. `ExactScaleModel` is the form that codes.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        n, rows = config.trunk_channels, config.rows
        self.z_index = nn.Parameter(torch.full((rows, config.hyper_channels), 1.5))  # sixteenths of an index
        self.z_weights = nn.Parameter(torch.zeros(3, config.hyper_channels))  # of what is left, above, above left
        self.trunk = nn.ModuleList(
            IntegerConv2d(n if i else config.hyper_channels, 4 * n if up else n, kernel, rows, 16 if i else 1)
            for i, (kernel, up) in enumerate(TRUNK_LAYERS)
        )
        self.index_head = IntegerConv2d(n, config.latent_channels, 1, rows, top=SCALE_COUNT - 1)

    def z_scale_index(self, position: Tensor, quantise: bool = True) -> Tensor:
        """Scale index of each hyper channel. position: (B,) in 0..1. Returns (B, hyper, 1, 1), 0..63."""
        index = (16 * interpolate_rows(self.z_index, position)).clamp(0, SCALE_COUNT - 1)
        return (round_through(index) if quantise else index)[:, :, None, None]

    def predict(self, z_hat: Tensor, quantise: bool = True) -> Tensor:
        """See `predict_hyper_latents`."""
        if not quantise:
            return predict_hyper_latents(z_hat, self.z_weights * Z_WEIGHT_STEPS)
        return floor_through(predict_hyper_latents(z_hat, round_through(self.z_weights * Z_WEIGHT_STEPS)) + 0.5)

    def forward(self, z_hat: Tensor, position: Tensor, quantise: bool = True) -> tuple[Tensor, Tensor]:
        """z_hat: (B, hyper, H/64, W/64), integers. position: (B,) in 0..1.

        Returns features (B, trunk, H/16, W/16), integers 0..255, and scale index (B, M, H/16, W/16), 0..63; with
        quantise=False neither is rounded, nor are the weights.
        """
        x = z_hat
        for layer, (_, up) in zip(self.trunk, TRUNK_LAYERS, strict=True):
            x = layer(x, position, quantise)
            x = shuffle(x, 2) if up else x
        return x, self.index_head(x, position, quantise)

    def export(self) -> dict[str, Tensor]:
        """The tensors of an `ExactScaleModel`. Raises ModelError if sums could leave the exact range."""
        tensors = {
            "z_index": torch.round(self.z_index.detach().double() * 16 * Z_INDEX_STEPS).to(torch.int32),
            "z_weights": torch.round(self.z_weights.detach() * Z_WEIGHT_STEPS).clamp(-127, 127).to(torch.int8),
        }
        for name, layer in self._layers().items():
            tensors |= {f"{name}.{key}": value for key, value in layer.export(name).items()}
        return tensors

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `export`, but for what its rounding lost."""
        self.z_index.copy_(tensors["z_index"] / (16 * Z_INDEX_STEPS))
        self.z_weights.copy_(tensors["z_weights"] / Z_WEIGHT_STEPS)
        for name, layer in self._layers().items():
            layer.restore(*(tensors[f"{name}.{key}"] for key in ("weight", "bias", "shift")))

    def _layers(self) -> dict[str, IntegerConv2d]:
        """The layers under the names that their tensors have in a model file."""
        named = [*((f"trunk.{i}", layer) for i, layer in enumerate(self.trunk)), ("head", self.index_head)]
        return {name: layer for name, layer in named if isinstance(layer, IntegerConv2d)}


class ExactScaleModel:
    """The exported `ScaleModel`: int8 weights, exact on every device. Works in float32 on integers below 2^24."""

    def __init__(self, tensors: dict[str, Tensor], device: torch.device):
        names = [*(f"trunk.{i}" for i in range(len(TRUNK_LAYERS))), "head"]
        for name in names:
            check_bound(name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        self.z_index = tensors["z_index"].long()
        without = torch.zeros(3, self.z_index.shape[1])  # some models predict nothing
        self.z_weights = tensors.get("z_weights", without).float().to(device)
        self.weights = [tensors[f"{name}.weight"].float().to(device) for name in names]
        self.biases = [tensors[f"{name}.bias"].long() for name in names]
        self.shifts = [tensors[f"{name}.shift"].float().to(device) for name in names]

    def z_scale_index(self, position: int) -> Tensor:
        """(hyper,) int64, 0..63. position: 0..9900, hundredths of quality above 1."""
        rows = interpolate_rows_exactly(self.z_index, position)
        return ((rows + Z_INDEX_STEPS // 2) // Z_INDEX_STEPS).clamp(0, SCALE_COUNT - 1)

    def z_residual(self, z: Tensor) -> Tensor:
        """What is coded of hyper latents (B, hyper, h, w), integers in float32: what their neighbours do not tell."""
        return z - (predict_hyper_latents(z, self.z_weights) + 0.5).floor_()

    def z_of_residual(self, residual: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The hyper latents of which only this was coded, within -127..127; diagonal by diagonal."""
        height, width = residual.shape[2:]
        left, above, corner = self.z_weights.cpu().numpy().astype(np.int32)[:, None, :, None]
        z = np.pad(np.zeros_like(residual), ((0, 0), (0, 0), (1, 0), (1, 0)))
        for diagonal in range(height + width - 1):
            rows = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
            columns = diagonal - rows
            sums = (
                left * z[:, :, rows + 1, columns] + above * z[:, :, rows, columns + 1] + corner * z[:, :, rows, columns]
            )
            values = residual[:, :, rows, columns] + (sums + Z_WEIGHT_STEPS // 2) // Z_WEIGHT_STEPS
            z[:, :, rows + 1, columns + 1] = values.clip(-Z_TOP, Z_TOP)
        return z[:, :, 1:, 1:]

    def __call__(self, z_hat: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """As `ScaleModel.forward`; z_hat float32, one position for the whole batch."""
        x = z_hat
        for number, (weight, biases, shift) in enumerate(zip(self.weights, self.biases, self.shifts, strict=True)):
            bias = interpolate_rows_exactly(biases, position).to(x)
            if number == len(TRUNK_LAYERS):
                return x, integer_conv2d(x, weight, bias, shift, SCALE_COUNT - 1)
            x = integer_conv2d(x, weight, bias, shift, ACTIVATION_TOP)
            x = shuffle(x, 2) if TRUNK_LAYERS[number][1] else x
        raise AssertionError("the head is the last layer")


class EntropyModel(nn.Module):
    """The floating-point part of the entropy model: latents to hyper latents, and means in two passes.

    The passes go over a checkerboard whose colours are swapped for the second half of the channels (He et al., CVPR
    2021). A mean that differs in its last bit moves a pixel by nothing visible and can never desynchronise the stream.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        m, n, c = config.latent_channels, config.trunk_channels, config.context_channels
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(m, c, 1),
            nn.GELU(),
            nn.Conv2d(c, c, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(c, config.hyper_channels, 3, stride=2, padding=1),
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
        context = self.context(asinh(first)) + self.context_features(features / 16)
        with torch.autocast(first.device.type, enabled=False):
            linear = self.neighbours(first)  # float32: a mean of the brightest blocks needs more than 8 bits
        return linear + scale * self.second_mean(context).float()


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
        if _dtype(self.second) != torch.float32:  # if it is, autocast may be at work
            x = x.to(_dtype(self.second))
        for layer in (self.second, *self.more):
            x = _rectified(layer, x)
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
        self.filter = Filter(config) if config.filter_channels else None

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
        inside: rows and columns of the latents whose pixels are wanted, and returned; None: all. The layers see what is
        around them, each no more of it than the next one needs."""

        def row(parameter: Tensor) -> Tensor:
            return interpolate_rows(parameter, position)[:, :, None, None]

        wanted = inside or (slice(0, y_hat.shape[2]), slice(0, y_hat.shape[3]))
        at_8, filtered = (with_halo(wanted, y_hat.shape[2:], halo) for halo in self.halos)

        dtype = _dtype(self.first)
        x = torch.cat([y_hat * row(self.log_input_gain).exp(), features / 16], 1).to(dtype)
        x = self.first(x) + row(self.first_bias).to(dtype)
        x = _cut(self.blocks_16(x), at_8)
        x = self.blocks_8(shuffle(self.up(x), 2) + row(self.up_bias).to(dtype))
        gain = row(self.log_output_gain).exp()
        correction = _cut(blocks_of_pixels(self.last, x), within(filtered, at_8), STRIDE // 2).float()
        pixels = torch.addcmul(blocks_of_pixels(self.linear, _cut(dequantised, filtered)).float(), correction, gain)
        if self.filter is not None:
            pixels = pixels + self.filter(pixels, gain, position)
        return _cut(pixels, within(wanted, filtered), STRIDE // 2)


class Aec1(nn.Module):
    """The whole network. `codec` runs its parts one by one; training runs `forward`."""

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

    def prepare_for_inference(self, dtype: torch.dtype) -> None:
        """Moves the nonlinear paths of analysis and synthesis to a dtype; all else has to stay float32."""
        self.requires_grad_(False).eval()
        synthesis = self.synthesis
        parts: list[nn.Module] = [self.analysis.nonlinear, synthesis.first, synthesis.blocks_16, synthesis.up]
        parts += [synthesis.blocks_8, synthesis.last]
        if synthesis.filter is not None:
            parts += [synthesis.filter.second, synthesis.filter.more, synthesis.filter.last]
        for part in parts:
            part.to(dtype)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.weight.device.type == "cpu":
                layer.dilation = cpu_dilation(layer.kernel_size[0])

    @torch.no_grad()
    def start_from_klt(self, covariance: Tensor) -> None:
        """Makes the untrained network a decent transform coder.

        Both linear paths become the leading eigenvectors of the covariance, the nonlinear paths nearly nothing, the
        gains those of the high-rate optimum, the scales those of the eigenvalues.

        covariance: (768, 768) float64 of 16x16x3 blocks with samples in 0..1, in the order of
                unshuffle(unshuffle(., 8), 2).
        """
        m = self.config.latent_channels
        values, vectors = torch.linalg.eigh(covariance)
        std = values.flip(0)[:m].clamp_min(1e-12).sqrt()
        basis = vectors.flip(1)[:, :m].T
        self.analysis.linear.weight.copy_(basis[:, :, None, None])
        self.synthesis.linear.weight.copy_(basis.T[:, :, None, None])
        self.analysis.latent_std.copy_(std)

        positions = torch.linspace(0, 1, self.config.rows, dtype=torch.float64)
        lambdas = rate_distortion_lambda(self.config, positions)
        # Three samples a pixel, each with distortion step^2 / 12: d(bpp + lambda MSE) / d step = 0 at high rate.
        step = (18 / (lambdas * 0.6931)).sqrt() / 255
        gain = (1 / step)[:, None].expand(-1, m)
        self.log_encoder_gain.copy_(gain.log())
        self.log_decoder_gain.copy_(-gain.log())
        scale = gain * std  # (rows, M), standard deviation in steps
        self.synthesis.log_input_gain.copy_(-(1 + scale.square()).log() / 4)
        self.synthesis.log_output_gain.copy_(step.log()[:, None])
        index = SCALES_PER_OCTAVE * (scale / SCALE_MIN).log2() - 3
        self.scale_model.index_head.bias.copy_(index.clamp(0, SCALE_COUNT - 1) / 16)
        self.scale_model.index_head.weight.mul_(0.1)
        self.entropy_model.neighbours.weight.zero_()
        for layer in (
            self.analysis.nonlinear[-1],
            self.synthesis.last,
            self.entropy_model.first_mean[-1],
            self.entropy_model.second_mean[-1],
        ):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            layer.weight.mul_(0.1)  # type: ignore[operator]
        if self.synthesis.filter is not None:
            self.synthesis.filter.start()
