"""Weights files, read and written; models, loaded.

A weights file is one safetensors file. Its metadata name the `family` of its network (none: aec1) and what it is
trained for, `tune` (none: psnr); what else is in there is the family's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from aecodec import families
from aecodec.container import MODEL_ID_BYTES
from aecodec.errors import AecodecError, ModelError
from aecodec.families.base import Family, Weights
from aecodec.files import write_atomically
from aecodec.models.registry import locate

MAX_WEIGHTS_BYTES = 2**28  # a hundred times what a network has that a processor can wait for
DEVICES = ("cpu", "cuda")  # others compute without float64, or in ways that nobody has tried
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Model:
    """A model ready to code with, on one device. id: the bytes that files name it by. tune: what it is trained for,
    see `EncodeOptions.tune`."""

    id: bytes
    name: str
    tune: str
    family_name: str
    family: Family


def read_weights(path: Path, expected_sha256: str | None = None) -> Weights:
    """A weights file, taken apart. Raises ModelError if it is none, or not the one with this hash."""
    try:
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size:,} bytes; a model has at most {MAX_WEIGHTS_BYTES:,}")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if expected_sha256 is not None and digest != expected_sha256:
            raise ModelError(f"{path}: not the released file (SHA-256 {digest}, expected {expected_sha256})")
        tensors = safetensors.numpy.load(data)
        metadata = _header(data).get("__metadata__", {})
    except RecursionError as error:
        raise ModelError(f"{path}: not a readable model file (its header is nested too deeply)") from error
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a readable model file ({error})") from error
    if not isinstance(metadata, dict):
        raise ModelError(f"{path}: not a readable model file (no metadata)")
    return Weights(str(path), digest, metadata, tensors)


def write_weights(path: Path, family: str, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Writes a weights file; the same content gives the same bytes. Returns its SHA-256 in hexadecimal."""
    data = safetensors.numpy.save(dict(tensors), {**metadata, "family": family})
    # safetensors orders the metadata as its hash map happens to; readers take any order.
    text = json.dumps(_header(data), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]
    write_atomically(path, lambda file: file.write(data))
    return hashlib.sha256(data).hexdigest()


def _header(data: bytes) -> dict[str, Any]:
    """The JSON at the beginning of a file, behind its length in 8 bytes."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def load(path: Path, device: str, precision: str = "auto", expected_sha256: str | None = None) -> Model:
    """A model from its weights file.

    device: as torch names it. precision: what the encoder computes in; "auto" is what is fast there, "float32" or
    "bfloat16". Raises ModelError if the file is none of a family that there is, or not the one with this hash.
    """
    weights = read_weights(path, expected_sha256)
    name = weights.metadata.get("family", families.OLDEST)
    try:
        family = families.find(name).load(weights, device, precision)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    tune = weights.metadata.get("tune", "psnr")
    return Model(bytes.fromhex(weights.sha256)[:MODEL_ID_BYTES], path.stem, tune, name, family)


def find(model: str | Path, device: str, precision: str = "auto") -> Model:
    """A released model by name, or one from the path of its weights file. Raises ModelError as `load` does."""
    if precision not in PRECISIONS:
        raise AecodecError(f"precision {precision!r}; expected {', '.join(PRECISIONS)}")
    path, expected = locate(model)
    return load(path, device, precision) if expected is None else load_released(path.stem, device, precision)


@lru_cache(maxsize=8)
def load_released(name: str, device: str, precision: str = "auto") -> Model:
    """A released model by name. Raises ModelError if there is none or if its file is not what was released."""
    path, expected = locate(name)
    return load(path, device, precision, expected)


def find_device(name: str) -> str:
    """A device as torch names it; "auto" is CUDA if there is one. Raises AecodecError if it is not available."""
    try:
        import torch
    except ImportError as error:
        raise AecodecError(f"this needs torch: pip install 'aecodec[encode]' ({error})") from error

    if not isinstance(name, str):
        raise AecodecError(f"device {name!r}; expected a name, as auto, {' or '.join(DEVICES)}")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in DEVICES:
        raise AecodecError(f"device {name!r} is not one that files are exact on; expected {' or '.join(DEVICES)}")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise AecodecError(f"device {name!r} is not available ({str(error).splitlines()[0]})") from error
    return name
