"""What processors can do."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16. Without them torch computes in it much slower than in
    float32: 20 times, a step of training with AVX2 alone."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
