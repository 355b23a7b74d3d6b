"""Blocks of a picture that are coded without loss: what is drawn, not photographed, and what a network codes badly.

Text, charts and screenshots have few colours and hard edges; where their distortion is far above what their quality
means, a lossless code of these blocks is often no larger. The network then codes smooth colours in their place, which
cost next to nothing. docs/format/container.md.
"""

from __future__ import annotations

import io
import math
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

FLAT = 0.5  # part of a drawn block's pixels that equal their neighbours across, or down
CONTRAST = 12  # levels between neighbours somewhere in a drawn block
SHARE = 0.5  # of the price of a lossless block that its distortion has to outweigh: the network spends bits, too
MOST = 0.5  # part of the flat blocks from which the empty ones among them follow the others
BAND = 16  # rows of blocks that are looked at together, for the sake of memory
# What a bit is worth in squared levels, by quality, where the network codes photographs: on Kodak, from quality 10 to
# 90, PSNR rises by 0.18 dB a step and the logarithm of the size by 0.04.
WORTH, WORTH_SLOPE = 50.0, 0.078  # at quality 50; of its logarithm, per step of quality


class Patch(NamedTuple):
    """The lossless blocks of a tile: its number, which blocks, and a WebP of the tile's part of the picture."""

    tile: int
    mask: Mask
    data: bytes


def worth_of_a_bit(quality: int) -> float:
    """Squared levels of a pixel (the mean of its channels) that one more bit takes away. quality: hundredths."""
    return WORTH * math.exp(-WORTH_SLOPE * (quality / 100 - 50))


def drawn(colour: Pixels) -> tuple[Mask, Mask]:
    """Which blocks of a picture, (H, W) or (H, W, 3) uint8, are flat: there are by far fewer changes in them than noise
    makes; and which of these look drawn: some of the changes are hard."""
    bands = [_drawn(colour[top : top + BAND * BLOCK]) for top in range(0, len(colour), BAND * BLOCK)]
    return np.concatenate([flat for flat, _ in bands]), np.concatenate([hard for _, hard in bands])


def _drawn(colour: Pixels) -> tuple[Mask, Mask]:
    planes = colour if colour.ndim == 3 else colour[:, :, None]
    same = np.zeros((2, *planes.shape[:2]), bool)  # as the next one across, down
    np.equal(planes[:, 1:], planes[:, :-1]).all(2, out=same[0, :, :-1])
    np.equal(planes[1:], planes[:-1]).all(2, out=same[1, :-1])
    flat = np.maximum(_means(same[0]), _means(same[1])) > FLAT
    if not flat.any():
        return flat, flat
    levels = planes.astype(np.int16)
    across = np.abs(np.diff(levels, axis=1, append=levels[:, -1:])).max(2)
    down = np.abs(np.diff(levels, axis=0, append=levels[-1:])).max(2)
    return flat, flat & (_means(np.maximum(across, down) > CONTRAST) > 0)


def squared_errors(a: Pixels, b: Pixels) -> npt.NDArray[np.float32]:
    """Of each block, the sum over its pixels of the mean squared difference of the channels."""
    bands = []
    for top in range(0, len(a), BAND * BLOCK):
        difference = a[top : top + BAND * BLOCK].astype(np.float32) - b[top : top + BAND * BLOCK]
        squares = difference * difference
        bands.append(_sums(squares.mean(2) if squares.ndim == 3 else squares))
    return np.concatenate(bands)


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


def choices(
    colour: Pixels, flat: Mask, hard: Mask, errors: npt.NDArray[np.float32], worth: float, tiles: Sequence[Box]
) -> list[Mask]:
    """The sets of blocks that may be better off without loss. flat, hard: see `drawn`. errors: of each block, as the
    network has coded it, see `squared_errors`. worth: of a byte, in squared levels.

    First the blocks that look drawn and whose distortion costs more than their lossless code, then all that are flat,
    then all: what is noisy in a drawn picture may cost less than the network's share of it.
    """
    bytes_of_block = sum(len(patch.data) for patch in patches_of(colour, hard, tiles)) / int(hard.sum())
    mask = hard & (errors > SHARE * bytes_of_block * worth)
    if not mask.any():
        return []
    if mask.sum() > MOST * flat.sum():
        mask = flat
    sets = [mask, flat, np.ones_like(flat)]
    return [each for number, each in enumerate(sets) if not any(np.array_equal(each, other) for other in sets[:number])]


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


def _sums(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """(H, W) to sums over blocks."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], BLOCK), axis=0, dtype=np.float32)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], BLOCK), axis=1)


def _means(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return _sums(values) / _sums(np.ones(values.shape, bool))


def _commonest(pixels: Pixels) -> Pixels:
    """(N, 3) uint8 to the colour that is there most often."""
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    colours, counts = np.unique(packed, return_counts=True)
    most = int(colours[counts.argmax()])
    return np.array([most >> 16, most >> 8 & 255, most & 255], np.uint8)
