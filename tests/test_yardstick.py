"""The promise: one command repeats every figure, in pieces if need be, and the scripts measure what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aecodec.benchmark import codecs, measure, report
from aecodec.benchmark.measure import find_photos

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import generations  # noqa: E402
import heldout  # noqa: E402
import reproduce  # noqa: E402
import sheet  # noqa: E402


@pytest.fixture
def noise() -> Image.Image:
    return Image.effect_noise((96, 80), 60).convert("RGB")


def test_measuring_ends_in_time_and_the_next_call_goes_on(noise: Image.Image, tmp_path: Path) -> None:
    noise.save(tmp_path / "a.png")
    noise.rotate(180).save(tmp_path / "b.png")
    photos, _ = find_photos([tmp_path])
    peers = [codecs.make("jpeg"), codecs.make("webp")]
    counts = [
        len(measure.measure(photos, peers, ["psnr_rgb"], cache=tmp_path / "cache", seconds=0)[0]) for _ in range(5)
    ]
    assert counts == [6, 12, 18, 24, 24]  # a picture and a codec at a time


def test_every_codec_of_the_tables_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "crops", lambda *_: [type("Photo", (), {"path": tmp_path / "a.png"})] * 44)
    for wanted in reproduce.sets(tmp_path, tmp_path).values():
        names = wanted.codecs.split(",")
        assert all(name in codecs.MAKERS or codecs.OURS.fullmatch(name) for name in names)
        assert set(wanted.anchors.split(",")) <= set(names)


def test_drift_is_in_levels_of_brightness_and_colour() -> None:
    grey = np.full((256, 256, 3), 100, np.uint8)
    assert generations.changed(grey, grey) == pytest.approx(
        {"brightness": 0, "colour": 0, "chroma": 0, "ssimulacra2": 100}, abs=1e-9
    )
    brighter = generations.changed(grey, grey + np.uint8(3))
    assert (brighter["brightness"], brighter["colour"]) == pytest.approx((3, 0), abs=1e-9)
    reddish = grey.copy()
    reddish[..., 0] += 10
    found = generations.changed(grey, reddish)
    assert found["brightness"] == pytest.approx(2.99)
    assert found["colour"] == pytest.approx(np.hypot(2.99 / 1.772, 7.01 / 1.402))
    assert found["chroma"] == 10


def test_ten_generations_are_the_files_of_files(noise: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations.metrics, "ssimulacra2", lambda *_: 50.0)
    found = generations.repeated(codecs.make("jpeg"), noise, 50)
    assert set(found) == {"1", "10"}
    current = noise
    for _ in range(10):
        data = codecs.make("jpeg").encode(current, 50)
        current = codecs.make("jpeg").decode(data)
    assert found["10"]["bytes"] == len(data)


def test_the_sheet_has_24_crops_inside_of_their_pictures() -> None:
    assert len(sheet.CROPS) == len({name for name, _, _ in sheet.CROPS}) == 24
    held_out = {crop["file"]: crop["box"] for crop in json.loads(heldout.MANIFEST.read_text())}
    screens = 0
    for _, number, (left, top) in sheet.CROPS:
        if sheet.is_screen(number):
            with Image.open(heldout.PICTURES / "screens" / f"{number}.png") as image:
                width, height = image.size
            screens += 1
        else:
            upright = (0, 0, 512, 768)
            kodak = upright if number in (4, 9, 10, 17, 18, 19) else (0, 0, 768, 512)
            _, _, width, height = held_out[number] if isinstance(number, str) else kodak
        assert left + sheet.SIDE <= width
        assert top + sheet.SIDE <= height
    assert screens == 3


def test_a_file_of_the_sheet_is_of_the_size_nearest_to_the_rate(noise: Image.Image) -> None:
    jpeg = codecs.make("jpeg")
    found = len(sheet.nearest(jpeg, noise, 2.0))
    sizes = [len(jpeg.encode(noise, quality)) for quality in range(1, 100)]
    assert abs(found - 2 * 96 * 80 / 8) == min(abs(size - 2 * 96 * 80 / 8) for size in sizes)


def test_figures_of_the_repository_keep_their_version_and_processor(noise: Image.Image, tmp_path: Path) -> None:
    noise.save(tmp_path / "a.png")
    photos, _ = find_photos([tmp_path / "a.png"])
    jpeg = codecs.make("jpeg")
    measured, _ = measure.measure(photos, [jpeg], ["psnr_rgb"], cache=tmp_path / "cache")
    results = report.build(
        photos, [jpeg], ["psnr_rgb"], measured, [], memory={}, anchors=["jpeg"], missing={}, command="", jobs=1
    )
    results["codecs"][0] |= {"version": "an older one", "machine": "another"}
    (tmp_path / "results.json").write_text(json.dumps(results))
    report.write_csv(tmp_path / "results.csv", measured)
    known = reproduce.in_repository(tmp_path, [jpeg])
    assert [peer.version for peer in known.peers] == ["an older one"]
    assert known.machines == {"jpeg": "another"}
    assert [(m.quality, m.bytes) for m in known.measured] == [(m.quality, m.bytes) for m in measured]
