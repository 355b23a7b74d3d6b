"""The promise: a model of CompressAI goes wherever ours go, codes as CompressAI does, and never decodes to another
picture than it was made for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import aecodec
from aecodec import archive, container
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.container import File
from aecodec.errors import FormatError, ModelError
from aecodec.metrics import psnr
from aecodec.models import read_weights, write_weights

pytest.importorskip("compressai")
from compressai_models import small

from aecodec.families.compressai import checkpoints, zoo

ARCHITECTURES = tuple(zoo.architectures())
HYPERPRIOR = "bmshj2018-hyperprior"

Run = Callable[..., Result]


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def photo_file(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """An untrained model of an architecture, and its weights file."""

    def make(architecture: str) -> tuple[Any, Path]:
        folder = tmp_path_factory.mktemp("packed")
        model = small(architecture, 8).eval()
        model.update()
        torch.save(model.state_dict(), folder / "model.pth")
        write_weights(folder / "m.safetensors", "compressai", *checkpoints.read(architecture, folder / "model.pth"))
        return model, folder / "m.safetensors"

    return make


def strings_of(payload: bytes, count: int) -> list[bytes]:
    cursor = container.Cursor(payload)
    cursor.take(4, "checksum")
    parts = [cursor.take(length, "") for length in [cursor.varint("") for _ in range(count - 1)]]
    return [*parts, payload[cursor.at :]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_codes_as_compressai_does(
    architecture: str, packed: Callable[[str], tuple[Any, Path]]
) -> None:
    """Its strings are the payload, and what it decodes of them is the picture."""
    model, path = packed(architecture)
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)
    with torch.inference_mode():
        theirs = model.compress(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
        shown = model.decompress(theirs["strings"], theirs["shape"])["x_hat"][0].permute(1, 2, 0).mul(255).round()
    codec = Codec("cpu", path)
    data = codec.compress(picture)
    (payload,) = container.read(data).tiles
    strings = [string for (string,) in theirs["strings"]]
    assert strings_of(payload, len(strings)) == strings
    assert np.abs(codec.decompress(data, as_array=True).astype(int) - shown.numpy()).max() <= 1


def test_halos_are_what_the_layers_say() -> None:
    """Four 5x5 convolutions of stride 2 reach 2 + 4 + 8 + 16 pixels: two latents."""
    assert zoo.halos(HYPERPRIOR) == (32, 32)
    assert zoo.halos("cheng2020-attn")[1] > zoo.halos("cheng2020-anchor")[1] > 32


def test_from_checkpoint_to_picture_by_commands(
    compressai_checkpoint: Path, photo: np.ndarray, photo_file: Path, tmp_path: Path
) -> None:
    model, coded, back = (tmp_path / name for name in ("mine.safetensors", "photo.aec", "back.png"))
    told = run("import-compressai", HYPERPRIOR, compressai_checkpoint, "-o", model)
    assert "SHA-256" in told.output
    run("compress", photo_file, "-o", coded, "--model", model, "--device", "cpu", "--quiet")
    run("decompress", coded, "-o", back, "--model", model, "--device", "cpu", "--quiet")
    with Image.open(back) as image:
        assert psnr(photo, np.asarray(image)) > 18
    assert "portable no" in " ".join(run("info", coded).output.split())
    assert json.loads(run("info", coded, "--json").stdout)["portable"] is False
    assert not aecodec.info(coded).metadata


def test_the_same_checkpoint_gives_the_same_file(compressai_checkpoint: Path, tmp_path: Path) -> None:
    hashes = [
        write_weights(tmp_path / name, "compressai", *checkpoints.read(HYPERPRIOR, compressai_checkpoint))
        for name in ("a.safetensors", "b.safetensors")
    ]
    assert hashes[0] == hashes[1]


def test_factorised_models_are_portable(packed: Callable[[str], tuple[Any, Path]], photo: np.ndarray) -> None:
    _, path = packed("bmshj2018-factorized")
    assert aecodec.info(Codec("cpu", path).compress(photo)).portable


def test_archives(compressai_weights: Path, photo_file: Path, tmp_path: Path) -> None:
    options = {"device": "cpu", "model": compressai_weights}
    report = archive.create(photo_file.parent, tmp_path / "arc", 80, min_psnr=None, workers=1, **options)
    assert report.counts["picture"] == 1
    assert not archive.verify(tmp_path / "arc", deep=True, source=photo_file.parent, **options).problems
    assert not archive.extract(tmp_path / "arc", tmp_path / "out", **options).problems
    with Image.open(tmp_path / "out" / "photo.png") as image:
        assert image.size == (144, 96)


def test_pillow(compressai_weights: Path, photo: np.ndarray, tmp_path: Path) -> None:
    import aecodec.pillow

    aecodec.pillow.register(Codec("cpu", compressai_weights))
    try:
        Image.fromarray(photo).save(tmp_path / "x.aec")
        with Image.open(tmp_path / "x.aec") as image:
            assert psnr(photo, np.asarray(image)) > 18
    finally:
        aecodec.pillow.register()


def test_the_benchmark_beside_our_own(
    compressai_weights: Path, small_weights: Path, photo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("bjontegaard", "matplotlib", "plotly"):
        pytest.importorskip(module)
    from aecodec.benchmark import memory

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "_measure", lambda *_: {"encode": 1, "decode": 1})  # fresh processes take long
    codecs = [f"aecodec:{compressai_weights}", f"aecodec:{small_weights}", "jpeg"]
    words = ["-o", tmp_path / "report", "--codecs", ",".join(codecs), "--metrics", "psnr", "--anchor", "jpeg"]
    run("benchmark", photo_file, *words)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "aecodec mine" in page
    assert "aecodec small" in page


def test_another_prediction_is_an_error_and_no_picture(
    compressai_weights: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine where sums come out differently."""
    data = Codec("cpu", compressai_weights).compress(photo)
    elsewhere = Codec("cpu", compressai_weights)
    with torch.no_grad():
        for parameter in elsewhere.model.family.coder.model.h_s.parameters():  # type: ignore[attr-defined]
            parameter.mul_(1.5)
    with pytest.raises(FormatError, match="other symbols than were encoded"):
        elsewhere.decompress(data)


