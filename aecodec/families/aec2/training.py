"""What training needs of aec2, see `families.trainable`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aecodec.errors import ModelError
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.weights import Parts, tensors_of
from aecodec.families.aec2.weights import network_of as network_of_parts
from aecodec.families.base import Weights
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
    "position_of",
    "start",
    "tensors_of",
]

SETTINGS = {
    "muon_rate": 1e-3,
    "muon_decay": 0.05,  # without it streams grow until they saturate
    "linear_factor": 0.1,
    "warmup": 200,
    "half": 1 / 8,
}
NETWORKS = {"base": ModelConfig().values()}


def network(config: Mapping[str, Any]) -> Aec2:
    return Aec2(ModelConfig.of(config))


def network_of(weights: Weights) -> Aec2:
    try:
        return network_of_parts(Parts(weights))
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{weights.path}: tensors do not fit the network ({error})") from error


def quantise(network: Aec2, on: bool) -> None:
    network.quantise(on)
