"""Which blocks of a picture a lossless code holds, and with how many colours: what costs least at a quality.

Cost is bytes, and the distortion in bytes by what they are worth at the quality. So with the quality the network's
share of a drawing gives way, block by block, to a lossless code of few colours, of more, and of all.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aecodec import container, patches
from aecodec.canvas import Decode
from aecodec.container import File
from aecodec.errors import FormatError
from aecodec.patches import BLOCK, Mask, drawing
from aecodec.picture import Picture, Pixels
from aecodec.tiling import Box

Code = Callable[[Picture], File]  # by the network alone, at the same quality
OfBlocks = npt.NDArray[np.float32]

COLOURS = (8, 12, 16, 24, 32, 48, 64, 96)  # along edges; the last version has all
FIRST = 3  # of these, is looked at first
HOPE = 0.1  # of what zlib needs for a block: no lossless code was seen to need less, but for blocks of one colour
MOST = 0.5  # part of drawn blocks from which it is tried whether all of the picture is better off without the network
THOROUGH_PIXELS = 2**20  # larger pictures would wait too long for a smaller lossless code
# What a bit is worth in squared levels, by quality, where the network codes photographs: measured on held-out ones with
# aec1-visual-1, from quality 10 to 98.
WORTH, WORTH_SLOPE = 175.0, 0.052  # at quality 50; of its logarithm, per step of quality
# At the bottom bytes count more and more, so that quality 1 is as small as the network can do it.
SCARCE_BELOW, SCARCE_SLOPE = 8.0, 0.8  # quality; of the logarithm of a bit's worth, per step of quality
# What missing colours change, along edges, is seen more than what the network changes: with four times its price,
# twenty screens and drawings score 2 to 3 points of SSIMULACRA2 more at equal bytes; not where both are bad.
SEEN, SEEN_FROM, SEEN_ALL = 4.0, 10.0, 25.0  # times; from this quality on, wholly from that on
# The nearer to 100 the quality, the more counts that a picture comes back exactly and not only as good as that.
EXACT_FROM, EXACT_SLOPE = 60.0, 0.15  # quality; of the logarithm of what missing colours cost, per step of quality


def worth_of_a_bit(quality: float) -> float:
    """Squared levels of a pixel (the mean of its channels) that one more bit takes away. quality: 1 to 100."""
    return WORTH * math.exp(-WORTH_SLOPE * (quality - 50) + SCARCE_SLOPE * max(SCARCE_BELOW - quality, 0))


def price_of_colours(quality: float, visual: bool) -> float:
    """Bytes that a squared level costs where a lossless code has fewer colours than the picture. quality: 1 to 100.
    visual: whether files are made for the eye, or for small errors."""
    seen = (SEEN if visual else 1) ** min(max((quality - SEEN_FROM) / (SEEN_ALL - SEEN_FROM), 0), 1)
    return seen * math.exp(EXACT_SLOPE * max(quality - EXACT_FROM, 0)) / (8 * worth_of_a_bit(quality))


class Version(NamedTuple):
    """What a lossless code may hold instead of the picture: its pixels, and of each block its squared errors, and its
    bytes as zlib packs it: about in proportion to those of the lossless code."""

    pixels: Pixels
    errors: OfBlocks
    packed: OfBlocks


class Candidate(NamedTuple):
    """A version, or of some blocks one and of the others another, at a quality: pixels, squared errors of each block,
    and how many bytes it takes, about."""

    pixels: Pixels
    errors: OfBlocks
    sizes: OfBlocks


class Patcher:
    """Decides which blocks of a picture are patches, and keeps what is the same of it at all qualities.

    tiles: of the padded picture. visual: see `price_of_colours`. Attributes: mask, the blocks that look drawn.
    """

    def __init__(self, picture: Picture, tiles: Sequence[Box], visual: bool):
        self.picture, self.tiles, self._visual = picture, tiles, visual
        self.mask: Mask = np.zeros((1, 1), bool)
        self._versions: dict[int, Version] = {}
        self._ratios: dict[int, float] = {}  # of bytes of the lossless code to those of zlib, of each version
        self._chunks: dict[bytes, bytes] = {}
        if picture.depth == 8:
            self._steps = drawing.steps(picture.colour)
            self.mask = drawing.drawn(self._steps)

    def patched(self, file: File, code: Code, decode: Decode) -> bytes:
        """The bytes of a file by the network alone, or of one with patches, if that costs less."""
        plain = container.write(file)
        if not self.mask.any():
            return plain
        quality = file.header.quality / 100
        levels, colours = 1 / (8 * worth_of_a_bit(quality)), price_of_colours(quality, self._visual)
        errors = self._errors(file, decode)
        lossy = errors * levels + self._share(sum(map(len, file.tiles)))
        pixels = self.picture.pixels
        best, least = plain, len(plain) + float(errors.sum()) * levels
        for version in self._candidates(lossy, colours):
            if not np.isfinite(version.sizes).all():
                continue
            for mask in self._choices(lossy - version.sizes - version.errors * colours):
                chunk = self._chunk(version, mask)
                left = float(version.errors[mask].sum()) * colours + float(errors[~mask].sum()) * levels
                if len(chunk) + left >= least:
                    continue  # whatever the rest takes
                data = self._without_network(file, version, chunk, decode) if mask.all() else None
                if data is None:
                    rest = replace(self.picture, colour=patches.without(self.picture.colour, mask, self.tiles))
                    data = container.write(_with_chunk(code(rest), chunk))
                if len(data) + left < least:
                    best, least, chosen = data, len(data) + left, (version, mask)
        if best is not plain and not chosen[0].errors[chosen[1]].any() and pixels <= THOROUGH_PIXELS:
            # Of all colours the slow code is up to half smaller, of a few it is not.
            slow = _with_chunk(container.read(best, pixels), self._chunk(*chosen, thorough=True))
            best = min(best, container.write(slow), key=len)
        return best

    def _choices(self, gains: OfBlocks) -> list[Mask]:
        """The sets of blocks that are tried: those drawn ones that gain, and all."""
        mask = self.mask & (gains > 0)
        sets = [mask] if mask.any() else []
        return sets + ([np.ones_like(mask)] if self.mask.mean() > MOST and not mask.all() else [])

    def _candidates(self, lossy: OfBlocks, colours: float) -> list[Candidate]:
        """The version that costs least, beside those with a few colours more and fewer; with all colours in blocks in
        which that costs less, and in all of them. None where no version can gain."""

        def costs(number: int) -> OfBlocks:
            sizes = self._sizes(number, lossy, colours)
            return np.minimum(sizes + self._version(number).errors * colours, lossy)[self.mask]

        def candidate(number: int) -> Candidate:
            version = self._version(number)
            return Candidate(version.pixels, version.errors, self._sizes(number, lossy, colours))

        at, found = FIRST, costs(FIRST).sum()
        for step in (1, -1):
            start = at
            while 0 <= at + step < len(COLOURS) and (other := costs(at + step).sum()) < found:
                at, found = at + step, other
            if at != start:
                break
        few, exact = candidate(at), candidate(len(COLOURS))
        whole = exact.sizes <= few.sizes + few.errors * colours
        if whole[self.mask].all():
            return [exact]
        if not whole[self.mask].any():
            return [few]
        inside = patches.of_pixels(whole, few.pixels.shape[:2])
        pixels = np.where(inside if few.pixels.ndim == 2 else inside[:, :, None], exact.pixels, few.pixels)
        parts = (np.where(whole, one, other) for one, other in zip(exact[1:], few[1:], strict=True))
        return [Candidate(pixels, *parts), exact]

    def _errors(self, file: File, decode: Decode) -> OfBlocks:
        """Squared errors of the blocks that are looked at in a file, tile by tile; 0 of the others, for the sake of
        time."""
        colour, blocks = self.picture.colour, self._looked_at
        if blocks.all():
            return patches.squared_errors(colour, decode([file], None)[0].colour)
        errors = np.zeros(blocks.shape, np.float32)
        for tile in self.tiles:
            own = tile.rounded_out(BLOCK).in_units(BLOCK)
            rows, columns = (np.flatnonzero(blocks[own.slices].any(axis)) for axis in (1, 0))
            if len(rows):
                top, left, bottom, right = (
                    own.top + rows[0],
                    own.left + columns[0],
                    own.top + rows[-1],
                    own.left + columns[-1],
                )
                part = colour[top * BLOCK : (bottom + 1) * BLOCK, left * BLOCK : (right + 1) * BLOCK]
                region = int(left) * BLOCK, int(top) * BLOCK, part.shape[1], part.shape[0]
                found = patches.squared_errors(part, decode([file], [region])[0].colour)
                errors[top : bottom + 1, left : right + 1] = found
        return np.where(blocks, errors, np.float32(0))

    def _version(self, number: int) -> Version:
        if number not in self._versions:
            colour = pixels = self.picture.colour
            if number < len(COLOURS):
                pixels = drawing.with_fewer_colours(colour, self._steps, COLOURS[number], self._looked_at)
            packed = _packed_sizes(pixels, self._looked_at)
            self._versions[number] = Version(pixels, patches.squared_errors(colour, pixels), packed)
        return self._versions[number]

    @property
    def _looked_at(self) -> Mask:
        """The blocks that may be coded without loss: drawn ones, or all."""
        return np.ones_like(self.mask) if self.mask.mean() > MOST else self.mask

    def _sizes(self, number: int, lossy: OfBlocks, colours: float) -> OfBlocks:
        """How many bytes each block takes in a version, about; infinitely many where it cannot gain, so that blocks of
        photographs that look drawn cost no time."""
        version, blocks = self._version(number), self._looked_at
        if number not in self._ratios:
            if not (HOPE * version.packed + version.errors * colours < lossy)[self.mask].any():
                return np.full_like(version.packed, np.inf)
            made = patches.patches_of(version.pixels, blocks, self.tiles)
            self._ratios[number] = sum(len(patch.data) for patch in made) / float(version.packed[blocks].sum())
        return version.packed * np.float32(self._ratios[number])

    def _share(self, size: int) -> OfBlocks:
        """How many bytes of the network's each block takes, about: by how much there is to see in it."""
        seen = patches.sums(np.log2(1 + self._steps.max(0) / np.float32(drawing.EDGE)))
        total = float(seen.sum())
        return seen * np.float32(size / total) if total else seen

    def _chunk(self, version: Candidate, mask: Mask, thorough: bool = False) -> bytes:
        key = hashlib.sha256(bytes([thorough]) + mask.tobytes() + version.pixels.tobytes()).digest()
        if key not in self._chunks:
            made = patches.patches_of(version.pixels, mask, self.tiles, thorough)
            self._chunks[key] = patches.pack(made)
        return self._chunks[key]

    def _without_network(self, file: File, version: Candidate, chunk: bytes, decode: Decode) -> bytes | None:
        """The file in which patches cover all, so that it does not matter what the network makes of empty payloads;
        None if the family has no meaning for these."""
        other = replace(_with_chunk(file, chunk), tiles=[b""] * len(file.tiles))
        try:
            (picture,) = decode([other], None)
            return container.write(other) if np.array_equal(picture.colour, version.pixels) else None
        except FormatError:
            return None


def _with_chunk(file: File, chunk: bytes) -> File:
    return replace(file, chunks={**file.chunks, container.PATCHES: chunk})


def _packed_sizes(pixels: Pixels, blocks: Mask) -> OfBlocks:
    """Bytes of these blocks as zlib packs them; 0 of the others."""
    sizes = np.zeros(blocks.shape, np.float32)
    for row, column in np.argwhere(blocks):
        y, x = row * BLOCK, column * BLOCK
        sizes[row, column] = len(zlib.compress(pixels[y : y + BLOCK, x : x + BLOCK].tobytes(), 1))
    return sizes
