"""Pictures as tensors of torch, channels first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aecodec import canvas
from aecodec.canvas import Canvas, Decode, Region
from aecodec.container import File, Header
from aecodec.errors import AecodecError
from aecodec.families.base import Rendering
from aecodec.models import Model
from aecodec.picture import Samples


def colours(
    files: Sequence[File],
    regions: Sequence[Region | None] | None,
    device: str,
    model_of: Callable[[Header], Model],
    decode: Decode,
) -> list[tuple[Samples | Tensor, int]]:
    """Colours, (H, W, 3) or (H, W), and bits of a sample: tensors on the device, if all models leave pixels there;
    otherwise arrays, from `decode`."""
    found = [] if device == "cpu" else [model_of(file.header) for file in files]
    if not found or not all(isinstance(model.family, Rendering) for model in found):
        return [(picture.colour, picture.depth) for picture in decode(files, regions)]
    areas = regions or [None] * len(files)
    wanted = [Canvas(*each, on_device=True) for each in zip(files, found, areas, strict=True)]
    return [(tensor, one.depth) for one, tensor in zip(wanted, canvas.tensors(wanted), strict=True)]


def finished(colour: Samples | Tensor, depth: int, device: str, floating: bool, rgb: bool) -> Tensor:
    """(C, H, W) of (H, W, 3) or (H, W), of so many bits; see `Codec.decode_tensor`."""
    if not isinstance(colour, Tensor):
        colour = torch.from_numpy(colour if depth == 8 else colour.astype("int32"))
    tensor = colour[None] if colour.ndim == 2 else colour.permute(2, 0, 1)
    tensor = tensor.to(device)
    white = 2**depth - 1
    if floating:
        tensor = tensor.float().div_(white)
    elif depth > 8:
        tensor = tensor.mul(255).add_(white // 2).div_(white, rounding_mode="floor").to(torch.uint8)
    return tensor.expand(3, -1, -1) if rgb else tensor


def array(tensor: Tensor) -> Any:
    """(H, W, C) or (H, W) of (C, H, W), 1, 3 or 4 channels, uint8 or float. Raises AecodecError if it is another."""
    shape, dtype = tuple(tensor.shape), tensor.dtype
    if len(shape) != 3 or shape[0] not in (1, 3, 4) or not (dtype == torch.uint8 or dtype.is_floating_point):
        raise AecodecError(f"a tensor of {dtype} and shape {shape}; expected (C, H, W), C of 1, 3 or 4, uint8 or float")
    pixels = tensor.detach().permute(1, 2, 0)
    pixels = (pixels if dtype == torch.uint8 else pixels.float()).cpu().contiguous()
    return pixels.numpy()[:, :, 0] if shape[0] == 1 else pixels.numpy()
