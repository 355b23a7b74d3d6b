"""Models: find by name or id, verify by hash, load. A model is one weights file; its network is a family's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aecodec.models.registry import DEFAULT, DEFAULTS, RELEASED, locate, released_name, tune_of, weights_folder

if TYPE_CHECKING:
    from aecodec.models.store import Model, find, find_device, load, load_released, read_weights, write_weights

__all__ = [
    "DEFAULT",
    "DEFAULTS",
    "RELEASED",
    "Model",
    "find",
    "find_device",
    "load",
    "load_released",
    "locate",
    "read_weights",
    "released_name",
    "tune_of",
    "weights_folder",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    # Who only wants the name of a model should not wait for numpy.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("aecodec.models.store"), name)
