"""The promise: what is installed works without the checkout and without a network, weights inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> Path:
    """A folder with the wheel and the source distribution of this checkout, plus a small weights file."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("aecodec", "native", "docs", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "hatch_build.py"):
        shutil.copy(ROOT / name, source)
    (source / "weights").mkdir()
    shutil.copy(small_weights, source / "weights")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(dist)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return dist


def test_the_wheel_works_by_itself(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert (tmp_path / "aecodec" / "py.typed").is_file()
    assert (tmp_path / "aecodec" / "benchmark" / "report.html").is_file()
    assert (tmp_path / "aecodec" / "benchmark" / "published" / "kodak.json").is_file()
    assert (tmp_path / "aecodec" / "released_weights" / "small.safetensors").is_file()
    (points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    assert "aecodec = aecodec.command:run" in points.read_text()
    assert "aecodec = aecodec.plugins.zarr:Aecodec" in points.read_text()
    code = f"""
import aecodec
from aecodec.models import weights_folder
assert aecodec.__file__.startswith({str(tmp_path)!r})
codec = aecodec.Codec("cpu", weights_folder() / "small.safetensors")
assert codec.decompress(codec.compress({str(ROOT / "examples" / "coffee.png")!r})).size == (600, 400)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    subprocess.run([sys.executable, "-m", "aecodec", "--help"], cwd=tmp_path, env=environment, check=True)


def test_the_source_distribution_holds_what_is_needed_to_build_and_test(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.split("/", 1)[1] for name in packed.getnames() if "/" in name}
    assert {
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "docs/format/container.md",
        "tests/conftest.py",
        "aecodec/codec.py",
    } <= names
    assert "weights/small.safetensors" in names
