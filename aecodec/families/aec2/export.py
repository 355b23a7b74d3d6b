"""From a checkpoint to a weights file: averaged network, decoder in integers, frequency tables fitted to real symbols.

python -m aecodec.families.aec2.export CHECKPOINT OUT.safetensors --cache FILE [--screens FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.families.aec1.fitting import CROPS, count_symbols, fit_tables
from aecodec.families.aec1.rounding import Encoder
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.data import Data
from aecodec.families.aec2.family import Aec2Family
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.weights import metadata_of, tensors_of
from aecodec.models import read_weights, write_weights


def export(checkpoint: Path, tiles: Tensor, path: Path, *, say: Callable[[str], None] = print) -> str:
    """Writes the averaged weights of a checkpoint as a weights file.

    tiles: (N, 3, 512, 512) uint8, training pictures; frequency tables are counted on some of them.
    Returns the SHA-256 in hexadecimal. Raises ModelError if the checkpoint is not one or cannot be exported exactly.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = Aec2(ModelConfig.of(state["model_config"]))
        network.load_state_dict(state["average"])
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{checkpoint}: not a checkpoint of aec2 ({error})") from error
    provenance = {"step": str(state["step"]), "training_minutes": f"{state['seconds'] / 60:.0f}"}
    metadata = metadata_of(network.config, Encoder(), provenance)

    def save(frequencies: Tensor, reach: Tensor) -> str:
        return write_weights(path, "aec2", tensors_of(network, frequencies, reach), metadata)

    digest = save(*fit_tables(None))
    for turn in range(2):  # rounding depends on the tables, so they are counted once more
        histograms = count_symbols(Aec2Family(read_weights(path), "cpu"), tiles)  # type: ignore[arg-type]
        digest = save(*fit_tables(histograms))
        say(f"tables {turn + 1} of 2 counted on {sum(int(h.sum()) for h in histograms):,} symbols")
    say(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}")
    return digest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded photographs, made by training")
    parser.add_argument("--screens", type=Path)
    parser.add_argument("--tiles", type=int, default=CROPS, help="how many to count on")
    options = parser.parse_args()
    data = Data([], options.screens, options.cache)
    parts = [data.photos] if data.screens is None else [data.photos, data.screens]
    weights = [1.0] if len(parts) == 1 else [0.875, 0.125]
    chosen = []
    for part, weight in zip(parts, weights, strict=True):
        count = max(1, round(weight * options.tiles))
        chosen.append(part[:: max(1, len(part) // count)][:count])
    export(options.checkpoint, torch.cat(chosen), options.out)


if __name__ == "__main__":
    main()
