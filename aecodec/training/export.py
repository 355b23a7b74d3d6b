"""From a checkpoint to a weights file: averaged network, exact scale model, frequency tables fitted to real symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from aecodec.errors import ModelError
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.family import Aec1Family
from aecodec.families.aec1.fitting import CROPS, count_symbols, fit_tables
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.rounding import Encoder
from aecodec.families.aec1.weights import metadata_of, tensors_of
from aecodec.models import read_weights, write_weights
from aecodec.training.checkpoint import load
from aecodec.training.data import load_tiles


def export(
    checkpoint: Path,
    sources: Sequence[str | Path],
    path: Path,
    *,
    encoder: Encoder | None = None,
    log: Callable[[str], None] = print,
) -> str:
    """Writes the averaged weights of a checkpoint as a weights file.

    sources: the training pictures; frequency tables are counted on some of them. encoder: None for what fits aec1-11.
    Returns the SHA-256 in hexadecimal. Raises ModelError if the checkpoint is not one or cannot be exported exactly.
    """
    state = load(checkpoint)
    if state is None:
        raise ModelError(f"{checkpoint}: there is no such checkpoint")
    try:
        network = Aec1(ModelConfig.of(state["model_config"]))
        network.load_state_dict(state["average"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{checkpoint}: not a checkpoint of aecodec train ({error})") from error
    provenance = {"step": str(state["step"]), "training_minutes": f"{state['seconds'] / 60:.0f}"}
    training, _, _ = load_tiles(sources)
    # Every so-manieth tile, so that every source has its share.
    tiles = training[:: max(1, len(training) // CROPS)]
    digest = save(path, network, *fit_tables(None), provenance, encoder)
    for turn in range(2):  # rounding depends on the tables, so they are counted once more
        histograms = count_symbols(Aec1Family(read_weights(path), "cpu"), tiles)
        digest = save(path, network, *fit_tables(histograms), provenance, encoder)
        log(f"tables {turn + 1} of 2 counted on {sum(int(h.sum()) for h in histograms):,} symbols")
    log(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}")
    return digest


def save(
    path: Path,
    network: Aec1,
    frequencies: Tensor,
    reach: Tensor,
    provenance: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
) -> str:
    """Writes a network as a weights file. frequencies, reach: see `fit_tables`. provenance: what the file says of its
    training. encoder: None for what fits aec1-11. Returns the SHA-256 in hexadecimal.

    Raises ModelError if the scale model cannot be exported exactly.
    """
    metadata = metadata_of(network.config, encoder or Encoder(), provenance)
    return write_weights(path, "aec1", tensors_of(network, frequencies, reach), metadata)
