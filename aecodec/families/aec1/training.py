"""What training needs of aec1, see `families.trainable`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.weights import tensors_of
from aecodec.families.aec1.weights import trainable as network_of
from aecodec.families.hyperprior.fitting import count_symbols, fit_tables
from aecodec.families.hyperprior.klt import start_from_klt as start
from aecodec.families.hyperprior.objective import loss_per_patch as loss
from aecodec.families.hyperprior.objective import measure
from aecodec.families.hyperprior.training import FROZEN, encoder, groups, position_of
from aecodec.families.hyperprior.weights import metadata_of

__all__ = [
    "FROZEN",
    "count_symbols",
    "encoder",
    "fit_tables",
    "groups",
    "loss",
    "measure",
    "metadata_of",
    "network_of",
    "position_of",
    "start",
    "tensors_of",
]

SETTINGS: Mapping[str, int | float] = {}
# "large" is for a run on a GPU: 79 instead of 34 kMAC per pixel, encoding and decoding together.
NETWORKS = {
    "base": ModelConfig().values(),
    "large": ModelConfig(channels_8=192, blocks_8=2, filter_channels=48).values(),
}


def network(config: Mapping[str, Any]) -> Aec1:
    return Aec1(ModelConfig.of(config))


def quantise(network: Any, on: bool) -> None:
    """What is exact of aec1, its scale model, is always trained so."""
