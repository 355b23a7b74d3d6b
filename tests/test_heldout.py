"""The promise: models are judged on pictures that never train, and on exactly these."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aecodec.benchmark.measure import Measurement
from aecodec.training import sources

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import heldout  # noqa: E402


def chosen(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % sources.HELD_OUT == 0


def test_the_manifest_holds_crops_that_training_leaves_out() -> None:
    manifest = json.loads(heldout.MANIFEST.read_text())
    assert len(manifest) == len({crop["sha256"] for crop in manifest}) == 44
    assert all(chosen(Path(crop["file"]).name) for crop in manifest)
    assert heldout.HELD_OUT == sources.HELD_OUT


def test_pictures_that_are_not_those_of_the_manifest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(heldout, "MANIFEST", tmp_path / "heldout.json")
    names = [f"{number:05}.png" for number in range(200)]
    held, trained = next(filter(chosen, names)), next(name for name in names if not chosen(name))

    def pack(side: int, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        with tarfile.open(tmp_path / "photos.tar", "w") as tar:
            for name in (held, trained):
                member = tarfile.TarInfo(name)
                member.size = len(buffer.getvalue())
                tar.addfile(member, io.BytesIO(buffer.getvalue()))

    pack(520, 0)
    heldout.write_manifest(tmp_path)
    (photo,) = heldout.crops(tmp_path, "photographs")
    assert photo.name == f"photos.tar/{held}"
    assert (photo.width, photo.height) == (heldout.SIDE, heldout.SIDE)
    pack(520, 1)
    for path in (tmp_path / "cache").rglob("*.png"):
        path.unlink()
    with pytest.raises(SystemExit, match=f"{held} is missing or not the picture"):
        heldout.crops(tmp_path, "photographs")


def test_the_score_falls_with_the_rate_and_needs_every_quality() -> None:
    def taken(quality: int, bpp: float) -> Measurement:
        return Measurement("a", "aecodec", quality, 1, bpp, {"psnr_rgb": 99.0}, 0, 0)

    whole = [taken(q, 1.0) for q in heldout.QUALITIES]
    assert heldout.score(whole) == pytest.approx(0, abs=0.1)  # ln 1
    assert heldout.score([taken(q, 0.9) for q in heldout.QUALITIES]) == pytest.approx(-10.5, abs=0.1)
    assert heldout.score(whole[1:]) is None


def test_screens_and_drawings_are_twenty_small_files() -> None:
    pictures = sorted((BENCHMARKS / "pictures").glob("*/*.png"))
    assert len(pictures) == 20
    assert sum(path.stat().st_size for path in pictures) < 1.5e6
    for kind, count in (("screens", 16), ("drawings", 4)):
        assert len(heldout.crops(Path("nowhere"), kind)) == count
