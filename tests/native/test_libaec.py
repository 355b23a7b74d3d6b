"""The promises of libaec: golden files, the same pixels on every machine, those of torch, no crash by any bytes."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aecodec import container, models
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError, ModelError
from aecodec.models import RELEASED
from aecodec.native import Decoder, build, library

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "conformance"
PIXELS = json.loads((ROOT / "tests" / "native" / "pixels.json").read_text())
CASES = [(name, path.stem) for name in RELEASED for path in sorted((GOLDEN / name).glob("*.aec"))]


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    if not build.compilers():
        pytest.skip("there is no C compiler")
    if not build.fresh():
        assert build.build() is None
        library._library.cache_clear()
    assert library.available()


@pytest.fixture(scope="session")
def by_torch(small_weights: Path) -> Codec:
    return Codec("cpu", small_weights, precision="float32")


@pytest.fixture(scope="session")
def by_libaec(small_weights: Path) -> Decoder:
    return Decoder(small_weights, threads=1)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize(("name", "title"), CASES)
def test_golden_file(name: str, title: str) -> None:
    data = (GOLDEN / name / f"{title}.aec").read_bytes()
    with Image.open(GOLDEN / name / f"{title}.png") as golden:
        assert difference(np.asarray(Decoder(threads=2).decompress(data)), np.asarray(golden)) <= 1
    assert json.loads((GOLDEN / name / "expected.json").read_text())[title]


def decoded(name: str, title: str, threads: int = 1, **region: Any) -> np.ndarray:
    """Samples as the file has them."""
    data = (GOLDEN / name / f"{title}.aec").read_bytes()
    return np.asarray(Decoder(threads=threads).decompress(data, as_array=True, **region))


@pytest.mark.parametrize(("name", "title"), CASES)
def test_golden_pixels_are_the_same_on_every_machine(name: str, title: str) -> None:
    """Written down on x86-64 with AVX-512, and the same with SSE2, NEON, as WebAssembly and without vectors."""
    pixels = decoded(name, title)
    assert sha256(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest() == PIXELS[name][title]


@pytest.mark.parametrize("kernels", ["plain", "avx2", "avx512"])
def test_older_processors_give_the_same_pixels(older: Callable[[str, Path, bytes], np.ndarray], kernels: str) -> None:
    name = models.DEFAULT
    for title in ("plain-q100", "tiled-q40"):
        found = older(kernels, models.locate(name)[0], (GOLDEN / name / f"{title}.aec").read_bytes())
        np.testing.assert_array_equal(found, decoded(name, title))


def test_a_part_is_what_it_is_in_the_whole_picture() -> None:
    name, title = models.DEFAULT, "tiled-q40"
    whole = decoded(name, title)
    rng = np.random.default_rng(1)
    for _ in range(12):
        (y, x), sides = rng.integers(0, np.array(whole.shape[:2]) - 1), rng.integers(1, 120, 2)
        height, width = (int(side) for side in np.minimum(sides, np.array(whole.shape[:2]) - (y, x)))
        region = (int(x), int(y), width, height)
        part = decoded(name, title, int(rng.integers(1, 4)), region=region)
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])


def noisy(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Something smooth with noise in it, of a random size."""
    height, width = rng.integers(1, 200, 2)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(3, 60) + y / rng.uniform(3, 60) + k) for k in range(channels)]
    picture = 128 + 90 * np.stack(waves, 2) + rng.normal(0, rng.uniform(0, 40), (height, width, channels))
    return np.clip(picture, 0, 255).astype(np.uint8)[:, :, 0 if channels == 1 else slice(None)]


@pytest.mark.parametrize("seed", range(12))
def test_random_pictures_are_as_torch_decodes_them(by_torch: Codec, by_libaec: Decoder, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = noisy(rng, (1, 3, 4)[seed % 3])
    tile = (None, 64, 128)[seed % 3] if seed % 2 else None
    options = {} if tile is None else {"tile": tile}
    data = by_torch.compress(picture, float(rng.uniform(1, 100)), effort=0, **options)
    expected = np.asarray(by_torch.decompress(data))
    assert difference(np.asarray(by_libaec.decompress(data)), expected) <= 1
    height, width = expected.shape[:2]
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    part = (x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1)))
    expected = expected[y : y + part[3], x : x + part[2]]
    assert difference(np.asarray(by_libaec.decompress(data, part)), expected) <= 1


def test_pixels_do_not_depend_on_the_number_of_threads(photo: np.ndarray, by_torch: Codec, small_weights: Path) -> None:
    data = by_torch.compress(np.tile(photo, (3, 2, 1)), 60, tile=64)
    one, three = (np.asarray(Decoder(small_weights, threads=count).decompress(data)) for count in (1, 3))
    assert np.array_equal(one, three)


