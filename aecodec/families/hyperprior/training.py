"""What training needs of every network of this kind, see `families.trainable`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aecodec.families.hyperprior.constants import LambdaRange
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.trainable import Groups

FROZEN = ("log_encoder_gain", "entropy_model.hyper_analysis")
SLOW = ("analysis.linear.weight", "synthesis.linear.weight")
NO_MATRICES = (*SLOW, "entropy_model.neighbours.weight")
ENCODERS = {  # the latter is that of aec1-visual-1
    "psnr": Encoder(),
    "visual": Encoder(objective="visual", curvature=25.0, linear_start=False, limit=0.4, masking=0.15),
}


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
