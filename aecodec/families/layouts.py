"""Memory layouts of pictures in tensors: blocks, squares, pixels; in channels_last memory throughout.

Shapes are (batch, channels, height, width).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.families.base import Mosaic, Pixels
from aecodec.tiling import Box


def cut(x: Tensor, box: Box, scale: int = 1) -> Tensor:
    """The box of x, (B, C, h, w); it has `scale` elements each way for a unit of the box."""
    rows, columns = box.times(scale).slices
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


def quarter(x: Tensor) -> Tensor:
    """(B, 192, h, w), unshuffled by 8, to (B, 48, 2 h, 2 w), unshuffled by 4, in channels_last memory."""
    b, _, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, 3, 2, 4, 2, 4).permute(0, 1, 4, 2, 6, 3, 5, 7)
    return x.reshape(b, 2 * h, 2 * w, 48).permute(0, 3, 1, 2)


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


def blocks_of_pixels(layer: nn.Conv2d, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """layer(x), a 1x1 convolution to blocks of 8x8 or 16x16 pixels, as squares of pixels, see `regroup`. weight:
    instead of the layer's.

    Its output channels are ordered as by `unshuffle(., 8)`, or that and `unshuffle(., 2)`. x: (B, C, h, w). Returns
    (B, 12, 4 h, 4 w) or (B, 12, 8 h, 8 w). The weights are put in order rather than the result, so that whole rows of
    a block are copied: 1 instead of 9 ms for a megapixel.
    """
    weight, bias = (
        by_rows(layer.weight if weight is None else weight),
        None if layer.bias is None else by_rows(layer.bias),
    )
    return squares_of_blocks(F.conv2d(x, weight, bias, dilation=layer.dilation))


def squares_of_blocks(x: Tensor) -> Tensor:
    """Blocks of 8x8 or 16x16 pixels, (B, 192, h, w) or (B, 768, h, w) with channels in the order of `by_rows`, as
    squares of pixels, see `regroup`."""
    b, channels, h, w = x.shape
    rows = math.isqrt(channels // 12)
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
    weight = by_rows(layer.weight).transpose(0, 1)
    return F.conv2d(x.reshape(b, h, w, -1).permute(0, 3, 1, 2), weight, dilation=layer.dilation)


def by_rows(parameter: Tensor) -> Tensor:
    """Output channels from the order of `unshuffle` to that of the samples in the rows of a block."""
    d = math.isqrt(len(parameter) // (3 * 64))
    ordered = parameter.reshape(3, 4, 2, 4, 2, d, d, -1).permute(5, 1, 6, 3, 2, 4, 0, 7)
    return ordered.reshape(parameter.shape)


def network_input(pixels: Tensor) -> Tensor:
    """pixels: (B, 3, H, W) uint8, or float32 in 0..255, H and W multiples of 8.

    Returns (B, 192, H/8, W/8) float32 in -0.5..0.5.
    """
    return unshuffle(pixels, 8).float().div_(255).sub_(0.5)


def from_pixels(pixels: Pixels) -> Tensor:
    """(B, H, W, 3) to (B, 3, H, W), in channels_last memory, which they share."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def array(values: Tensor, dtype: torch.dtype) -> npt.NDArray[Any]:
    """Values as a contiguous array."""
    return values.to(dtype).cpu().contiguous().numpy()


def on_host(levels: Tensor) -> Pixels:
    """What `families.base.Rendering.render` returns, as `synthesise` does: uint8, or uint16 of int32."""
    pixels = levels.cpu().numpy()
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels


def gather(mosaic: Mosaic, stride: int) -> Tensor:
    """The states of a window, (1, C, h, w) in channels_last memory, from those of the tiles, (C, h, w), that cover it.

    stride: pixels per element of a state, each way.
    """
    window, tiles = mosaic
    one = tiles[0][1]
    shape = (1, len(one), window.height // stride, window.width // stride)
    result = torch.empty(shape, device=one.device, memory_format=torch.channels_last)
    for box, state in tiles:
        shared = box.overlap(window)
        assert shared is not None  # only such tiles are given
        (there, here) = (shared.within(place).in_units(stride).slices for place in (window, box))
        result[0, :, there[0], there[1]] = state[:, here[0], here[1]]
    return result
