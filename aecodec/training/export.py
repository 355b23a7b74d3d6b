"""From a checkpoint to a weights file: averaged network, exact layers, frequency tables fitted to real symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecodec import families
from aecodec.errors import ModelError
from aecodec.models import load as load_model
from aecodec.models import write_weights
from aecodec.training import checkpoint
from aecodec.training.data import Kind, Patches
from aecodec.training.sources import Pictures

CROPS, SIZE = 192, 256  # tables are counted on


def kinds_of(sources: Sequence[str | Path], mix: Sequence[tuple[str | Path, float]] = ()) -> list[Kind]:
    """Kinds of training pictures; see `loop.train`."""
    kinds = [Kind(Pictures([source]), share) for source, share in mix]
    return [Kind(Pictures(sources), 1 - sum(kind.share for kind in kinds)), *kinds]


def export(
    path: Path,
    sources: Sequence[str | Path],
    target: Path,
    *,
    mix: Sequence[tuple[str | Path, float]] = (),
    log: Callable[[str], None] = print,
) -> str:
    """Writes the averaged weights of a checkpoint as a weights file.

    path: of the checkpoint. sources, mix: the training pictures, see `loop.train`; frequency tables are counted on some
    of them. Returns the SHA-256 in hexadecimal. Raises ModelError if the checkpoint is not one or cannot be exported
    exactly.
    """
    state = checkpoint.load(path)
    if state is None:
        raise ModelError(f"{path}: there is no such checkpoint")
    family = families.find_trainable(state["family"])
    try:
        network = family.network(state["model_config"])
        network.load_state_dict(state["average"])
        encoder = family.encoder(state["objective"], state["encoder"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a checkpoint of aecodec train ({error})") from error
    provenance = {"step": str(state["step"]), "training_minutes": f"{state['seconds'] / 60:.0f}"}
    kinds = kinds_of(sources, mix)
    count = min(CROPS, sum(len(kind.pictures) for kind in kinds))
    crops = Patches(kinds, count, SIZE, seed=0, visits=1)[0]

    def write(tables: tuple[Tensor, Tensor]) -> str:
        return save(target, network, *tables, provenance, encoder, state["family"])

    digest = write(family.fit_tables(None))
    for turn in range(2):  # rounding depends on the tables, so they are counted once more
        histograms = family.count_symbols(load_model(target, "cpu").family, crops)
        digest = write(family.fit_tables(histograms))
        log(f"tables {turn + 1} of 2 counted on {sum(int(h.sum()) for h in histograms):,} symbols")
    log(f"{target}: {target.stat().st_size / 1e6:.2f} MB, SHA-256 {digest}")
    return digest


def save(
    path: Path,
    network: torch.nn.Module,
    frequencies: Tensor,
    reach: Tensor,
    provenance: Mapping[str, str] | None = None,
    encoder: Any = None,
    family: str = families.OLDEST,
) -> str:
    """Writes a network as a weights file. frequencies, reach: see `Trainable.fit_tables`. provenance: what the file
    says of its training. encoder: None for what is usual for PSNR. Returns the SHA-256 in hexadecimal.

    Raises ModelError if the network cannot be exported exactly.
    """
    own = families.find_trainable(family)
    metadata = own.metadata_of(network.config, encoder or own.encoder("psnr"), provenance)
    return write_weights(path, family, own.tensors_of(network, frequencies, reach), metadata)
