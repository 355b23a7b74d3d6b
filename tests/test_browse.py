"""The promise: an archive can be looked at in any browser, from plain files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec import archive
from aecodec.archive import browsing
from aecodec.cli import main

pytest.importorskip("sklearn")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def scene(number: int) -> Image.Image:
    g = np.random.default_rng(number)
    return Image.fromarray(g.integers(0, 256, (5, 7, 3), np.uint8)).resize((192, 128), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> Path:
    root = tmp_path_factory.mktemp("browse")
    for number in range(12):
        path = root / "photos" / f"20{number % 2 + 18}" / f"scene <{number}>.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif.get_ifd(34665)[36867] = f"20{number % 2 + 18}:07:14 12:00:00"
        scene(number).save(path, quality=97, exif=exif)
    scene(3).resize((96, 64)).save(root / "photos" / "small.png")
    shutil.copy(root / "photos" / "2018" / "scene <2>.jpg", root / "photos" / "again.jpg")
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    assert archive.create(root / "photos", root / "arc", 60, **options).problems == []
    report = archive.browse(root / "arc", root / "page", device="cpu", model=small_weights)
    assert (report.problems, report.notes) == ([], [])
    return root / "page"


def data_of(page: Path) -> dict[str, Any]:
    text = (page / "data.js").read_text()
    return json.loads(text.removeprefix("const DATA = ").removesuffix(";\n"))


def test_the_page_knows_every_picture(page: Path) -> None:
    data = data_of(page)
    assert len(data["pictures"]) == 14
    assert {one["folder"] for one in data["pictures"]} == {"", "2018", "2019"}
    assert sum(one["taken"].startswith("2018-07-14") for one in data["pictures"]) == 7
    for one in data["pictures"]:
        assert Image.open(page / "thumbnails" / f"{one['id']}.webp").size in ((192, 128), (96, 64))
        assert (page / "pictures" / f"{one['id']}.webp").exists()


def test_the_page_knows_duplicates_and_the_map(page: Path) -> None:
    data = data_of(page)
    names = [{data["pictures"][k]["name"] for k, _ in group} for group in data["duplicates"]]
    assert {"2019/scene <3>.jpg", "small.png"} in names
    assert {"2018/scene <2>.jpg", "again.jpg"} in names
    assert (len(data["places"]), len(data["outliers"])) == (13, 2)
    assert Image.open(page / "map.png").size == (32, 32)


def test_a_second_run_decodes_nothing(page: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "_write_pictures", None)
    report = archive.browse(page.parent / "arc", page, device="cpu", model=small_weights)
    assert dict(report.counts) == {"present": 14}


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    assert not re.search(r"https?://|//cdn|@import", (page / "index.html").read_text())


def test_the_command_makes_the_page(page: Path, tmp_path: Path, small_weights: Path) -> None:
    arguments = [
        "archive",
        "browse",
        str(page.parent / "arc"),
        "-o",
        str(tmp_path / "p"),
        "--model",
        str(small_weights),
    ]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "13 pictures shown" in result.stdout
    assert (tmp_path / "p" / "index.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("view", ["Folders", "Duplicates"])
def test_a_browser_shows_the_pictures(page: Path, tmp_path: Path, view: str) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--virtual-time-budget=4000"]
    command = [str(CHROMIUM), *flags, "--window-size=800,900", "--dump-dom", f"{(page / 'index.html').as_uri()}#{view}"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    dom = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120).stdout
    assert 'aria-current="true">' + view in dom
    assert dom.count("<img loading") == {"Folders": 14, "Duplicates": 4}[view]
