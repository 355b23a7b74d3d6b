"""What weights files of every network of this kind hold: the network's sizes and what the encoder decides by as JSON in
the metadata, tensors under prefixes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.coding.tables import Tables
from aecodec.errors import ModelError
from aecodec.families.base import Weights
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.search import OBJECTIVES
from aecodec.families.schema import check_range

C = TypeVar("C")
SHIFT_MAX = 24  # of an exact layer: beyond it every sum is 0
TABLES = "tables."  # prefix of the names of the frequency tables' tensors


def read_metadata(weights: Weights, family: str, config_of: Callable[[Mapping[str, Any]], C]) -> tuple[C, Encoder]:
    """The network's config and what the encoder decides by; models before visual ones said nothing of the latter.

    Raises ModelError if the metadata are not those of the family.
    """
    try:
        config = config_of(json.loads(weights.metadata["config"]))
        encoder = Encoder.of(json.loads(weights.metadata["encoder"])) if "encoder" in weights.metadata else Encoder()
        OBJECTIVES[encoder.objective]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"not the metadata of an {family} model ({error!r})") from error
    return config, encoder


def split(weights: Weights, prefixes: Sequence[str]) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Tensors of known names and shapes: for each prefix those that have it, without it; and the others but the
    frequency tables, as float32. Raises ModelError if a shift is out of range."""
    exact: list[dict[str, Tensor]] = [{} for _ in prefixes]
    floats: dict[str, Tensor] = {}
    for name, tensor in weights.tensors.items():
        if name.endswith(".shift"):
            check_range(name, tensor, 0, SHIFT_MAX)
        if name.startswith(TABLES):
            continue
        for prefix, part in zip(prefixes, exact, strict=True):
            if name.startswith(prefix):
                part[name.removeprefix(prefix)] = torch.tensor(tensor)
                break
        else:
            floats[name] = torch.tensor(tensor).float()
    return exact, floats


def tables_in(weights: Weights) -> Tables:
    """Raises ModelError if they break the rules of frequency tables."""
    return Tables(weights.tensors[TABLES + "frequencies"], weights.tensors[TABLES + "reach"].astype(np.int32))


def arrays(tensors: Mapping[str, Tensor], frequencies: Tensor, reach: Tensor) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a weights file, the frequency tables among them, which `coding.tables.Tables` explains (int32)."""
    whole = {**tensors, TABLES + "frequencies": frequencies, TABLES + "reach": reach}
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in whole.items()}


def metadata_of(config: Any, encoder: Encoder, provenance: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of a weights file. provenance: what the file says of its training."""
    own = {"config": config.values(), "encoder": asdict(encoder)}
    texts = {name: json.dumps(values, sort_keys=True) for name, values in own.items()}
    return {**texts, "tune": "visual" if encoder.objective == "visual" else "psnr", **(provenance or {})}
