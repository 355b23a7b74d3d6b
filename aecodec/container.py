"""The .aec file, field by field as in docs/format.md. All integers are little-endian.

magic      5 bytes   AE 43 0D 0A 1A
kind       1 byte    bits 4-7 version (1), 3 tiled, 2 chunks, 0-1 channels - 1 (grey, grey + alpha, RGB, RGBA)
model      4 bytes   first bytes of the SHA-256 of the weights file
width      varint    pixels, at least 1
height     varint    pixels, at least 1
quality    2 bytes   hundredths, 100..10000
tile       varint    if tiled: side of the tiles, in units of 64 pixels, at least 1
lengths    varints   if tiled: bytes of each tile, row by row, without its checksum
count      varint    if chunks: number of chunks, at least 1
check      4 bytes   CRC-32 of everything before
chunks               each: type (4 ASCII letters), length (varint), data, CRC-32 of type and data
tiles                each: data, CRC-32 of data; if not tiled, the only tile goes on to the end of the file
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aecodec.errors import FormatError, LimitError

MAGIC = bytes([0xAE, 0x43, 0x0D, 0x0A, 0x1A])
VERSION = 1
TILED, CHUNKED = 8, 4  # bits of `kind`
MODEL_ID_BYTES = 4
QUALITY_MIN, QUALITY_MAX = 100, 10000  # hundredths
TILE_UNIT = 64
VARINT_BYTES = 5  # at most: 35 bits
MAX_CHUNKS = 64
DEFAULT_PIXEL_LIMIT = 178_956_970  # where Pillow, too, refuses a picture as a decompression bomb

ALPHA, EXIF, ICC, XMP = "ALPH", "exif", "iccp", "xmpd"
KNOWN_CHUNKS = (ALPHA, EXIF, ICC, XMP)  # a type that begins with a capital must be understood, others may be ignored


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
    def tile_grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        if not self.tile:
            return 1, 1
        return -(-self.height // self.tile), -(-self.width // self.tile)


@dataclass(frozen=True)
class File:
    """A file taken apart. Chunks by type; tiles row by row."""

    header: Header
    chunks: Mapping[str, bytes]
    tiles: Sequence[bytes]


def write(file: File) -> bytes:
    """The bytes of a file. Raises FormatError if the fields contradict each other."""
    header = file.header
    rows, columns = header.tile_grid
    if len(file.tiles) != rows * columns or header.tile % TILE_UNIT:
        raise FormatError(f"{len(file.tiles)} tiles of {header.tile} pixels do not make {header.width}x{header.height}")
    kind = VERSION << 4 | (TILED if header.tile else 0) | (CHUNKED if file.chunks else 0) | (header.channels - 1)
    out = bytearray(MAGIC)
    out.append(kind)
    out += header.model_id
    out += encode_varint(header.width) + encode_varint(header.height) + header.quality.to_bytes(2, "little")
    if header.tile:
        out += encode_varint(header.tile // TILE_UNIT)
        out += b"".join(encode_varint(len(tile)) for tile in file.tiles)
    if file.chunks:
        out += encode_varint(len(file.chunks))
    out += _crc(bytes(out))
    for name, data in file.chunks.items():
        tag = name.encode("ascii")
        out += tag + encode_varint(len(data)) + data + _crc(tag + data)
    for tile in file.tiles:
        out += tile + _crc(tile)
    return bytes(out)


def read(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> File:
    """Takes a file apart and verifies every checksum.

    Raises FormatError if the bytes are not a whole, undamaged file of this version; LimitError if the picture has more
    pixels than `pixel_limit`. Nothing is allocated for pixels that the header only promises.
    """
    cursor = _Cursor(data)
    header, lengths, count = _read_header(cursor, pixel_limit)
    chunks = _read_chunks(cursor, count)
    tiles = []
    for number, length in enumerate(lengths):
        tile = cursor.take(length if header.tile else len(data) - cursor.at - 4, f"tile {number}")
        cursor.check(tile, f"tile {number}")
        tiles.append(tile)
    if cursor.at != len(data):
        raise FormatError(f"{len(data) - cursor.at} bytes follow the last tile, at byte {cursor.at}")
    return File(header, chunks, tiles)


def read_header(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> Header:
    """The header alone, verified; `data` may be only the beginning of a file."""
    return _read_header(_Cursor(data), pixel_limit)[0]


def _read_header(cursor: _Cursor, pixel_limit: int) -> tuple[Header, list[int], int]:
    """(header, bytes of each tile or [0] if not tiled, number of chunks)"""
    if not cursor.data:
        raise FormatError("the file is empty")
    if cursor.data[: len(MAGIC)] != MAGIC[: len(cursor.data)]:
        raise FormatError("not an .aec file (its first bytes are others)")
    cursor.take(len(MAGIC), "magic")
    kind = cursor.take(1, "kind")[0]
    if kind >> 4 != VERSION:
        raise FormatError(f"format version {kind >> 4}; this aecodec reads version {VERSION}, a newer one may read it")
    channels = (kind & 3) + 1
    model_id = cursor.take(MODEL_ID_BYTES, "model")
    width, height = cursor.varint("width"), cursor.varint("height")
    quality = int.from_bytes(cursor.take(2, "quality"), "little")
    header = Header(width, height, channels, model_id, quality)
    tile, lengths, count = 0, [0], 0
    if kind & TILED:
        tile = cursor.varint("tile") * TILE_UNIT
        header = Header(width, height, channels, model_id, quality, tile)
        if not tile or not width or not height:
            raise FormatError("width, height or tile size is zero")
        rows, columns = header.tile_grid
        if rows * columns > len(cursor.data):  # a tile takes at least one byte for its length
            raise FormatError(f"{rows * columns} tiles cannot be in {len(cursor.data)} bytes")
        lengths = [cursor.varint(f"length of tile {i}") for i in range(rows * columns)]
    if kind & CHUNKED:
        count = cursor.varint("chunk count")
    cursor.check(cursor.data[: cursor.at], "header")
    # Only now is it known that the fields are what was written.
    if not width or not height or not QUALITY_MIN <= quality <= QUALITY_MAX:
        raise FormatError(f"header: impossible {width}x{height} pixels, {channels} channels, quality {quality / 100}")
    if kind & CHUNKED and not 1 <= count <= MAX_CHUNKS:
        raise FormatError(f"header: {count} chunks, expected 1 to {MAX_CHUNKS}")
    if width * height > pixel_limit:
        raise LimitError(
            f"{width}x{height} pixels are more than the limit of {pixel_limit}; raise the limit to read it"
        )
    return header, lengths, count


def _read_chunks(cursor: _Cursor, count: int) -> dict[str, bytes]:
    chunks: dict[str, bytes] = {}
    for _ in range(count):
        tag = cursor.take(4, "chunk type")
        if not tag.isalpha():
            raise FormatError(f"chunk type {tag!r} is not four letters, at byte {cursor.at - 4}")
        name = tag.decode("ascii")
        data = cursor.take(cursor.varint(f"length of chunk {name}"), f"chunk {name}")
        cursor.check(tag + data, f"chunk {name}")
        if name in chunks:
            raise FormatError(f"chunk {name} appears twice")
        if name not in KNOWN_CHUNKS and name[0].isupper():
            raise FormatError(
                f"chunk {name} is needed to show the picture and is not known; a newer aecodec may read it"
            )
        chunks[name] = data
    return chunks


class _Cursor:
    """Reads on through bytes; everything that is missing or wrong is a FormatError that names the place."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise FormatError(f"truncated in {what}, at byte {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, what: str) -> int:
        value = 0
        for place in range(VARINT_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise FormatError(f"{what}: a number of more than {VARINT_BYTES} bytes, at byte {self.at}")

    def check(self, covered: bytes, what: str) -> None:
        at = self.at
        if self.take(4, f"checksum of {what}") != _crc(covered):
            raise FormatError(f"damaged: the checksum of {what} does not match, at byte {at}")


def encode_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, the lowest first, the high bit set on all but the last."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")
