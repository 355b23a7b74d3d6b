"""What aec2 is trained on: photographs, whole and at half size, and synthetic screen content."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aecodec.training.data import load_tiles, random_patches

HALF, SCREENS = 1 / 8, 1 / 8  # shares of the patches: so that fine detail is learnt, and what photographs lack


class Data:
    """Training and held-out tiles; the photographs decoded once, in a cache beside the run."""

    def __init__(self, photos: list[Path], screens: Path | None, cache: Path, device: str = "cpu"):
        if cache.exists():
            stored = torch.load(cache, map_location="cpu", weights_only=True, mmap=True)
        else:
            training, held_out, _ = load_tiles(photos)
            half = torch.cat([F.avg_pool2d(part.float(), 2).round_().to(torch.uint8) for part in training.split(64)])
            stored = {"photos": training, "half": half, "held_out": held_out}
            torch.save(stored, cache)
        self.photos, self.half, self.held_out = (stored[key].to(device) for key in ("photos", "half", "held_out"))
        self.screens: Tensor | None = None
        self.screens_held_out: Tensor | None = None
        if screens is not None:
            training, held_out, _ = load_tiles([screens])
            self.screens, self.screens_held_out = training.to(device), held_out.to(device)

    def batch(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """(count, 192, size/8, size/8) float32 in -0.5..0.5, channels_last."""
        half = round(HALF * count)
        screens = 0 if self.screens is None else round(SCREENS * count)
        parts = [random_patches(self.photos, count - half - screens, size, generator)]
        if half:
            parts.append(random_patches(self.half, half, size, generator))
        if self.screens is not None and screens:
            parts.append(random_patches(self.screens, screens, size, generator))
        x = torch.cat(parts)
        order = torch.randperm(len(x), generator=generator, device=x.device)  # so that every kind is seen at every rate
        return x[order].contiguous(memory_format=torch.channels_last)
