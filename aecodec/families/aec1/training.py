"""What training needs of aec1, see `families.trainable`; most of it serves aec2, too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.weights import metadata_of, tensors_of
from aecodec.families.aec1.weights import trainable as network_of
from aecodec.families.hyperprior.constants import LambdaRange
from aecodec.families.hyperprior.fitting import count_symbols, fit_tables
from aecodec.families.hyperprior.klt import start_from_klt as start
from aecodec.families.hyperprior.objective import loss_per_patch as loss
from aecodec.families.hyperprior.objective import measure
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.trainable import Groups

__all__ = ["count_symbols", "fit_tables", "loss", "measure", "metadata_of", "network_of", "start", "tensors_of"]

SETTINGS: Mapping[str, int | float] = {}
# "large" is for a run on a GPU: 79 instead of 34 kMAC per pixel, encoding and decoding together.
NETWORKS = {
    "base": ModelConfig().values(),
    "large": ModelConfig(channels_8=192, blocks_8=2, filter_channels=48).values(),
}
FROZEN = ("log_encoder_gain", "entropy_model.hyper_analysis")
SLOW = ("analysis.linear.weight", "synthesis.linear.weight")
NO_MATRICES = (*SLOW, "entropy_model.neighbours.weight")
ENCODERS = {  # the latter is that of aec1-visual-1
    "psnr": Encoder(),
    "visual": Encoder(objective="visual", curvature=25.0, linear_start=False, limit=0.4, masking=0.15),
}


def network(config: Mapping[str, Any]) -> Aec1:
    return Aec1(ModelConfig.of(config))


def quantise(network: Any, on: bool) -> None:
    """What is exact of aec1, its scale model, is always trained so."""


def groups(network: Any) -> Groups:
    found = Groups([], [], [])
    for name, parameter in network.named_parameters():
        kind = found.slow if name in SLOW else found.rest
        (found.matrices if parameter.ndim == 4 and name not in NO_MATRICES else kind).append(parameter)
    return found


def encoder(objective: str, own: Mapping[str, Any] | None = None) -> Encoder:
    usual = ENCODERS[objective]
    found = usual if own is None else Encoder.of(own)
    return found if found.objective == usual.objective else usual


def position_of(network: Any, lambda_: float) -> float:
    config: LambdaRange = network.config
    return math.log(lambda_ / config.lambda_min) / math.log(config.lambda_max / config.lambda_min)
