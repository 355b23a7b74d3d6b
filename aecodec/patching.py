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
from aecodec.container import File
from aecodec.errors import FormatError
from aecodec.patches import BLOCK, Mask, drawing
from aecodec.picture import Picture, Pixels
from aecodec.tiling import Box

Write = Callable[[Picture], File]  # at the same quality
Read = Callable[[File], Picture]
OfBlocks = npt.NDArray[np.float32]

COLOURS = (8, 12, 16, 24, 32, 48, 64, 96)  # along edges; the last version has all
FIRST = 3  # of these, is looked at first
MOST = 0.5  # part of drawn blocks from which it is tried whether all of the picture is better off without the network
THOROUGH_PIXELS = 2**20  # larger pictures would wait too long for a smaller lossless code
# What a bit is worth in squared levels, by quality, where the network codes photographs: measured on held-out ones with
# aec1-visual-1, from quality 10 to 98.
WORTH, WORTH_SLOPE = 175.0, 0.052  # at quality 50; of its logarithm, per step of quality
# At the bottom bytes count more and more, so that quality 1 is as small as the network can do it.
SCARCE_BELOW, SCARCE_SLOPE = 8.0, 0.8  # quality; of the logarithm of a bit's worth, per step of quality
# The nearer to 100 the quality, the more counts that a picture comes back exactly and not only as good as that.
EXACT_FROM, EXACT_SLOPE = 60.0, 0.15  # quality; of the logarithm of what missing colours cost, per step of quality


def worth_of_a_bit(quality: float) -> float:
    """Squared levels of a pixel (the mean of its channels) that one more bit takes away. quality: 1 to 100."""
    return WORTH * math.exp(-WORTH_SLOPE * (quality - 50) + SCARCE_SLOPE * max(SCARCE_BELOW - quality, 0))


def price_of_colours(quality: float) -> float:
    """Bytes that a squared level costs where a lossless code has fewer colours than the picture. quality: 1 to 100."""
    return math.exp(EXACT_SLOPE * max(quality - EXACT_FROM, 0)) / (8 * worth_of_a_bit(quality))


class Version(NamedTuple):
    """What a lossless code may hold instead of the picture: its pixels, and of each block its bytes, about, and its
    squared errors."""

    pixels: Pixels
    sizes: OfBlocks
    errors: OfBlocks


class Drawing:
    """A picture, and what is the same of it at all qualities.

    tiles: of the padded picture. Attributes: mask, the blocks that look drawn.
    """

    def __init__(self, picture: Picture, tiles: Sequence[Box]):
        self.picture, self.tiles = picture, tiles
        self.mask: Mask = np.zeros((1, 1), bool)
        self._versions: dict[int, Version] = {}
        self._chunks: dict[bytes, bytes] = {}
        if picture.depth == 8:
            self._steps = drawing.steps(picture.colour)
            self.mask = drawing.drawn(self._steps)

    def patched(self, file: File, write: Write, read: Read) -> bytes:
        """The bytes of the file, or of one in which a lossless code holds some of its blocks, if that costs less."""
        plain = container.write(file)
        if not self.mask.any():
            return plain
        quality = file.header.quality / 100
        levels, colours = 1 / (8 * worth_of_a_bit(quality)), price_of_colours(quality)
        errors = patches.squared_errors(self.picture.colour, read(file).colour)
        lossy = errors * levels + self._share(sum(map(len, file.tiles)))
        pixels = self.picture.width * self.picture.height
        best, least = plain, len(plain) + float(errors.sum()) * levels
        for version in self._candidates(lossy, colours):
            for mask in self._choices(lossy - version.sizes - version.errors * colours):
                chunk = self._chunk(version, mask)
                left = float(version.errors[mask].sum()) * colours + float(errors[~mask].sum()) * levels
                if len(chunk) + left >= least:
                    continue  # whatever the rest takes
                data = self._without_network(file, version, chunk, read) if mask.all() else None
                if data is None:
                    rest = replace(self.picture, colour=patches.without(self.picture.colour, mask, self.tiles))
                    data = container.write(_with_chunk(write(rest), chunk))
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

    def _candidates(self, lossy: OfBlocks, colours: float) -> list[Version]:
        """The version that costs least, beside those with a few colours more and fewer; with all colours in blocks in
        which that costs less, and in all of them."""

        def costs(number: int) -> OfBlocks:
            version = self._version(number)
            return np.minimum(version.sizes + version.errors * colours, lossy)[self.mask]

        at, found = FIRST, costs(FIRST).sum()
        for step in (1, -1):
            start = at
            while 0 <= at + step < len(COLOURS) and (other := costs(at + step).sum()) < found:
                at, found = at + step, other
            if at != start:
                break
        few, exact = self._version(at), self._version(len(COLOURS))
        whole = exact.sizes <= few.sizes + few.errors * colours
        if whole[self.mask].all():
            return [exact]
        if not whole[self.mask].any():
            return [few]
        inside = patches.of_pixels(whole, few.pixels.shape[:2])
        pixels = np.where(inside if few.pixels.ndim == 2 else inside[:, :, None], exact.pixels, few.pixels)
        parts = (np.where(whole, one, other) for one, other in zip(exact[1:], few[1:], strict=True))
        return [Version(pixels, *parts), exact]

    def _version(self, number: int) -> Version:
        if number not in self._versions:
            colour = pixels = self.picture.colour
            if number < len(COLOURS):
                pixels = drawing.with_fewer_colours(colour, self._steps, COLOURS[number])
            everything = np.ones_like(self.mask)
            size = sum(len(patch.data) for patch in patches.patches_of(pixels, everything, self.tiles))
            sizes = _packed_sizes(pixels)
            self._versions[number] = Version(
                pixels, sizes * (size / sizes.sum()), patches.squared_errors(colour, pixels)
            )
        return self._versions[number]

    def _share(self, size: int) -> OfBlocks:
        """How many bytes of the network's each block takes, about: by how much there is to see in it."""
        seen = patches.sums(np.log2(1 + self._steps.max(0) / np.float32(drawing.EDGE)))
        total = float(seen.sum())
        return seen * np.float32(size / total) if total else seen

    def _chunk(self, version: Version, mask: Mask, thorough: bool = False) -> bytes:
        key = hashlib.sha256(bytes([thorough]) + mask.tobytes() + version.pixels.tobytes()).digest()
        if key not in self._chunks:
            made = patches.patches_of(version.pixels, mask, self.tiles, thorough)
            self._chunks[key] = patches.pack(made)
        return self._chunks[key]

    def _without_network(self, file: File, version: Version, chunk: bytes, read: Read) -> bytes | None:
        """The file in which patches cover all, so that it does not matter what the network makes of empty payloads;
        None if the family has no meaning for these."""
        other = replace(_with_chunk(file, chunk), tiles=[b""] * len(file.tiles))
        try:
            return container.write(other) if np.array_equal(read(other).colour, version.pixels) else None
        except FormatError:
            return None


def _with_chunk(file: File, chunk: bytes) -> File:
    return replace(file, chunks={**file.chunks, container.PATCHES: chunk})


def _packed_sizes(pixels: Pixels) -> OfBlocks:
    """Bytes of each block as zlib packs it: about in proportion to those of other lossless codes."""
    rows, columns = (range(0, side, BLOCK) for side in pixels.shape[:2])
    sizes = [[len(zlib.compress(pixels[y : y + BLOCK, x : x + BLOCK].tobytes(), 1)) for x in columns] for y in rows]
    return np.array(sizes, np.float32)
