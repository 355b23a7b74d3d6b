"""Checkpoints: all that a run needs to go on exactly where it stopped, on one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aecodec.errors import ModelError


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote; None if there is none yet. Raises ModelError if it is something else.

    No code of a checkpoint runs: it holds tensors, numbers, texts and containers of these.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of the many kinds that torch has
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"{path}: not a checkpoint of aecodec train ({reason})") from error
    if not isinstance(state, dict) or not {"model_config", "model", "average", "step"} <= state.keys():
        raise ModelError(f"{path}: not a checkpoint of aecodec train (no network, average and step in it)")
    return state


def save(path: Path, state: Mapping[str, Any], generator: torch.Generator) -> None:
    """Writes a state, with those of all random numbers, in one step."""
    cuda = generator.device.type == "cuda"
    random = {
        "generator": generator.get_state(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if cuda else None,
    }
    temporary = path.with_name(path.name + ".tmp")
    torch.save({**state, **random}, temporary)
    os.replace(temporary, path)


def restore_random(state: Mapping[str, Any], generator: torch.Generator) -> None:
    """Random numbers go on as they would have after `save`."""
    generator.set_state(state["generator"])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"] is not None and generator.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_rng"])
