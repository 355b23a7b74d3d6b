"""The promise: what decoding takes follows from the pixels that a file has, not from its shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aecodec import container
from aecodec.codec import Codec

PEAK = """
import resource, sys
from pathlib import Path
from aecodec.codec import Codec
codec = Codec("cpu", sys.argv[1], threads=1)
codec.decompress(Path(sys.argv[2]).read_bytes())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
codec.decompress(Path(sys.argv[3]).read_bytes())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
BOUND = 300e6  # of the small model and a megapixel


def empty(codec: Codec, width: int, height: int, tile: int) -> bytes:
    header = container.Header(width, height, 3, codec.model.id, 5000, tile)
    rows, columns = header.tile_grid
    return container.write(container.File(header, {}, [b""] * (rows * columns)))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")
@pytest.mark.parametrize(("width", "height", "tile"), [(1024, 1024, 1024), (65536, 16, 1024), (16, 65536, 1024)])
def test_memory_follows_the_pixels_not_the_shape(
    codec: Codec, small_weights: Path, tmp_path: Path, width: int, height: int, tile: int
) -> None:
    (tmp_path / "small.aec").write_bytes(empty(codec, 64, 64, 0))
    (tmp_path / "shape.aec").write_bytes(empty(codec, width, height, tile))
    words = [str(small_weights), str(tmp_path / "small.aec"), str(tmp_path / "shape.aec")]
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    assert int(done.stdout) < BOUND
