"""The promise: what the format has beyond its first version decodes forever, too: depth, patches, neutral colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecodec import container, patches, tiling
from aecodec.codec import Codec
from aecodec.picture import load
from aecodec.tiling import Box

HERE = Path(__file__).parent / "conformance"


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("*-extensions/*.aec")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_golden_files(path: Path) -> None:
    codec = Codec("cpu", path.parent.name.removesuffix("-extensions"), precision="float32")
    wanted = load(path.with_suffix(".png"))
    file = container.read(path.read_bytes())
    found = codec.decompress(path.read_bytes(), as_array=True)
    if container.DEPTH in file.chunks:
        bits = file.chunks[container.DEPTH][0]
        level = 65535 / (2**bits - 1)
        assert found.dtype == np.uint16
        difference = (
            np.abs(found[..., :3] * level - wanted.colour) if found.ndim == 3 else found * level - wanted.colour
        )
        assert np.abs(difference).max() <= 257  # a level of 8 bits
        assert wanted.alpha is None or np.array_equal(found[..., 3], wanted.alpha)
    else:
        assert np.abs(found.astype(int) - wanted.colour).max() <= 1
        assert "neut" not in file.chunks or np.ptp(found, axis=2).max() == 0
        for patch in patches.unpack(file.chunks.get(container.PATCHES, b""), codec_tiles(file.header), found.shape[:2]):
            tile = codec_tiles(file.header)[patch.tile].overlap(Box.whole(found.shape[:2]))
            assert tile is not None
            inside = patches.of_pixels(patch.mask, tile.size)
            assert np.array_equal(found[tile.slices][inside], wanted.colour[tile.slices][inside])


def codec_tiles(header: container.Header) -> list[Box]:
    return tiling.tiles(tiling.padded((header.height, header.width), 64), header.tile)
