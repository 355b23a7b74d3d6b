"""Blocks of a picture that a lossless code holds instead of the network: what is drawn, not photographed.

The network codes smooth colours in their place, which cost next to nothing. docs/format/container.md. Which blocks, and
with how many colours, is decided in `patching`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.container import Cursor, encode_varint
from aecodec.errors import FormatError
from aecodec.picture import Pixels
from aecodec.picture.alpha import around
from aecodec.picture.door import foreign, open_image
from aecodec.tiling import Box

BLOCK = 64  # pixels
Mask = npt.NDArray[np.bool_]  # (rows, columns) of blocks

BAND = 16  # rows of blocks that are looked at together, for the sake of memory


class Patch(NamedTuple):
    """The lossless blocks of a tile: its number, which blocks, and a WebP of the tile's part of the picture."""

    tile: int
    mask: Mask
    data: bytes


def squared_errors(a: Pixels, b: Pixels) -> npt.NDArray[np.float32]:
    """Of each block, the sum over its pixels of the mean squared difference of the channels."""
    bands = []
    for top in range(0, len(a), BAND * BLOCK):
        difference = a[top : top + BAND * BLOCK].astype(np.float32) - b[top : top + BAND * BLOCK]
        squares = difference * difference
        bands.append(sums(squares.mean(2) if squares.ndim == 3 else squares))
    return np.concatenate(bands)


def sums(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """(H, W) to sums over blocks."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], BLOCK), axis=0, dtype=np.float32)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], BLOCK), axis=1)


def of_pixels(mask: Mask, size: tuple[int, int]) -> Mask:
    """(H, W): whether a pixel is in one of the blocks."""
    return mask.repeat(BLOCK, 0).repeat(BLOCK, 1)[: size[0], : size[1]]


def without(colour: Pixels, mask: Mask, tiles: Sequence[Box]) -> Pixels:
    """The picture with smooth colours in the place of these blocks."""
    result = colour.copy()
    for tile in tiles:
        if mask[_in_blocks(tile)].any():
            part = result[tile.slices]
            planes = part if part.ndim == 3 else part[:, :, None]
            kept = ~of_pixels(mask[_in_blocks(tile)], part.shape[:2])
            smooth = around(planes.astype(np.float32), kept) if kept.any() else planes.mean((0, 1), keepdims=True)
            np.copyto(planes, smooth.round().astype(np.uint8), where=~kept[:, :, None])
    return result


def patches_of(colour: Pixels, mask: Mask, tiles: Sequence[Box], thorough: bool = False) -> list[Patch]:
    """The lossless code of the blocks of a picture, tile by tile. thorough: up to half smaller, in ten times the time,
    5 s a megapixel."""
    patches = []
    for number, tile in enumerate(tiles):
        blocks = mask[_in_blocks(tile)]
        if blocks.any():
            part = colour[tile.slices]  # the padding is cut off
            shown = part if part.ndim == 3 else np.repeat(part[:, :, None], 3, 2)
            inside = of_pixels(blocks, part.shape[:2])
            ground = _commonest(shown[inside])
            buffer = io.BytesIO()
            Image.fromarray(np.where(inside[:, :, None], shown, ground)).save(
                buffer, "WEBP", lossless=True, quality=100, method=6 if thorough else 4
            )
            patches.append(Patch(number, blocks, buffer.getvalue()))
    return patches


def pack(patches: Sequence[Patch]) -> bytes:
    """The chunk of a file."""
    out = bytearray()
    for patch in patches:
        out += encode_varint(patch.tile) + encode_varint(len(patch.data)) + np.packbits(patch.mask).tobytes()
        out += patch.data
    return bytes(out)


def unpack(data: bytes, tiles: Sequence[Box], size: tuple[int, int]) -> Iterator[Patch]:
    """The patches in a chunk. tiles: of the padded picture; size: of the picture, height and width.

    Raises FormatError if the chunk makes no sense.
    """
    cursor, before = Cursor(data), -1
    while cursor.at < len(data):
        number, length = cursor.varint("chunk PTCH (tile)"), cursor.varint("chunk PTCH (length)")
        if not before < number < len(tiles):
            raise FormatError(f"chunk PTCH names tile {number} after {before}, of {len(tiles)}")
        before = number
        part = tiles[number].overlap(Box.whole(size))
        assert part is not None  # every tile has pixels of the picture
        rows, columns = -(-part.height // BLOCK), -(-part.width // BLOCK)
        bits = np.frombuffer(cursor.take(-(-rows * columns // 8), "chunk PTCH (blocks)"), np.uint8)
        mask = np.unpackbits(bits, count=rows * columns).astype(bool).reshape(rows, columns)
        yield Patch(number, mask, cursor.take(length, "chunk PTCH (pixels)"))


def paste(colour: Pixels, area: Box, tile: Box, patch: Patch) -> None:
    """Puts the blocks of a patch into a part of a picture. area: where the part lies; tile: the patch's, cut off where
    the picture ends. Raises AecodecError if its pixels are damaged."""
    shared = tile.overlap(area)
    if shared is None:
        return
    _check(patch.data, tile.width, tile.height)
    with foreign("damaged chunk PTCH"):
        pixels = np.asarray(open_image(patch.data, ("WEBP",)).convert("RGB"))[shared.within(tile).slices]
    inside = of_pixels(patch.mask, tile.size)[shared.within(tile).slices]
    target = colour[shared.within(area).slices]
    target[inside] = pixels[inside] if colour.ndim == 3 else pixels[inside][:, 1]


def _check(data: bytes, width: int, height: int) -> None:
    """Raises FormatError unless it is a WebP with one lossless picture of this size and nothing else."""
    bits = int.from_bytes(data[21:25], "little")
    if (
        data[:4] != b"RIFF"
        or data[8:16] != b"WEBPVP8L"
        or int.from_bytes(data[4:8], "little") + 8 != len(data)
        or (int.from_bytes(data[16:20], "little") + 1) // 2 * 2 + 20 != len(data)
        or data[20:21] != b"\x2f"
        or ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1) != (width, height)
    ):
        raise FormatError(f"chunk PTCH holds what is no lossless WebP of {width}x{height} pixels")


def _in_blocks(box: Box) -> tuple[slice, slice]:
    return box.rounded_out(BLOCK).in_units(BLOCK).slices


def _commonest(pixels: Pixels) -> Pixels:
    """(N, 3) uint8 to the colour that is there most often."""
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    colours, counts = np.unique(packed, return_counts=True)
    most = int(colours[counts.argmax()])
    return np.array([most >> 16, most >> 8 & 255, most & 255], np.uint8)
