"""The promise: files of released models decode forever, to the same integers, and to pixels within one level.

However they are decoded: by one thread or several, alone or in a batch, in either memory layout, with or without
oneDNN, with the instructions of an old or a new processor, on a GPU. The tests' small model is held to the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance.make import digest_of_integers
from PIL import Image
from reference_decoder import ReferenceModel

from aecodec import container, native
from aecodec.codec import Codec
from aecodec.families.hyperprior.constants import SYMBOL_TOP
from aecodec.families.hyperprior.hiding import sign_groups, tables_of, with_signs
from aecodec.models import DEFAULT, RELEASED, weights_folder
from aecodec.tiling import tiles

HERE = Path(__file__).parent / "conformance"
CASES = [(name, path.stem) for name in RELEASED for path in sorted((HERE / name).glob("*.aec"))]
GRAPHICS = sorted(HERE.glob("*-graphics/*.aec"))
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def integers(
    codec: Codec, data: bytes, batch: int, memory_format: torch.memory_format
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What the package decodes before any floating point: z, scale indices and symbols of every tile.

    The scale indices are those of the last of a batch whose others are different.
    """
    file, family = container.read(data), codec.model.family
    result = []
    for payload, box in zip(file.tiles, tiles(file.header.padded_size, file.header.tile), strict=True):
        decoder = family.tables.decoder(payload)
        shape = (family.network.config.hyper_channels, *box.in_units(64).size)
        coded = decoder.take(family.z_indices(shape, file.header.quality))
        (z,) = family.scale_model.z_of_residual(coded[None])
        stack = torch.from_numpy(np.stack([z - k for k in reversed(range(batch))]).clip(-127, 127)).float()
        stack = stack.to(codec.device, memory_format=memory_format)
        _, index = family.scale_model(stack, file.header.quality - 100)
        index = index[-1:].to(torch.uint8)
        groups = sign_groups(index)
        coded = decoder.take(tables_of(index, groups)[0].cpu().contiguous().numpy())
        symbols = with_signs(torch.from_numpy(coded[None]), groups)
        result.append((z, index[0].cpu().contiguous().numpy(), symbols[0].contiguous().numpy()))
        decoder.finish()
    return result


def check(codec: Codec, data: bytes, digest: str, golden: Image.Image) -> None:
    """Decodes in every way that does not need another process or codec; compares with what was recorded."""
    for batch, memory_format in ((1, torch.contiguous_format), (1, torch.channels_last), (3, torch.channels_last)):
        assert digest_of_integers(integers(codec, data, batch, memory_format)) == digest
    for image in (codec.decompress(data), codec.decompress_batch([data, data, data])[1]):
        assert image.mode == golden.mode
        assert np.abs(np.asarray(image).astype(int) - np.asarray(golden)).max() <= 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def reduced_precision() -> Iterator[None]:
    """What a program around the codec may allow torch to do with float32: TF32, or bfloat16 on some processors."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "one-thread": lambda: threads(1),
    "two-threads": lambda: threads(2),
    "without-onednn": lambda: torch.backends.mkldnn.flags(enabled=False),
    "reduced-precision": reduced_precision,
}


def released_file(name: str, title: str) -> tuple[Path, bytes, str, Image.Image]:
    """Weights, file, digest of its integers, decoded picture."""
    expected = json.loads((HERE / name / "expected.json").read_text())[title]
    data = (HERE / name / f"{title}.aec").read_bytes()
    assert hashlib.sha256(data).hexdigest() == expected["file_sha256"]
    with Image.open(HERE / name / f"{title}.png") as golden:
        golden.load()
    return weights_folder() / f"{name}.safetensors", data, expected["integers_sha256"], golden


@pytest.fixture(scope="session")
def small_file(small_weights: Path, codec: Codec, photo: np.ndarray) -> tuple[Path, bytes, str, Image.Image]:
    """The same of the tests' small model: what the reference decoder says, and what a single thread shows."""
    data = codec.compress(photo[:64, 30:110], 70)
    digest = digest_of_integers(ReferenceModel(small_weights).decode(data))
    with threads(1):
        return small_weights, data, digest, Codec("cpu", small_weights, precision="float32").decompress(data)


