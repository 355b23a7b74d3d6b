"""The .aec file, field by field as in docs/format/container.md. All integers are little-endian.

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

from aecodec.container.layout import (
    ALPHA,
    CHUNKED,
    CRC_BYTES,
    DEFAULT_PIXEL_LIMIT,
    DEPTH,
    EXIF,
    ICC,
    KNOWN_CHUNKS,
    LOCAL,
    MAGIC,
    MAX_CHUNKS,
    MAX_TILE_PIXELS,
    MODEL_ID_BYTES,
    PATCHES,
    QUALITY_MAX,
    QUALITY_MIN,
    TILE_UNIT,
    TILED,
    VERSION,
    XMP,
    File,
    Header,
    check_limit,
)
from aecodec.container.primitives import Cursor, crc, encode_varint
from aecodec.container.reading import read, read_header, salvage
from aecodec.container.writing import write

__all__ = [
    "ALPHA",
    "CHUNKED",
    "CRC_BYTES",
    "DEFAULT_PIXEL_LIMIT",
    "DEPTH",
    "EXIF",
    "ICC",
    "KNOWN_CHUNKS",
    "LOCAL",
    "MAGIC",
    "MAX_CHUNKS",
    "MAX_TILE_PIXELS",
    "MODEL_ID_BYTES",
    "PATCHES",
    "QUALITY_MAX",
    "QUALITY_MIN",
    "TILED",
    "TILE_UNIT",
    "VERSION",
    "XMP",
    "Cursor",
    "File",
    "Header",
    "check_limit",
    "crc",
    "encode_varint",
    "read",
    "read_header",
    "salvage",
    "write",
]
