"""Released models: find by id, verify by hash, load.

A model is one safetensors file: the float network in half precision, the scale model in integers, the frequency
tables, and the sizes of the network as JSON in its metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aecodec.container import MODEL_ID_BYTES
from aecodec.entropy import Tables
from aecodec.errors import ModelError
from aecodec.networks import Aec1, ExactScaleModel, ModelConfig

# Never change an entry: files that name the model must decode forever. The first bytes of the hash are its id.
RELEASED: Mapping[str, str] = {
    "aec1-10": "0f055c16f1ccbde646559551960ed27ea18c7c19895b3a21b0fc2160cd30ea70",
    "aec1-11": "f1542434c9241191e68824f0e2767c3f2f7d1498051e6d8e43c002ac9bf1a8cc",
}
DEFAULT = "aec1-11"

EXACT, TABLES = "exact.", "tables."  # prefixes of names of tensors; the others belong to the float network


def weights_folder() -> Path:
    """Where the released models are: inside an installed package, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "released_weights"
    return installed if installed.is_dir() else here.parent / "weights"


def save_model(
    path: Path, network: Aec1, frequencies: Tensor, reach: Tensor, provenance: Mapping[str, str] | None = None
) -> str:
    """Writes a trained network as a model file.

    frequencies, reach: int32, see `entropy.Tables`. provenance: what the file says of its training.
    Returns the SHA-256 of the file in hexadecimal. Raises ModelError if the scale model cannot be exported exactly.
    """
    tensors = {EXACT + name: tensor for name, tensor in network.scale_model.export().items()}
    tensors |= {TABLES + "frequencies": frequencies, TABLES + "reach": reach}
    for name, tensor in network.state_dict().items():
        if not name.startswith("scale_model."):
            # Half precision costs under 0.01 dB; gains are few and are kept whole.
            tensors[name] = tensor.half() if tensor.ndim == 4 else tensor
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"config": json.dumps(asdict(network.config), sort_keys=True), **(provenance or {})}
    data = safetensors.torch.save(tensors, metadata)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class _Contents:
    """A model file: its hash in hexadecimal, sizes of the network, and tensors without the prefixes of their names."""

    sha256: str
    config: ModelConfig
    exact: dict[str, Tensor]
    tables: dict[str, Tensor]
    floats: dict[str, Tensor]  # float32


def _read(path: Path, expected_sha256: str | None) -> _Contents:
    try:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if expected_sha256 is not None and digest != expected_sha256:
            raise ModelError(f"{path}: not the released file (SHA-256 {digest}, expected {expected_sha256})")
        tensors = safetensors.torch.load(data)
        # The header is JSON behind its length in 8 bytes; safetensors gives its metadata only from a file name.
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        config = ModelConfig(**json.loads(metadata["config"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a readable model file ({error})") from error
    contents = _Contents(digest, config, {}, {}, {})
    for name, tensor in tensors.items():
        if name.startswith(EXACT):
            contents.exact[name.removeprefix(EXACT)] = tensor
        elif name.startswith(TABLES):
            contents.tables[name.removeprefix(TABLES)] = tensor
        else:
            contents.floats[name] = tensor.float()
    return contents


def trainable(model: str | Path) -> Aec1:
    """The network of a released model, by name, or of a weights file, as training has it.

    Raises ModelError if there is no such model or if it cannot be read.
    """
    path, expected = locate(model)
    contents = _read(path, expected)
    network = Aec1(contents.config)
    try:
        network.scale_model.restore(contents.exact)
        own = {f"scale_model.{name}": tensor for name, tensor in network.scale_model.state_dict().items()}
        network.load_state_dict(contents.floats | own)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: tensors do not fit the network ({error})") from error
    return network


class Model:
    """A model ready to code with, on one device.

    Attributes: id (4 bytes, as in files), name, network (Aec1 without its training-time scale model, float32,
    evaluation mode, channels_last), scale_model (exact), tables, prices (`Tables.prices` as a tensor).
    """

    def __init__(self, path: Path, device: torch.device, expected_sha256: str | None = None):
        contents = _read(path, expected_sha256)
        self.id = bytes.fromhex(contents.sha256)[:MODEL_ID_BYTES]
        self.name = path.stem
        self.device = device
        try:
            with torch.device("meta"):
                self.network = Aec1(contents.config)
            del self.network.scale_model
            self.network.load_state_dict(contents.floats, assign=True)
            self.scale_model = ExactScaleModel(contents.exact, device)
            tables = contents.tables
            self.tables = Tables(tables["frequencies"].numpy(), tables["reach"].numpy().astype(np.int32))
            self.prices = torch.from_numpy(self.tables.prices()).to(device)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{path}: tensors do not fit the network ({error})") from error
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.prepare_for_inference(_fast_dtype(device))


def _fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor has instructions for it: twice the speed for less than 0.02 dB."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def locate(model: str | Path) -> tuple[Path, str | None]:
    """File and, of a released model, SHA-256 of a model: a released one by name, or the path of a weights file.

    Raises ModelError if no released model has the name.
    """
    if isinstance(model, Path) or model.endswith(".safetensors"):
        return Path(model), None
    if model not in RELEASED:
        raise ModelError(f"no released model is called {model!r}; there are {', '.join(RELEASED)}")
    return weights_folder() / f"{model}.safetensors", RELEASED[model]


@lru_cache(maxsize=8)
def load_released(name: str, device: torch.device) -> Model:
    """A released model by name. Raises ModelError if there is none or if its file is not what was released."""
    path, expected = locate(name)
    return Model(path, device, expected)


def released_name(model_id: bytes) -> str:
    """The name of the released model with this id. Raises ModelError if it is not known."""
    for name, digest in RELEASED.items():
        if bytes.fromhex(digest)[:MODEL_ID_BYTES] == model_id:
            return name
    raise ModelError(
        f"written with model {model_id.hex()}, which this aecodec does not have; "
        "a newer version may have it, or give the weights file"
    )
