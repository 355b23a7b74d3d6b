"""The network as tensors of a weights file: the float network in half precision, the scale model in integers, the
frequency tables; its sizes and what the encoder decides by as JSON in the metadata."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1
from aecodec.families.base import Weights
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.weights import TABLES, arrays, read_metadata, split, tables_in
from aecodec.families.schema import FLOATS, Expected, check_tensors, expected_tables

EXACT = "exact."  # prefix of names of tensors of the scale model; the others are of the float network


class Parts:
    """What a weights file holds: the network's config, what the encoder decides by, and tensors without the prefixes of
    their names. Raises ModelError if the metadata are not those of an aec1."""

    def __init__(self, weights: Weights):
        self.config, self.encoder = read_metadata(weights, "aec1", ModelConfig.of)
        check_tensors(weights.tensors, _expected(self.config, weights))
        (self.exact,), self.floats = split(weights, [EXACT])
        self.tables = tables_in(weights)


def _expected(config: ModelConfig, weights: Weights) -> Expected:
    """What tensors there have to be. The frequencies are counted, not checked: `coding.tables.Tables` does."""
    with torch.device("meta"):
        network = Aec1(config)
    expected = {EXACT + name: kind for name, kind in ExactScaleModel.expected(config).items()}
    expected |= expected_tables(weights, TABLES)
    for name, tensor in network.state_dict().items():
        if not name.startswith("scale_model."):
            expected[name] = tuple(tensor.shape), FLOATS
    return expected


def tensors_of(network: Aec1, frequencies: Tensor, reach: Tensor) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a weights file. frequencies, reach: int32, see `coding.tables.Tables`.

    Raises ModelError if the scale model cannot be exported exactly.
    """
    tensors = {EXACT + name: tensor for name, tensor in network.scale_model.export().items()}
    for name, tensor in network.state_dict().items():
        if not name.startswith("scale_model."):
            # Half precision costs under 0.01 dB; gains are few and are kept whole.
            tensors[name] = tensor.half() if tensor.ndim == 4 else tensor
    return arrays(tensors, frequencies, reach)


def trainable(weights: Weights) -> Aec1:
    """The network as training has it. Raises ModelError if the tensors do not fit it."""
    parts = Parts(weights)
    network = Aec1(parts.config)
    try:
        network.scale_model.restore(parts.exact)
        own = {f"scale_model.{name}": tensor for name, tensor in network.scale_model.state_dict().items()}
        network.load_state_dict(parts.floats | own)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{weights.path}: tensors do not fit the network ({error})") from error
    return network
