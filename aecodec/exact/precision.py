"""float32 as IEEE 754 has it, whatever the host program asked torch for.

torch computes convolutions and products of float32 tensors with fewer bits where it is told to, or, on Nvidia GPUs,
unless it is told not to. Its settings are global: they are changed only while something here needs it, and put back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

FULL = {"cpu": ("ieee", "none"), "cuda": ("ieee",)}  # "none" is torch's default: on GPUs that may be TF32
_lock = threading.Lock()
_within = 0  # how many threads rely on the settings now
_before: list[tuple[Any, str]] = []  # what the first of them changed


def _settings(device: str) -> list[Any]:
    """The places where torch keeps what float32 means on a kind of device."""
    backends: Any = torch.backends
    if device == "cuda":
        return [backends.cudnn.conv, backends.cuda.matmul]
    return [backends.mkldnn.conv, backends.mkldnn.matmul]


@contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Within it, float32 convolutions and products on this kind of device ("cpu", "cuda") have all of their bits.

    Threads may be in it at the same time: the first that enters changes the settings, the last that leaves puts them
    back.
    """
    global _within
    with _lock:
        if _within == 0:
            _before[:] = [(s, s.fp32_precision) for s in _settings(device) if s.fp32_precision not in FULL[device]]
            for setting, _ in _before:
                setting.fp32_precision = "ieee"
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                for setting, value in _before:
                    setting.fp32_precision = value
