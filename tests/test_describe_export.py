"""The promise: descriptions of an archive are a table that other tools read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec import archive
from aecodec.archive import descriptions
from aecodec.cli import main

EXAMPLE = Path(__file__).parents[1] / "examples" / "search_with_an_index.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> Path:
    root = tmp_path_factory.mktemp("export")
    (root / "photos").mkdir()
    for number in range(6):
        g = np.random.default_rng(number)
        coarse = Image.fromarray(g.integers(0, 256, (4, 5, 3), np.uint8))
        coarse.resize((128, 96), Image.Resampling.BICUBIC).save(root / "photos" / f"Übung {number}.png")
    Image.open(root / "photos" / "Übung 3.png").resize((64, 48)).save(root / "photos" / "small.png")
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    assert archive.create(root / "photos", root / "arc", 60, **options).problems == []
    return root / "arc"


def exported(made: Path, path: Path, small_weights: Path) -> Any:
    words = ["archive", "describe", str(made), "--export", str(path), "--model", str(small_weights), "--device", "cpu"]
    return CliRunner().invoke(main, words)


def test_the_table_holds_what_the_archive_knows(made: Path, tmp_path: Path, small_weights: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = exported(made, tmp_path / "d.parquet", small_weights)
    assert result.exit_code == 0, result.output
    assert "7 descriptions written" in result.output
    table = parquet.read_table(tmp_path / "d.parquet")
    described = descriptions.load(archive.Archive(made))
    assert table["name"].to_pylist() == [item.name for item in described.items]
    for name in ("luma", "chroma", "histogram", "features", "hyper", "bits"):
        read = np.stack(table[name].to_numpy())
        assert np.array_equal(read, described.rows[name].reshape(len(read), -1))
    assert set(table["quality"].to_pylist()) == {60.0}
    assert table["taken"].to_pylist() == [None] * 7


@pytest.mark.parametrize("library", ["faiss", "usearch"])
def test_the_example_finds_the_copy(made: Path, tmp_path: Path, small_weights: Path, library: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip(library)
    exported(made, tmp_path / "d.parquet", small_weights)
    command = [
        sys.executable,
        str(EXAMPLE),
        str(tmp_path / "d.parquet"),
        "Übung 3.png",
        "-n",
        "2",
        "--library",
        library,
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert lines[0] == " 0.00  Übung 3.png"
    assert lines[1].endswith("small.png")


def test_without_the_library_the_answer_says_what_to_install(
    made: Path, tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = exported(made, tmp_path / "d.parquet", small_weights)
    assert (result.exit_code, "pip install" in result.output) == (1, True)
    assert not list(tmp_path.iterdir())