def test_every_released_model_has_golden_files() -> None:
    assert DEFAULT in RELEASED
    for name, digest in RELEASED.items():
        weights = weights_folder() / f"{name}.safetensors"
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest
        assert weights.stat().st_size < 20e6
        assert weights.with_suffix(".md").is_file()
        assert len([case for case in CASES if case[0] == name]) == len(
            json.loads((HERE / name / "expected.json").read_text())
        )


@pytest.mark.parametrize(("name", "title"), CASES)
def test_golden_file(name: str, title: str) -> None:
    weights, data, digest, golden = released_file(name, title)
    for device in DEVICES:
        check(Codec(device, name), data, digest, golden)
    check(Codec("cpu", weights, precision="float32"), data, digest, golden)


@pytest.mark.parametrize("path", GRAPHICS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pixels_of_graphics_and_of_forged_files(path: Path) -> None:
    """What no photograph looks like, and symbols that no picture has; whatever the encoder computes in."""
    with Image.open(path.with_suffix(".png")) as golden:
        wanted = np.asarray(golden).astype(int)
    model = path.parent.name.removesuffix("-graphics")
    decoders = [Codec(device, model, precision=p) for device in DEVICES for p in ("float32", "bfloat16")]
    if native.available():
        decoders.append(native.Decoder(model, threads=1))
    for decoder in decoders:
        assert np.abs(np.asarray(decoder.decompress(path.read_bytes())) - wanted).max() <= 1


def test_symbols_beyond_those_of_pictures_are_clamped() -> None:
    path = HERE / "aec1-11-graphics" / "forged-q50.aec"
    ((_, _, symbols),) = ReferenceModel(weights_folder() / "aec1-11.safetensors").decode(path.read_bytes())
    assert np.abs(symbols).max() == SYMBOL_TOP


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RELEASED)
def test_golden_files_in_other_ways(name: str, way: str) -> None:
    for title in ("tiled-q40", "plain-q100"):
        _, data, digest, golden = released_file(name, title)
        with WAYS[way]():
            check(Codec("cpu", name), data, digest, golden)


@pytest.mark.parametrize("way", WAYS)
def test_the_small_model_in_other_ways(small_file: tuple[Path, bytes, str, Image.Image], way: str) -> None:
    weights, *file = small_file
    for precision in ("auto", "float32"):
        for device in DEVICES:
            with WAYS[way]():
                check(Codec(device, weights, precision=precision), *file)


@pytest.mark.parametrize("instructions", ["SSE41", "AVX2", "AVX512_CORE"])
def test_other_processors(small_file: tuple[Path, bytes, str, Image.Image], tmp_path: Path, instructions: str) -> None:
    """oneDNN is told to use no newer instructions than these, and torch none but those that every processor has."""
    small_file[3].save(tmp_path / "small.png")
    (tmp_path / "small.aec").write_bytes(small_file[1])
    cases = [(str(small_file[0]), str(tmp_path / "small"), small_file[2])]
    for name in RELEASED:
        weights, _, digest, _ = released_file(name, "tiled-q40")
        cases.append((str(weights), str(HERE / name / "tiled-q40"), digest))
    environment = {"ONEDNN_MAX_CPU_ISA": instructions, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, json.dumps(cases)]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=120)


def test_the_reference_decoder_reads_a_golden_file() -> None:
    name, title = DEFAULT, "tiled-q40"
    weights, data, digest, _ = released_file(name, title)
    assert digest_of_integers(ReferenceModel(weights).decode(data)) == digest


@pytest.mark.parametrize("title", ["flat-q1", "grey-q60", "tiled-q40"])
def test_the_reference_decoder_shows_the_same_pixels(title: str) -> None:
    """The documents are enough for a second decoder, to the last level but one."""
    weights, data, _, golden = released_file(DEFAULT, title)
    difference = np.abs(ReferenceModel(weights).pixels(data).astype(int) - np.asarray(golden))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


if __name__ == "__main__":  # test_other_processors
    for weights, path, digest in json.loads(sys.argv[1]):
        for precision in ("auto", "float32"):
            with Image.open(f"{path}.png") as golden:
                codec = Codec("cpu", Path(weights), precision=precision)
                check(codec, Path(f"{path}.aec").read_bytes(), digest, golden)
