"""Models: find by name or id, verify by hash, load. A model is one weights file; its network is a family's."""

from aecodec.models.registry import DEFAULT, RELEASED, locate, released_name, weights_folder
from aecodec.models.store import Model, find, find_device, load, load_released, read_weights, write_weights

__all__ = [
    "DEFAULT",
    "RELEASED",
    "Model",
    "find",
    "find_device",
    "load",
    "load_released",
    "locate",
    "read_weights",
    "released_name",
    "weights_folder",
    "write_weights",
]
