"""Training pictures: folders and tar files to one uint8 tensor on the device, and random patches from it."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aecodec.errors import AecodecError
from aecodec.families.aec1.config import BLOCK, STRIDE
from aecodec.families.layouts import network_input, shuffle, unshuffle
from aecodec.picture.door import foreign, open_image

TILE = 512  # pictures are cut into whole tiles of this size, so that the data set is one tensor
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
HELD_OUT = 32  # one tile in this many never trains; which one is decided by a hash of its name


def _pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yields (name, encoded bytes) of every picture in a folder or tar file, in a stable order."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
            yield str(path.relative_to(source)), path.read_bytes()
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(SUFFIXES):
                    file = tar.extractfile(member)
                    assert file is not None  # isfile() said so
                    yield member.name, file.read()
    else:
        raise AecodecError(f"{source}: neither a folder nor a tar file of pictures")


def load_tiles(sources: Sequence[str | Path]) -> tuple[Tensor, Tensor, int]:
    """Reads all pictures and cuts them into tiles.

    Returns (training tiles, held-out tiles, pictures skipped because a side is under 512 pixels or because they
    cannot be read); tiles are (N, 3, 512, 512) uint8 RGB. Raises AecodecError if a source is not one or is empty.
    """
    training: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    skipped = 0
    for source in sources:
        for name, data in _pictures(Path(source)):
            try:
                with foreign(), open_image(data) as image:
                    pixels = np.asarray(image.convert("RGB"))
            except (AecodecError, OSError):
                skipped += 1
                continue
            rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
            skipped += not (rows and columns)
            chosen = hashlib.sha256(name.encode()).digest()[0] % HELD_OUT == 0
            for r in range(rows):
                for c in range(columns):
                    tile = pixels[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE]
                    (held_out if chosen else training).append(np.ascontiguousarray(tile.transpose(2, 0, 1)))
    if not held_out and len(training) > 1:
        held_out.append(training.pop())  # so few that the hash chose none
    if not training or not held_out:
        raise AecodecError(
            f"{len(training)} training and {len(held_out)} held-out tiles of {TILE}x{TILE} pixels found, at least one "
            "of each is needed; give more pictures"
        )
    return torch.from_numpy(np.stack(training)), torch.from_numpy(np.stack(held_out)), skipped


def random_patches(tiles: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random crops, each flipped and transposed at random, on the device of the tiles and without leaving it.

    tiles: (N, 3, T, T) uint8. Returns (count, 3, size, size) float32 in -0.5..0.5, channels_last.
    """
    device = tiles.device

    def draw(high: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator, device=device)

    limit = tiles.shape[-1] - size + 1
    run = torch.arange(size, device=device)
    rows = draw(limit)[:, None] + torch.where(draw(2)[:, None] == 1, size - 1 - run, run)
    columns = draw(limit)[:, None] + torch.where(draw(2)[:, None] == 1, size - 1 - run, run)
    transposed = (draw(2) == 1)[:, None, None]
    rows, columns = rows[:, :, None].expand(-1, -1, size), columns[:, None, :].expand(-1, size, -1)
    row_index = torch.where(transposed, rows.transpose(1, 2), rows)
    column_index = torch.where(transposed, columns.transpose(1, 2), columns)
    patches = tiles[draw(len(tiles))[:, None, None], :, row_index, column_index]  # (count, size, size, 3)
    return network_input(patches.permute(0, 3, 1, 2))


def block_covariance(tiles: Tensor, generator: torch.Generator, count: int = 300_000) -> Tensor:
    """Covariance of random 16x16 blocks, made symmetric under flips and transposition.

    Returns (768, 768) float64 about the grey level 0.5, samples in 0..1, in the order of
    unshuffle(unshuffle(., 8), 2).
    """
    size = 8 * STRIDE
    count = min(count, len(tiles) * (TILE // STRIDE) ** 2)  # as many as there are side by side
    total = torch.zeros(BLOCK, BLOCK, dtype=torch.float64)
    seen = 0
    while seen < count:
        patches = shuffle(random_patches(tiles, 64, size, generator).cpu(), 8)
        # Flips and transposition of the patches would need many draws to average out: apply all eight exactly.
        for turned in (patches, patches.transpose(2, 3)):
            for flip in ((), (2,), (3,), (2, 3)):
                x = unshuffle(unshuffle(turned.flip(flip), 8), 2)
                blocks = x.permute(0, 2, 3, 1).reshape(-1, BLOCK)
                total += (blocks.T @ blocks).double()
                seen += len(blocks) // 8
    return total / (8 * seen)
