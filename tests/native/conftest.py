"""libaec as older processors run it."""

from __future__ import annotations

import io
import platform
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aecodec.native import build, library

FLAGS = ("-std=c11", "-O1", "-w", "-ffp-contract=off")
# What processors of each kind can do beside their own.
OLDER = {"avx512vnni": ["plain", "avx2", "avx512"], "avx512": ["plain", "avx2"], "avxvnni": ["plain", "avx2"]}


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path, bytes], np.ndarray]:
    """Decodes a file by the kernels of a name: from it, weights and the file's bytes to pixels of 8 bits."""
    if platform.system() != "Linux" or not build.compilers():
        pytest.skip("there is no C compiler")
    compiler, folder = build.compilers()[0], tmp_path_factory.mktemp("older")
    own = library.instructions() if library.available() else ""

    @cache
    def objects() -> list[Path]:
        (folder / "objects").mkdir()
        sources = [path for path in (build.SOURCES / "src").glob("*.c") if path.stem != "dispatch"]
        command = [*compiler, *FLAGS, "-c", *sources, build.SOURCES / "tools" / "aecd.c"]
        subprocess.run(command, check=True, cwd=folder / "objects")
        return sorted((folder / "objects").iterdir())

    @cache
    def program(kernels: str) -> Path:
        chosen = f"-DAEC_KERNELS=aec__kernels_{kernels}", build.SOURCES / "src" / "dispatch.c"
        command = [*compiler, *FLAGS, *chosen, *objects(), "-o", folder / kernels, "-lm", "-pthread"]
        subprocess.run(command, check=True)
        return folder / kernels

    def decode(kernels: str, weights: Path, data: bytes) -> np.ndarray:
        if kernels not in OLDER.get(own, ["plain"]):
            pytest.skip(f"this machine ({own or 'no libaec'}) cannot say")
        (folder / "in.aec").write_bytes(data)
        command = [program(kernels), "--model", weights, folder / "in.aec", folder / "out.png"]
        subprocess.run(command, check=True)
        with Image.open(io.BytesIO((folder / "out.png").read_bytes())) as image:
            return np.asarray(image)

    return decode
