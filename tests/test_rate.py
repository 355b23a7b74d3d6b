"""The promise: a size is met within 2 % from below, a PSNR within 0.1 dB from above, with one analysis of a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from aecodec import AecodecError, container, metrics, rate
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.families.hyperprior.layers import Analysis
from aecodec.options import EncodeOptions, parse_size


@pytest.fixture(scope="module")
def sizes(codec: Codec, photo: np.ndarray) -> dict[int, int]:
    return {quality: len(codec.compress(photo, quality)) for quality in (1, 30, 60, 90, 100)}


def psnr(photo: np.ndarray, codec: Codec, data: bytes) -> float:
    return metrics.psnr(photo, np.asarray(codec.decompress(data)))


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_a_size_is_met_within_two_percent_from_below(
    codec: Codec, photo: np.ndarray, sizes: dict[int, int], quality: int
) -> None:
    for size in (sizes[quality] - 7, sizes[quality] + 7):
        assert 0.98 * size <= len(codec.compress(photo, size=size)) <= size


def test_bits_per_pixel_count_the_whole_file(codec: Codec, photo: np.ndarray) -> None:
    picture = np.dstack([photo, photo[:, :, 0]])  # the alpha plane counts too
    bpp = 8 * (len(codec.compress(picture, 70)) + 5) / (144 * 96)
    data = codec.compress(picture, bpp=bpp)
    assert 0.98 * bpp <= 8 * len(data) / (144 * 96) <= bpp
    assert codec.decompress(data).mode == "RGBA"


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA"])
def test_a_psnr_is_met_within_a_tenth_of_a_decibel_from_above(codec: Codec, photo: np.ndarray, kind: str) -> None:
    alpha = np.maximum(photo[:, :, 0], 1)  # nothing is hidden: colours that nobody sees do not count
    picture = {"RGB": photo, "L": photo[:, :, 1], "RGBA": np.dstack([photo, alpha])}[kind]
    colour = picture[:, :, :3] if kind == "RGBA" else picture

    def fidelity(data: bytes) -> float:
        decoded = np.asarray(codec.decompress(data))
        return metrics.psnr(colour, decoded[:, :, :3] if kind == "RGBA" else decoded)

    for quality in (10, 30):  # where the fidelity of an untrained network rises
        wanted = fidelity(codec.compress(picture, quality)) - 0.005
        assert wanted <= fidelity(codec.compress(picture, psnr=wanted)) <= wanted + 0.1


def test_the_quality_may_be_raised_to_keep_a_floor(codec: Codec, photo: np.ndarray, sizes: dict[int, int]) -> None:
    assert codec.compress(photo, 60, min_psnr=10) == codec.compress(photo, 60)
    raised = codec.compress(photo, 5, min_psnr=23)
    assert 23 <= psnr(photo, codec, raised) <= 23.1
    assert len(codec.compress(photo, size=sizes[1] + 30, min_psnr=23)) == len(raised)


def test_targets_that_cannot_be_met_say_what_can(codec: Codec, photo: np.ndarray, sizes: dict[int, int]) -> None:
    with pytest.raises(AecodecError, match=f"{sizes[1]} at quality 1"):
        codec.compress(photo, size=sizes[1] - 1)
    with pytest.raises(AecodecError, match="dB at quality 100"):
        codec.compress(photo, psnr=60)
    # More room than quality 100 needs, and less fidelity than quality 1 has, are granted.
    assert container.read_header(codec.compress(photo, size=10**9)).quality == 10000
    assert container.read_header(codec.compress(photo, psnr=3)).quality == 100


def test_the_picture_is_analysed_once(codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = Analysis.forward

    def counted(self: Analysis, x: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        return forward(self, x)

    monkeypatch.setattr(Analysis, "forward", counted)
    codec.compress(photo, psnr=23, min_psnr=18)
    assert len(calls) == 1


@pytest.mark.parametrize("steepness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("wanted", [3000, 9000, 40_000, 700_000])
def test_few_probes_find_the_quality_of_any_smooth_curve(steepness: float, wanted: int) -> None:
    probes = []

    def encode(hundredths: int) -> bytes:
        probes.append(hundredths)
        return bytes(int(1000 * 1000 ** ((hundredths / 10000) ** steepness)))

    assert 0.98 * wanted <= len(rate.choose(EncodeOptions(size=wanted), 1, encode, len, len)) <= wanted
    assert len(probes) <= 7


def test_leaps_end_the_search_on_the_right_side() -> None:
    def leaping(hundredths: int) -> bytes:
        return bytes(50 if hundredths < 7777 else 500)

    assert len(rate.choose(EncodeOptions(size=400), 1, leaping, len, len)) == 50
    assert len(rate.choose(EncodeOptions(psnr=51), 1, leaping, len, len)) == 500
    assert (
        len(rate.choose(EncodeOptions(psnr=51), 1, leaping, lambda data: math.inf if len(data) > 50 else 0.0, len))
        == 500
    )


def test_sizes_are_read_as_people_write_them() -> None:
    for text, size in (("200kB", 200_000), ("1.5 MB", 1_500_000), ("64KiB", 65_536), ("5000", 5000), (".5m", 500_000)):
        assert parse_size(text) == size
    for text in ("", "kB", "12 apples", "-3", "1e5"):
        with pytest.raises(AecodecError, match="200kB"):
            parse_size(text)


def test_contradictions_are_refused(codec: Codec, photo: np.ndarray) -> None:
    with pytest.raises(AecodecError, match="bpp and psnr contradict"):
        codec.compress(photo, bpp=1, psnr=30)
    with pytest.raises(AecodecError, match="quality and size contradict"):
        codec.compress(photo, 50, size=1000)
    for target in ({"bpp": 0.0}, {"size": -5}, {"psnr": math.nan}, {"min_psnr": math.inf}):
        with pytest.raises(AecodecError, match=next(iter(target))):
            codec.compress(photo, **target)


def test_psnr_is_that_of_all_samples(photo: np.ndarray) -> None:
    other = photo.copy()
    other[3, 5, 1] ^= 16
    assert metrics.psnr(photo, other) == pytest.approx(10 * math.log10(255**2 * photo.size / 256))
    assert metrics.psnr(photo, photo) == math.inf


def test_the_command_line_takes_targets(tmp_path: Path, small_weights: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")

    def run(*options: str) -> tuple[int, str]:
        command = ["compress", str(tmp_path / "a.png"), "-f", "--model", str(small_weights), "--device", "cpu"]
        result = CliRunner().invoke(main, [*command, *options])
        return result.exit_code, result.output

    assert run("--size", "1kB")[0] == 0
    assert 980 <= (tmp_path / "a.aec").stat().st_size <= 1000
    assert run("--psnr", "23")[0] == 0
    assert run("--bpp", "2", "--min-psnr", "15")[0] == 0
    before = (tmp_path / "a.aec").read_bytes()
    code, output = run("--size", "20")
    assert code == 1
    assert "a.png: does not fit into 20 bytes" in output
    code, output = run("--psnr", "80")
    assert code == 1
    assert "a.png: does not reach 80 dB" in output
    assert run("--bpp", "1", "-q", "5")[0] == 2
    assert run("--size", "huge")[0] == 2
    assert (tmp_path / "a.aec").read_bytes() == before
