"""The network as tensors of a weights file: the encoder in half precision, the decoder in integers, the frequency
tables; its sizes and what the encoder decides by as JSON in the metadata.

The float form of the decoder, which searches and training need, is restored from the integers.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.families.aec2 import integers
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2
from aecodec.families.base import Weights
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.weights import TABLES, arrays, read_metadata, split, tables_in
from aecodec.families.schema import FLOATS, Expected, check_tensors, expected_tables

SCALES, DECODER = "scales.", "decoder."  # prefixes of names of tensors; the others are the encoder's
ENCODER = ("analysis.", "entropy_model.hyper_analysis.", "log_encoder_gain")


class Parts:
    """What a weights file holds: the network's config, what the encoder decides by, and tensors without the prefixes of
    their names. Raises ModelError if the metadata are not those of an aec2."""

    def __init__(self, weights: Weights):
        self.config, self.encoder = read_metadata(weights, "aec2", ModelConfig.of)
        check_tensors(weights.tensors, _expected(self.config, weights))
        (self.scales, self.decoder), self.floats = split(weights, [SCALES, DECODER])
        self.tables = tables_in(weights)


def _expected(config: ModelConfig, weights: Weights) -> Expected:
    """What tensors there have to be. The frequencies are counted, not checked: `coding.tables.Tables` does."""
    with torch.device("meta"):
        network = Aec2(config)
    expected = {SCALES + name: kind for name, kind in ExactScaleModel.expected(config).items()}
    expected |= {DECODER + name: kind for name, kind in integers.expected(network).items()}
    expected |= expected_tables(weights, TABLES)
    for name, tensor in network.state_dict().items():
        if name.startswith(ENCODER):
            expected[name] = tuple(tensor.shape), FLOATS
    return expected


def tensors_of(network: Aec2, frequencies: Tensor, reach: Tensor) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a weights file. frequencies, reach: int32, see `coding.tables.Tables`.

    Raises ModelError if the decoder cannot be exported exactly.
    """
    tensors = {SCALES + name: tensor for name, tensor in network.scale_model.export().items()}
    tensors |= {DECODER + name: tensor for name, tensor in integers.export(network).items()}
    for name, tensor in network.state_dict().items():
        if name.startswith(ENCODER):
            tensors[name] = tensor.half() if tensor.ndim == 4 else tensor
    return arrays(tensors, frequencies, reach)


def network_of(parts: Parts) -> Aec2:
    """The whole network in floating point, with the weights of the exact decoder.

    Raises KeyError or RuntimeError if the tensors do not fit it.
    """
    network = Aec2(parts.config)
    network.load_state_dict(parts.floats, strict=False)
    integers.restore(network, parts.decoder)
    network.scale_model.restore(parts.scales)
    return network
