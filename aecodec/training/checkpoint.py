"""Checkpoints: all that a run needs to go on exactly where it stopped, on one machine.

They hold no random states: all that is random in a step follows from the seed and its number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aecodec.errors import ModelError
from aecodec.files import sync_folder

FIELDS = {
    *("family", "objective", "encoder", "model_config", "settings", "model", "average", "optimisers"),
    *("step", "seconds", "mean_norm", "skips", "begun_at", "prices"),
}


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote; None if there is none yet. Raises ModelError if it is something else.

    No code of a checkpoint runs: it holds tensors, numbers, texts and containers of these.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of the many kinds that torch has
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ModelError(f"{path}: not a checkpoint of aecodec train ({reason})") from error
    missing = sorted(FIELDS - state.keys() if isinstance(state, dict) else FIELDS)
    if missing:
        raise ModelError(f"{path}: not a checkpoint of this aecodec train ({', '.join(missing[:3])} not in it)")
    return dict(state)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state in one step, of which nothing is lost by a power failure."""
    temporary = path.with_name(path.name + ".tmp")  # always the same: runs that are killed leave one, not many
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)
