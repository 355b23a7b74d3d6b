"""Weights of aec1-visual-2 whose range reaches further: python extend.py EXTRA LIFT OUT.safetensors

Everything that has a row for each of 12 qualities (gains, biases) is read on past its end: what stands for a position p
above 0.6 is what would have stood for p + EXTRA * ((p - 0.6) / 0.4)^2, beyond 1 in a straight line from the last three
rows. So encoder, entropy model and decoder still fit each other, and training has only to adapt them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

WEIGHTS = Path(__file__).parents[2] / "weights" / "aec1-visual-2.safetensors"
ROWS, FROM = 12, 0.6
MIXTURE = {"ssimulacra2": 0.45, "ms_ssim": 0.2, "squared_error": 0.1, "butteraugli": 0.25}


def read_on(rows: npt.NDArray[np.float64], extra: float) -> npt.NDArray[np.float64]:
    """rows: (12, C)."""
    position = np.linspace(0, 1, ROWS)
    wanted = (ROWS - 1) * (position + extra * np.clip((position - FROM) / (1 - FROM), 0, None) ** 2)
    found = np.empty_like(rows)
    for row, at in enumerate(wanted):
        if at > ROWS - 1:
            found[row] = rows[-1] + (at - (ROWS - 1)) * (rows[-1] - rows[-3]) / 2
        else:
            low = min(int(at), ROWS - 2)
            found[row] = rows[low] + (at - low) * (rows[low + 1] - rows[low])
    return found


def main(extra: float, lift: float, out: str) -> None:
    with safe_open(WEIGHTS, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and len(tensor) == ROWS:
            rows = read_on(tensor.astype(np.float64), extra)
            tensors[name] = (rows.round() if tensor.dtype.kind == "i" else rows).astype(tensor.dtype)
    encoder = {**json.loads(metadata["encoder"]), "lift": lift, "mixture": MIXTURE}
    save_file(tensors, out, {**metadata, "encoder": json.dumps(encoder, sort_keys=True)})


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
