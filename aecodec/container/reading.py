"""Files taken apart, checked before anything is believed."""

from __future__ import annotations

from dataclasses import replace

from aecodec.container.layout import (
    ALPHA,
    CHUNKED,
    CRC_BYTES,
    DEFAULT_PIXEL_LIMIT,
    KNOWN_CHUNKS,
    MAGIC,
    MAX_CHUNKS,
    MAX_TILE_PIXELS,
    MODEL_ID_BYTES,
    QUALITY_MAX,
    QUALITY_MIN,
    TILE_UNIT,
    TILED,
    VERSION,
    File,
    Header,
    check_limit,
)
from aecodec.container.primitives import ChecksumError, Cursor, start_of_checked_end
from aecodec.errors import FormatError


def read(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> File:
    """Takes a file apart and verifies every checksum.

    Raises FormatError if the bytes are not a whole, undamaged file of this version; LimitError if the picture has more
    pixels than `pixel_limit`. Nothing is allocated for pixels that the header only promises.
    """
    cursor = Cursor(data)
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
    cursor = Cursor(data)
    header, lengths, count = _read_header(cursor, pixel_limit)
    chunks, damage = _salvage_chunks(cursor, header, lengths, count)
    if damage and header.channels in (2, 4) and ALPHA not in chunks:
        header = replace(header, channels=header.channels - 1)
        damage.append("the alpha channel is lost")
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


def _salvage_chunks(
    cursor: Cursor, header: Header, lengths: list[int], count: int
) -> tuple[dict[str, bytes], list[str]]:
    """The intact chunks, and phrases for the damaged ones. Leaves the cursor where the tiles begin."""
    data = cursor.data
    chunks: dict[str, bytes] = {}
    damage: list[str] = []
    end = len(data)  # of the chunks, once it has to be known: the lengths of damaged ones may be wrong
    while count > 0:
        start = cursor.at
        try:
            _read_chunk(cursor, chunks)
            count -= 1
            continue
        except FormatError as error:
            damage.append(str(error))
            resumed = cursor.at if isinstance(error, ChecksumError) else None
        if end == len(data):
            if header.tile:
                end = len(data) - sum(lengths) - CRC_BYTES * len(lengths)
            else:
                end = start_of_checked_end(data, start) or cursor.at
            end = max(end, start)
        # What follows is either where the damaged length says, or where a chunk with a right checksum begins.
        if resumed is None or not (resumed == end or _begins_chunk(data, resumed, end)):
            resumed = next((at for at in range(start + 1, end) if _begins_chunk(data, at, end)), end)
        cursor.at = resumed
        count = count - 1 if resumed < end else 0
    if damage:
        cursor.at = end
    return chunks, damage


def _begins_chunk(data: bytes, at: int, end: int) -> bool:
    """Whether there is a chunk with a right checksum here, before `end`."""
    if at >= end or not data[at : at + 4].isalpha():
        return False
    cursor = Cursor(data)
    cursor.at = at
    try:
        _read_chunk(cursor, {})
    except FormatError:
        return False
    return cursor.at <= end


def read_header(data: bytes, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> Header:
    """The header alone, verified; `data` may be only the beginning of a file."""
    return _read_header(Cursor(data), pixel_limit)[0]


def _tile_pixels(header: Header) -> int:
    """Pixels of the largest tile, with its padding."""
    height, width = (min(header.tile or side, side) for side in header.padded_size)
    return height * width


def _read_header(cursor: Cursor, pixel_limit: int) -> tuple[Header, list[int], int]:
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


def _read_chunk(cursor: Cursor, chunks: dict[str, bytes]) -> None:
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


def _read_tile(cursor: Cursor, header: Header, number: int, length: int) -> bytes:
    start = cursor.at
    tile = cursor.take(length if header.tile else len(cursor.data) - start - CRC_BYTES, f"tile {number}")
    cursor.check(tile, f"tile {number}", start)
    return tile
