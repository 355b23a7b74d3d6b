"""The promise: `--denoise` leaves noise out, every decoder reads the file, and the file says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import aecodec
from aecodec import container
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.metrics import psnr
from aecodec.options import EncodeOptions
from aecodec.picture import load
from aecodec.picture.names import DENOISED

SIGMA = 20


@pytest.fixture(scope="module")
def codec() -> Codec:
    """A released one: what is likely, an untrained network does not know."""
    return Codec("cpu", "aec1-11")


@pytest.fixture
def noisy(photo: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, SIGMA, photo.shape)
    return (photo + noise).round().clip(0, 255).astype(np.uint8)


def test_noise_is_left_out(codec: Codec, photo: np.ndarray, noisy: np.ndarray) -> None:
    plain, denoised = (codec.compress(noisy, 95, effort=0, denoise=level) for level in (None, SIGMA))
    assert len(denoised) < 0.8 * len(plain)
    assert psnr(photo, codec.decompress(denoised, as_array=True)) > psnr(photo, codec.decompress(plain, as_array=True))


def test_no_search_brings_noise_back(codec: Codec, noisy: np.ndarray) -> None:
    assert codec.compress(noisy, 80, effort=3, denoise=SIGMA) == codec.compress(noisy, 80, effort=0, denoise=SIGMA)


def test_a_file_says_that_it_was_denoised(codec: Codec, noisy: np.ndarray) -> None:
    data = codec.compress(noisy, effort=0, denoise=12.5)
    assert "denoised, sigma 12.5 of 255" in aecodec.info(data).metadata
    assert DENOISED not in container.read(codec.compress(noisy, effort=0)).chunks


def test_deep_grey_and_tiled_pictures_are_denoised(codec: Codec, noisy: np.ndarray) -> None:
    for picture in (noisy.astype(np.uint16) * 257, noisy[:, :, 0], np.tile(noisy, (2, 2, 1))):
        sizes = [len(codec.compress(picture, 90, effort=0, tile=64, denoise=level)) for level in (None, SIGMA)]
        assert sizes[1] < sizes[0]


def test_noise_is_estimated(codec: Codec, noisy: np.ndarray, photo: np.ndarray) -> None:
    pytest.importorskip("pywt")
    from aecodec.picture.noise import estimated_noise

    assert SIGMA * 0.8 < estimated_noise(load(noisy)) < SIGMA * 1.1
    assert SIGMA * 0.8 < estimated_noise(load(noisy.astype(np.uint16) * 257)) < SIGMA * 1.1
    assert estimated_noise(load(np.full((40, 40), 7, np.uint8))) == 0.01
    one, other = codec.compress_batch([noisy, photo], effort=0, denoise="auto")
    assert one == codec.compress(noisy, effort=0, denoise="auto")
    said = [container.read(data).chunks[DENOISED] for data in (one, other)]
    assert int.from_bytes(said[0], "little") > 2 * int.from_bytes(said[1], "little")


def test_noise_of_a_camera_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demosaiced noise has little in the finest wavelets."""
    pytest.importorskip("pywt")
    from aecodec.picture import noise

    white = np.random.default_rng(1).normal(0, 2 * SIGMA, (129, 129, 3))
    blurred = sum(white[y : y + 128, x : x + 128] for y in (0, 1) for x in (0, 1)) / 4  # its deviation is SIGMA
    seen = load((128 + blurred).round().clip(0, 255).astype(np.uint8))
    found = noise.estimated_noise(seen)
    assert SIGMA / 3 < found < SIGMA
    monkeypatch.setattr(noise, "BLOCKS", noise.BLOCKS[:1])
    assert noise.estimated_noise(seen) < 0.6 * found


def test_cut_off_noise_does_not_count(noisy: np.ndarray) -> None:
    pytest.importorskip("pywt")
    from aecodec.picture.noise import estimated_noise

    half = noisy.copy()
    half[: len(half) // 2] = 255
    assert estimated_noise(load(half)) > SIGMA * 0.8


def test_without_a_library_the_answer_says_what_to_install(
    codec: Codec, noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pywt", None)
    with pytest.raises(AecodecError, match="pip install"):
        codec.compress(noisy, denoise="auto")


@pytest.mark.parametrize(
    "wrong", [{"denoise": -1}, {"denoise": "much"}, {"denoise": 500}, {"denoise": 5, "psnr": 30}, {"denoise": "nan"}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(AecodecError):
        EncodeOptions.parse(wrong)


def test_the_command_takes_both(codec: Codec, noisy: np.ndarray, small_weights: Path, tmp_path: Path) -> None:
    Image.fromarray(noisy).save(tmp_path / "x.png")
    words = ["compress", "-f", "--model", str(small_weights), str(tmp_path / "x.png"), "--denoise"]
    assert CliRunner().invoke(main, [*words, "20"]).exit_code == 0
    assert CliRunner().invoke(main, [*words, "a lot"]).exit_code == 2
    pytest.importorskip("pywt")
    assert CliRunner().invoke(main, [*words, "auto"]).exit_code == 0
