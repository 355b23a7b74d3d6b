"""Checkpoints: all that a run needs to go on exactly where it stopped, on one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote; None if there is none yet."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
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
