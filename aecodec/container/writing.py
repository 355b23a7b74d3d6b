"""Files from their parts."""

from __future__ import annotations

from aecodec.container.layout import CHUNKED, MAGIC, TILE_UNIT, TILED, VERSION, File
from aecodec.container.primitives import crc, encode_varint
from aecodec.errors import FormatError


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
    out += crc(bytes(out))
    for name, data in file.chunks.items():
        tag = name.encode("ascii")
        out += tag + encode_varint(len(data)) + data + crc(tag + data)
    for tile in file.tiles:
        out += tile + crc(tile)
    return bytes(out)
