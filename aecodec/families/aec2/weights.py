"""The network as tensors of a weights file: the encoder in half precision, the decoder in integers, the frequency
tables; its sizes and what the encoder decides by as JSON in the metadata.

The float form of the decoder, which searches and training need, is restored from the integers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.errors import ModelError
from aecodec.families.aec1.weights import SHIFT_MAX
from aecodec.families.aec2 import integers
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2
from aecodec.families.base import Weights
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.scale_model import ExactScaleModel
from aecodec.families.hyperprior.search import OBJECTIVES
from aecodec.families.schema import FLOATS, Expected, check_range, check_tensors, expected_tables

SCALES, DECODER, TABLES = "scales.", "decoder.", "tables."  # prefixes of names of tensors; the others are the encoder's
ENCODER = ("analysis.", "entropy_model.hyper_analysis.", "log_encoder_gain")


class Parts:
    """What a weights file holds: the network's config, what the encoder decides by, and tensors without the prefixes of
    their names. Raises ModelError if the metadata are not those of an aec2."""

    def __init__(self, weights: Weights):
        try:
            self.config = ModelConfig.of(json.loads(weights.metadata["config"]))
            self.encoder = Encoder.of(json.loads(weights.metadata["encoder"]))
            OBJECTIVES[self.encoder.objective]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ModelError(f"not the metadata of an aec2 model ({error!r})") from error
        check_tensors(weights.tensors, _expected(self.config, weights))
        self.scales: dict[str, Tensor] = {}
        self.decoder: dict[str, Tensor] = {}
        self.tables: dict[str, npt.NDArray[Any]] = {}
        self.floats: dict[str, Tensor] = {}  # float32
        for name, tensor in weights.tensors.items():
            if name.endswith(".shift"):
                check_range(name, tensor, 0, SHIFT_MAX)
            if name.startswith(SCALES):
                self.scales[name.removeprefix(SCALES)] = torch.tensor(tensor)
            elif name.startswith(DECODER):
                self.decoder[name.removeprefix(DECODER)] = torch.tensor(tensor)
            elif name.startswith(TABLES):
                self.tables[name.removeprefix(TABLES)] = tensor
            else:
                self.floats[name] = torch.tensor(tensor).float()


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
    tensors |= {TABLES + "frequencies": frequencies, TABLES + "reach": reach}
    for name, tensor in network.state_dict().items():
        if name.startswith(ENCODER):
            tensors[name] = tensor.half() if tensor.ndim == 4 else tensor
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def metadata_of(config: ModelConfig, encoder: Encoder, provenance: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of a weights file. provenance: what the file says of its training."""
    own = {"config": config.values(), "encoder": asdict(encoder)}
    return {**{name: json.dumps(values, sort_keys=True) for name, values in own.items()}, **(provenance or {})}


def network_of(parts: Parts) -> Aec2:
    """The whole network in floating point, with the weights of the exact decoder.

    Raises KeyError or RuntimeError if the tensors do not fit it.
    """
    network = Aec2(parts.config)
    network.load_state_dict(parts.floats, strict=False)
    integers.restore(network, parts.decoder)
    network.scale_model.restore(parts.scales)
    return network
