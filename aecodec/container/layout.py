"""What there is in a file, as values: header, chunks, tiles; and the constants of docs/format/container.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aecodec.errors import LimitError

MAGIC = bytes([0xAE, 0x43, 0x0D, 0x0A, 0x1A])
VERSION = 1
TILED, CHUNKED = 8, 4  # bits of `kind`
MODEL_ID_BYTES = 4
QUALITY_MIN, QUALITY_MAX = 100, 10000  # hundredths
TILE_UNIT = 64
VARINT_BYTES = 5  # at most: 35 bits
CRC_BYTES = 4
MAX_CHUNKS = 64
MAX_TILE_PIXELS = 2**22  # padding included: a decoder holds whole tiles, so this bounds what a forged file can ask for
MAX_PADDING = 4  # padded pixels for each pixel, where they are more than of a tile: only strips have more
DEFAULT_PIXEL_LIMIT = 178_956_970  # where Pillow, too, refuses a picture as a decompression bomb

ALPHA, DEPTH, PATCHES, EXIF, ICC, XMP = "ALPH", "DPTH", "PTCH", "exif", "iccp", "xmpd"
LOCAL = "locl"  # written where the model's family is not portable
# A type that begins with a capital must be understood, others may be ignored.
KNOWN_CHUNKS = (ALPHA, DEPTH, PATCHES, EXIF, ICC, XMP)


@dataclass(frozen=True)
class Header:
    """What a file says of itself. tile is the side in pixels, 0 if the whole picture is one tile."""

    width: int
    height: int
    channels: int
    model_id: bytes
    quality: int
    tile: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        if not self.tile:
            return 1, 1
        return -(-self.height // self.tile), -(-self.width // self.tile)

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width in pixels, padded to multiples of 64."""
        return -(-self.height // TILE_UNIT) * TILE_UNIT, -(-self.width // TILE_UNIT) * TILE_UNIT


@dataclass(frozen=True)
class File:
    """A file taken apart. Chunks by type; tiles row by row, those in `lost` empty because they are damaged."""

    header: Header
    chunks: Mapping[str, bytes]
    tiles: Sequence[bytes]
    lost: frozenset[int] = frozenset()


def check_limit(width: int, height: int, pixel_limit: int) -> None:
    """Raises LimitError if a picture has more pixels than the limit, or if it is a strip of which padding makes far
    more: what decoding takes follows from the pixels that a picture has, not from its shape."""
    if width * height > pixel_limit:
        raise LimitError(f"{width}x{height} pixels are more than the limit of {pixel_limit}; raise it if you trust it")
    padded_height, padded_width = Header(width, height, 3, b"", 0).padded_size
    if padded_height * padded_width > max(MAX_PADDING * width * height, MAX_TILE_PIXELS):
        raise LimitError(
            f"{width}x{height} pixels are a strip that padding to {TILE_UNIT} pixels makes more than {MAX_PADDING} "
            "times as large"
        )
