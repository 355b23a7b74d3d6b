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
from dataclasses import dataclass, replace

from aecodec.errors import FormatError, LimitError

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
MAX_PADDING = 4  # padded pixels for each pixel of the limit; only strips narrower than 16 pixels have more
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
    chunks: dict[str, bytes] = {}
    for _ in range(count):
        _read_chunk(cursor, chunks)
    tiles = [_read_tile(cursor, header, number, length) for number, length in enumerate(lengths)]
    if cursor.at != len(data):
        raise FormatError(f"{len(data) - cursor.at} bytes follow the last tile, at byte {cursor.at}")
    return File(header, chunks, tiles)


def salvage(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> tuple[File, list[str]]:
    """What is intact of a damaged file, and what is not, a phrase for each damage; no phrases if all is intact.

    A damaged chunk is left out; without its alpha plane a picture becomes opaque. Damaged tiles are in `File.lost`.
    Raises FormatError if the header or every tile is damaged, LimitError as `read` does.
    """
    cursor = _Cursor(data)
    header, lengths, count = _read_header(cursor, pixel_limit)
    end_of_header = cursor.at
    damage: list[str] = []
    chunks: dict[str, bytes] = {}
    for _ in range(count):
        try:
            _read_chunk(cursor, chunks)
        except _ChecksumError as error:
            damage.append(str(error))
        except FormatError as error:
            damage.append(f"{error}, and the chunks after it")
            break
    if damage and header.channels in (2, 4) and ALPHA not in chunks:
        header = replace(header, channels=header.channels - 1)
        damage.append("the alpha channel is lost")
    if damage and header.tile:  # the length of a damaged chunk may be wrong, but tiles end where the file ends
        cursor.at = max(end_of_header, len(data) - sum(lengths) - CRC_BYTES * len(lengths))
    tiles, lost = [], set()
    for number, length in enumerate(lengths):
        try:
            tiles.append(_read_tile(cursor, header, number, length))
        except FormatError as error:
            row, column = divmod(number, header.tile_grid[1])
            damage.append(f"{error} (pixels from {column * header.tile},{row * header.tile} on)")
            tiles.append(b"")
            lost.add(number)
    if len(lost) == len(tiles):
        raise FormatError(f"nothing can be salvaged: {damage[-1]}")
    if cursor.at < len(data) and not lost:
        damage.append(f"{len(data) - cursor.at} bytes follow the last tile, at byte {cursor.at}")
    return File(header, chunks, tiles, frozenset(lost)), damage


def read_header(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> Header:
    """The header alone, verified; `data` may be only the beginning of a file."""
    return _read_header(_Cursor(data), pixel_limit)[0]


def check_limit(width: int, height: int, pixel_limit: int) -> None:
    """Raises LimitError if a picture has more pixels than the limit, or far more with its padding."""
    padded_height, padded_width = Header(width, height, 3, b"", 0).padded_size
    if width * height > pixel_limit or padded_width * padded_height > max(MAX_PADDING * pixel_limit, MAX_TILE_PIXELS):
        raise LimitError(f"{width}x{height} pixels are more than the limit of {pixel_limit}; raise it if you trust it")


def _tile_pixels(header: Header) -> int:
    """Pixels of the largest tile, with its padding."""
    height, width = (min(header.tile or side, side) for side in header.padded_size)
    return height * width


def _read_header(cursor: _Cursor, pixel_limit: int) -> tuple[Header, list[int], int]:
    """(header, bytes of each tile or [0] if not tiled, number of chunks)"""
    if not cursor.data:
        raise FormatError("the file is empty")
    if cursor.data[: len(MAGIC)] != MAGIC[: len(cursor.data)]:
        raise FormatError(f"not an .aec file (its first {len(MAGIC)} bytes are others)")
    cursor.take(len(MAGIC), "header (magic)")
    kind = cursor.take(1, "header (kind)")[0]
    if kind >> 4 != VERSION:
        raise FormatError(
            f"header: format version {kind >> 4}, at byte {cursor.at - 1}; this aecodec reads version {VERSION}, "
            "a newer one may read it"
        )
    channels = (kind & 3) + 1
    model_id = cursor.take(MODEL_ID_BYTES, "header (model)")
    width, height = cursor.varint("header (width)"), cursor.varint("header (height)")
    quality = int.from_bytes(cursor.take(2, "header (quality)"), "little")
    header = Header(width, height, channels, model_id, quality)
    lengths, count = [0], 0
    if kind & TILED:
        header = replace(header, tile=cursor.varint("header (tile)") * TILE_UNIT)
        if not header.tile or not width or not height:
            raise FormatError(f"header: {width}x{height} pixels in tiles of {header.tile}: none may be zero")
        rows, columns = header.tile_grid
        if rows * columns > len(cursor.data):  # a tile takes at least one byte for its length
            raise FormatError(f"header: {rows * columns} tiles cannot be in {len(cursor.data)} bytes")
        lengths = [cursor.varint(f"header (length of tile {i})") for i in range(rows * columns)]
    if kind & CHUNKED:
        count = cursor.varint("header (chunk count)")
    cursor.check(cursor.data[: cursor.at], "header", 0)
    # Only now is it known that the fields are what was written.
    if not width or not height or not QUALITY_MIN <= quality <= QUALITY_MAX:
        raise FormatError(f"header: impossible {width}x{height} pixels, {channels} channels, quality {quality / 100}")
    if kind & CHUNKED and not 1 <= count <= MAX_CHUNKS:
        raise FormatError(f"header: {count} chunks, expected 1 to {MAX_CHUNKS}")
    check_limit(width, height, pixel_limit)
    if _tile_pixels(header) > MAX_TILE_PIXELS:
        raise FormatError(f"header: a tile of {_tile_pixels(header)} pixels, expected at most {MAX_TILE_PIXELS}")
    return header, lengths, count


def _read_chunk(cursor: _Cursor, chunks: dict[str, bytes]) -> None:
    """Adds the next chunk to those before it."""
    start = cursor.at
    tag = cursor.take(4, "chunk (type)")
    if not tag.isalpha():
        raise FormatError(f"chunk of type {tag!r}, which is not four letters, at byte {start}")
    name = tag.decode("ascii")
    data = cursor.take(cursor.varint(f"chunk {name} (length)"), f"chunk {name}")
    cursor.check(tag + data, f"chunk {name}", start)
    if name in chunks:
        raise FormatError(f"chunk {name} appears twice, at byte {start}")
    if name not in KNOWN_CHUNKS and name[0].isupper():
        raise FormatError(f"chunk {name} is needed to show the picture and is not known; a newer aecodec may read it")
    chunks[name] = data


def _read_tile(cursor: _Cursor, header: Header, number: int, length: int) -> bytes:
    start = cursor.at
    tile = cursor.take(length if header.tile else len(cursor.data) - start - CRC_BYTES, f"tile {number}")
    cursor.check(tile, f"tile {number}", start)
    return tile


class _ChecksumError(FormatError):
    """The extent of something is known, but its bytes are not what was written."""


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

    def check(self, covered: bytes, what: str, start: int) -> None:
        """Reads a checksum. start: where what it belongs to begins."""
        if self.take(CRC_BYTES, f"{what} (checksum)") != _crc(covered):
            raise _ChecksumError(f"damaged: {what}, bytes {start} to {self.at}, does not match its checksum")


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