@pytest.mark.parametrize("depth", [10, 16])
def test_deep_pictures_have_all_their_bits(by_torch: Codec, by_libaec: Decoder, photo: np.ndarray, depth: int) -> None:
    data = by_torch.compress(photo, 60)
    file = container.read(data)
    deep = container.write(replace(file, chunks={**file.chunks, "DPTH": bytes([depth])}))
    one, other = (codec.decompress(deep, as_array=True) for codec in (by_torch, by_libaec))
    assert difference(other, one) <= 2 ** (depth - 8)


def test_a_lost_tile_is_filled_and_its_surroundings_are_as_torch_makes_them(
    by_torch: Codec, by_libaec: Decoder, photo: np.ndarray
) -> None:
    data = bytearray(by_torch.compress(np.tile(photo, (3, 2, 1)), 60, tile=64))
    data[-10] ^= 255
    (one, damage, _), (other, same, _) = by_torch.salvage(bytes(data)), by_libaec.salvage(bytes(data))
    assert damage == same
    assert difference(np.asarray(other), np.asarray(one)) <= 1
    with pytest.raises(FormatError):
        by_libaec.decompress(bytes(data))


def test_metadata_come_along(by_torch: Codec, by_libaec: Decoder, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    image.info["icc_profile"] = b"profile"
    assert by_libaec.decompress(by_torch.compress(image)).info["icc_profile"] == b"profile"


def test_a_decoder_can_be_pickled_and_encodes_by_torch(by_libaec: Decoder, photo: np.ndarray) -> None:
    again = pickle.loads(pickle.dumps(by_libaec))
    assert again.decompress(again.compress(photo, 30)).size == (photo.shape[1], photo.shape[0])


def test_errors_are_ours(by_libaec: Decoder, photo: np.ndarray, tmp_path: Path) -> None:
    data = by_libaec.compress(photo, 30)
    with pytest.raises(AecodecError, match="is not inside"):
        by_libaec.decompress(data, (0, 0, 1000, 1))
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a weights file"):
        Decoder(tmp_path / "no.safetensors")


@pytest.mark.parametrize("rank", [0, 4, 5, 9])
def test_weights_of_another_family_are_told_from_damaged_ones(rank: int) -> None:
    tensor = {"dtype": "F32", "shape": [1] * rank, "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": {"family": "toy"}, "kernel": tensor}).encode()
    with pytest.raises(library.UnknownFamily, match="toy"):
        library.NativeModel(struct.pack("<Q", len(header)) + header + bytes(4), "00" * 32)


def test_decoding_imports_no_torch() -> None:
    code = (
        "import sys, aecodec.native; aecodec.native.decoder('cpu').decompress(open(sys.argv[1], 'rb').read());"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(GOLDEN / CASES[-1][0] / f"{CASES[-1][1]}.aec")], check=True)


@pytest.mark.slow
def test_mutated_files_under_sanitizers(
    by_torch: Codec, photo: np.ndarray, small_weights: Path, tmp_path: Path
) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no compiler with sanitizers")
    tagged = Image.fromarray(photo[:60, :70])
    tagged.info["icc_profile"] = b"profile" * 9
    drawn = Image.fromarray(np.kron(np.eye(8), np.ones((16, 16))).astype(np.uint8) * 255).convert("RGB")
    seeds = {
        "plain": by_torch.compress(photo[:64, :80], 30),
        "tiled": by_torch.compress(photo, 50, tile=64),
        "grey": by_torch.compress(photo[:40, :50, 0], 90),
        "alpha": by_torch.compress(np.dstack([photo, photo[:, :, 0]])[:20, :130], 90),
        "tagged": by_torch.compress(tagged, 40),
    }
    file = container.read(by_torch.compress(drawn, 50))
    webp = io.BytesIO()
    drawn.save(webp, "WEBP", lossless=True)
    patch = b"\0" + container.encode_varint(len(webp.getvalue())) + b"\xf0" + webp.getvalue()
    seeds["patched"] = container.write(replace(file, chunks={"PTCH": patch}))
    for name, data in seeds.items():
        (tmp_path / f"{name}.aec").write_bytes(data)
    program = tmp_path / "fuzz"
    native = ROOT / "native"
    sources = [*(native / "src").glob("*.c"), native / "tools" / "fuzz.c"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-w", "-DAEC_FUZZING", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=undefined", "-o", str(program)]
    subprocess.run([compiler, *flags, *map(str, sources), "-lm", "-pthread"], check=True)
    files = sorted(map(str, tmp_path.glob("*.aec")))
    command = [str(program), str(small_weights), "5000", "25", "1", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[:3000]
    _, opened, decoded, refused, _ = (int(word) for word in done.stdout.split() if word.isdigit())
    assert opened > 2000
    assert decoded > 20
    assert refused > 5
