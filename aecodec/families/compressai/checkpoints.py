"""Checkpoints of CompressAI's trainers into the tensors of a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from compressai.zoo import load_state_dict

from aecodec.errors import ModelError
from aecodec.families.compressai import zoo


def read(architecture: str, path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of a weights file that holds a checkpoint's model.

    path: what CompressAI's examples save, or the state of a model alone, before or after `update`. Nothing in it is
    executed.
    Raises ModelError if it is not a checkpoint of this architecture, OSError if it cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of the many kinds that torch has
        raise ModelError(f"{path}: not a checkpoint that torch reads safely ({_first_line(error)})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    entries = state.items() if isinstance(state, dict) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in entries):
        raise ModelError(f"{path}: not a checkpoint of a model: expected tensors by name, alone or as state_dict")
    try:
        model = zoo.build(architecture, load_state_dict(state))
        model.update()  # the frequency tables, where there are none yet
        zoo.check_tables(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    tensors = {name: tensor.contiguous().numpy() for name, tensor in model.state_dict().items()}
    return tensors, {"architecture": architecture}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
