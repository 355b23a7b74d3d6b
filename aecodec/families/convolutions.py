"""Convolutions with what follows them in one kernel, where torch has that: one pass over memory less."""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of its parameters."""
    return next(module.parameters()).dtype


def rectified(layer: nn.Module, x: Tensor) -> Tensor:
    """relu(layer(x)), a convolution; in one kernel, one pass over memory less, if it is for inference on the CPU."""
    assert isinstance(layer, nn.Conv2d)
    for_inference = x.dtype == layer.weight.dtype and not torch.is_grad_enabled()
    if for_inference and x.device.type == "cpu" and torch.backends.mkldnn.enabled and fuses(x.dtype):
        geometry = layer.padding, layer.stride, layer.dilation, layer.groups
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *geometry, "relu", [], "")
        return fused
    return F.relu_(layer(x))


@cache
def fuses(dtype: torch.dtype) -> bool:
    """Whether torch has the operator by which its compiler fuses a convolution with what follows it, and it computes
    what the two do one after the other. It is not part of torch's public interface, so it is tried."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    x = torch.linspace(-1, 1, 64).view(1, 4, 4, 4).to(dtype)
    weight, bias = torch.linspace(-1, 1, 144).view(4, 4, 3, 3).to(dtype), torch.linspace(-1, 1, 4).to(dtype)
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        fused = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, [1, 1], [1, 1], [1, 1], 1, "relu", [], "")
        if torch.allclose(fused.float(), F.relu(F.conv2d(x, weight, bias, padding=1)).float(), rtol=0.02, atol=0.02):
            return True
        reason: object = "its results differ"
    except (RuntimeError, TypeError) as error:
        reason = error
    logger.warning("convolutions are not fused with rectifiers in %s: %s", dtype, reason)
    return False
