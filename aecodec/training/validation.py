"""How good a network is on pictures that never train; the log of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecodec.families.layouts import network_input, pixels_of_squares
from aecodec.families.trainable import Trainable
from aecodec.perceptual import ms_ssim, ssimulacra2

LAMBDAS = tuple(0.0005 * 600 ** (k / 5) for k in range(6))  # of J, at which runs are compared
CROPS, SIZE = 32, 256
TOGETHER = 8

Row = dict[str, float]


@torch.no_grad()
def validate(family: Trainable, network: Any, crops: Tensor, bfloat16: bool, **how: Any) -> list[Row]:
    """At each of `LAMBDAS`, means over crops of bpp (estimated), PSNR (dB), J = bpp + distortion and, where the
    objective is visual, SSIMULACRA2 and MS-SSIM. crops: (N, 3, H, W) uint8. how: see `Trainable.measure`."""
    rows = []
    for lambda_ in LAMBDAS:
        sums: dict[str, float] = {}
        for part in crops.split(TOGETHER):
            position = torch.full((len(part),), family.position_of(network, lambda_), device=part.device)
            with torch.autocast(part.device.type, torch.bfloat16, enabled=bfloat16):
                m = family.measure(network, network_input(part), position, noise=False, **how)
            found = {"bpp": m.bpp, "psnr": -10 * m.mse.log10(), "J": m.bpp + m.lost}
            if how["encoder"].objective == "visual":
                pictures = part.float() / 255, pixels_of_squares(m.squares.float()) + 0.5
                found |= {"ssimulacra2": ssimulacra2(*pictures), "ms_ssim": ms_ssim(*pictures)}
            for name, values in found.items():
                sums[name] = sums.get(name, 0.0) + values.sum().item()
        rows.append({name: value / len(crops) for name, value in sums.items()})
    return rows


def score(rows: list[Row]) -> float:
    """100 times the mean logarithm of J: one less is 1 % less at every rate."""
    return 100 * sum(math.log(row["J"]) for row in rows) / len(rows)


def append(log: Path, facts: Mapping[str, Any], rows: list[Row]) -> None:
    """Adds a line of JSON to the log of a run: facts of the step, and a list over `LAMBDAS` of each measure."""
    line = {**facts, **{name: [round(row[name], 4) for row in rows] for name in rows[0]}}
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")
