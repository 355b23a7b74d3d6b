"""How good a network is on pictures that never trained it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from aecodec.families.aec1.config import rate_distortion_lambda
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.objective import measure
from aecodec.families.layouts import network_input

POSITIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
TILES = 32
SIZE = 256

Rows = Sequence[dict[str, float]]  # at each of POSITIONS: bpp, psnr, J


@torch.no_grad()
def validate(
    model: Aec1, tiles: Tensor, *, quantise: bool = True, prices: Tensor | None = None, effort: int = 0
) -> Rows:
    """bpp, PSNR (dB, mean over tiles) and J = bpp + lambda * 255^2 * MSE at each of POSITIONS.

    tiles: (N, 3, T, T) uint8; the middle 256x256 of at most 32 of them is coded.
    """
    edge = (tiles.shape[-1] - SIZE) // 2
    middle = slice(edge, edge + SIZE)
    x = network_input(tiles[:TILES, :, middle, middle])
    rows = []
    for at in POSITIONS:
        position = torch.full((len(x),), at, device=x.device)
        with torch.autocast(x.device.type, torch.bfloat16):
            m = measure(model, x, position, noise=False, quantise=quantise, prices=prices, effort=effort)
        lambdas = rate_distortion_lambda(model.config, position)
        rows.append(
            {
                "bpp": m.bpp.mean().item(),
                "psnr": (-10 * m.mse.log10()).mean().item(),
                "J": (m.bpp + lambdas * 255**2 * m.mse).mean().item(),
            }
        )
    return rows


def append(path: Path, rows: Rows, step: int, seconds: float, speed: float, loss: float, skips: int) -> None:
    """Adds a line to the CSV log of a phase. speed: patches per second."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            names = [f"{key}@{at}" for at in POSITIONS for key in ("bpp", "psnr", "J")]
            writer.writerow(["step", "seconds", "patches_per_second", "loss", "skipped", *names])
        values = [f"{row[key]:.5f}" for row in rows for key in ("bpp", "psnr", "J")]
        writer.writerow([step, f"{seconds:.1f}", f"{speed:.2f}", f"{loss:.5f}", skips, *values])
