"""Weights files that nobody should have made: a ModelError that says why, before anything is built of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from aecodec import Codec
from aecodec.errors import AecodecError, ModelError
from aecodec.models import find_device, read_weights
from aecodec.native import Decoder, available

Tensors = dict[str, np.ndarray]
FIRST = "analysis.linear.weight"
TRUNK = "exact.trunk.0"


def changed(tensors: Tensors, name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Tensors:
    result = {**tensors}
    new = change(tensors[name])
    if new is None:
        del result[name]
    else:
        result[name] = np.ascontiguousarray(new)
    return result


TENSORS: dict[str, tuple[str, Callable[[np.ndarray], Any], str]] = {
    "missing": (FIRST, lambda t: None, "misses tensors: analysis.linear.weight"),
    "shape": (FIRST, lambda t: t[:, :3], "analysis.linear.weight is float16 of"),
    "NaN": (FIRST, lambda t: t * np.float16("nan"), "not finite"),
    "NaN in the synthesis": ("synthesis.linear.weight", lambda t: t * np.float16("nan"), "not finite"),
    "infinite gains": ("log_decoder_gain", lambda t: t * np.float32("inf"), "not finite"),
    "integers": (FIRST, lambda t: t.astype(np.int64), "expected float16"),
    "exact layer of fractions": (f"{TRUNK}.weight", lambda t: t + np.float32(0.5), "expected int8"),
    "kernel of two": (f"{TRUNK}.weight", lambda t: t[:, :, :2, :2], "expected int8 of"),
    "bias of one row": (f"{TRUNK}.bias", lambda t: t[:1], "trunk.0.bias"),
    "bias beyond the bound": (f"{TRUNK}.bias", lambda t: t * 0 + 2**30, "do not fit"),
    "bias at the bottom": (f"{TRUNK}.bias", lambda t: np.full_like(t, -(2**31)), "do not fit"),
    "shift below zero": (f"{TRUNK}.shift", lambda t: t * 0 - 5, "expected 0..24"),
    "shift too far": (f"{TRUNK}.shift", lambda t: t * 0 + 100, "expected 0..24"),
    "z_index of another width": ("exact.z_index", lambda t: t[:, :3], "z_index"),
    "z_weights as floats": ("exact.z_weights", lambda t: t * np.float64(1e30), "expected int8"),
    "frequencies that do not sum": ("tables.frequencies", lambda t: t + 1, "sum"),
    "frequencies that wrap": ("tables.frequencies", lambda t: t.astype(np.int64) + 2**32, "expected int32"),
    "no frequencies": ("tables.frequencies", lambda t: t[:0], "frequency tables"),
    "reach of ten": ("tables.reach", lambda t: t[:10], "tables.reach"),
    "reach below zero": ("tables.reach", lambda t: t - 100, "frequency tables"),
    "reach without dimensions": ("tables.reach", lambda t: t[0].copy(), "tables.reach"),
}


@pytest.fixture(scope="module")
def parts(small_weights: Path) -> tuple[Tensors, dict[str, str]]:
    weights = read_weights(small_weights)
    return dict(weights.tensors), dict(weights.metadata)


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        Codec(device="cpu", model=path)


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(parts: tuple[Tensors, dict[str, str]], tmp_path: Path, name: str) -> None:
    tensors, metadata = parts
    target, change, words = TENSORS[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save(changed(tensors, target, change), metadata))
    refused(path, words)


@pytest.mark.skipif(not available(), reason="libaec is not built")
@pytest.mark.parametrize("name", [name for name, (target, *_) in TENSORS.items() if target != FIRST])
def test_tensors_that_libaec_reads(parts: tuple[Tensors, dict[str, str]], tmp_path: Path, name: str) -> None:
    tensors, metadata = parts
    target, change, _ = TENSORS[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save(changed(tensors, target, change), metadata))
    with pytest.raises(ModelError, match=r"x.safetensors: "):
        Decoder(path)


def test_tensors_that_nobody_knows(parts: tuple[Tensors, dict[str, str]], tmp_path: Path) -> None:
    tensors, metadata = parts
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({**tensors, "more": np.zeros(5, np.float32)}, metadata))
    refused(path, "unknown tensors: more")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blocks_8", 10**9),
        ("filter_layers", 10**8),
        ("latent_channels", 10**9),
        ("channels_8", 0),
        ("channels_16", -1),
        ("hyper_channels", 1.5),
        ("trunk_channels", "a"),
        ("rows", 1),
        ("rows", True),
        ("hidden_signs", "no"),
        ("lambda_min", 0),
        ("lambda_max", float("nan")),
        ("context_channels", None),
        ("latent_channels", [1]),
        ("nonsense", 1),
    ],
)
def test_sizes(parts: tuple[Tensors, dict[str, str]], tmp_path: Path, name: str, value: Any) -> None:
    tensors, metadata = parts
    config = json.dumps({**json.loads(metadata["config"]), name: value})
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors, {**metadata, "config": config}))
    refused(path, "not the metadata of an aec1 model")
    if available() and name not in ("lambda_min", "lambda_max", "nonsense"):  # which only an encoder needs
        with pytest.raises(ModelError, match=r"x.safetensors: "):
            Decoder(path)


@pytest.mark.parametrize("config", ["[1, 2]", "5", "[" * 100_000, "{", "null"])
def test_metadata(parts: tuple[Tensors, dict[str, str]], tmp_path: Path, config: str) -> None:
    tensors, metadata = parts
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors, {**metadata, "config": config}))
    refused(path, "not the metadata of an aec1 model")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        b"hello world, no model",
        struct.pack("<Q", 21) + b'{"__metadata__":null} ',
        struct.pack("<Q", 20) + b'{"__metadata__":[1]}',
        safetensors.numpy.save({"a": np.zeros(1, np.float32)}),
    ],
)
def test_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    refused(path, "x.safetensors: ")
    if available():
        with pytest.raises(ModelError, match=r"x.safetensors: "):
            Decoder(path)


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "nonsense"])
def test_devices_that_nobody_has_tried_are_refused(device: str) -> None:
    with pytest.raises(AecodecError, match="expected cpu or cuda"):
        find_device(device)