def test_a_forged_payload_ends_in_an_error(compressai_weights: Path, photo: np.ndarray) -> None:
    """The entropy coder looks for no end of its bytes: it is given as many as it can ask for."""
    codec = Codec("cpu", compressai_weights)
    file = container.read(codec.compress(photo))
    rng = np.random.default_rng(0)
    for payload in (b"", bytes(4), bytes(5), b"\xff" * 3000, rng.bytes(500), file.tiles[0][:40]):
        with pytest.raises(FormatError):
            codec.decompress(container.write(File(file.header, {}, [payload])))


@pytest.mark.parametrize("words", [(HYPERPRIOR, "mine.pth.tar"), ("bmshj2019", "mine.pth.tar")])
def test_what_is_no_checkpoint_is_told_in_a_line(words: tuple[str, str], tmp_path: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(2)}}, tmp_path / words[1])
    told = run("import-compressai", words[0], tmp_path / words[1], "-o", tmp_path / "x.safetensors", code=1)
    assert "mine.pth.tar: " in told.output
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "no pickle", "names are numbers", "not a number"])
def test_forged_checkpoints_are_told_apart(kind: str, compressai_checkpoint: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "bad.pth.tar", compressai_checkpoint.read_bytes()
    state = torch.load(compressai_checkpoint, weights_only=True)["state_dict"]
    if kind == "names are numbers":
        torch.save(dict(enumerate(state.values())), path)
    elif kind == "not a number":
        torch.save(
            {name: each * float("nan") if name == "g_a.0.weight" else each for name, each in state.items()}, path
        )
    else:
        path.write_bytes(
            {"empty": b"", "text": b"<html>", "cut": whole[: len(whole) // 2]}.get(kind, b"\x80\x02}q\x00")
        )
    with pytest.raises(ModelError, match=r"bad\.pth\.tar: "):
        checkpoints.read(HYPERPRIOR, path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harmed"),)

    torch.save({"state_dict": Harm()}, tmp_path / "bad.pth.tar")
    with pytest.raises(ModelError, match="reads safely"):
        checkpoints.read(HYPERPRIOR, tmp_path / "bad.pth.tar")
    assert not (tmp_path / "harmed").exists()


def test_forged_frequency_tables_are_refused(compressai_weights: Path, tmp_path: Path) -> None:
    weights = read_weights(compressai_weights)
    name = "gaussian_conditional._quantized_cdf"
    for forged in (weights.tensors[name][:, ::-1].copy(), weights.tensors[name][:3], weights.tensors[name] * 2):
        write_weights(tmp_path / "x.safetensors", "compressai", {**weights.tensors, name: forged}, weights.metadata)
        with pytest.raises(ModelError, match=r"x\.safetensors: gaussian_conditional: "):
            Codec("cpu", tmp_path / "x.safetensors")


def test_nothing_of_compressai_is_imported_for_our_own_models(small_weights: Path) -> None:
    code = f"""
import sys, numpy, aecodec
codec = aecodec.Codec("cpu", {str(small_weights)!r})
codec.decompress(codec.compress(numpy.zeros((64, 64, 3), numpy.uint8)))
assert "compressai" not in sys.modules and "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
