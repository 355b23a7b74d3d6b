"""Mutated .aec files whose checksums are right, those of the PNG in them, too: what lies behind them is reached."""

from __future__ import annotations

from random import Random

from aecodec.container import CHUNKED, MAGIC, TILE_UNIT, TILED, File, crc, encode_varint
from aecodec.picture.inspect import png

EDGES = [0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 1000, 1024, 2**14, 2**16, 2**22, 2**31, 2**35 - 1]
QUALITIES = [0, 99, 100, 101, 5000, 9999, 10000, 10001, 65535]
TYPES = [b"ALPH", b"DPTH", b"PTCH", b"exif", b"iccp", b"xmpd", b"abcd", b"Abcd", b"EXIF", b"\0\0\0\0"]
PNG_TYPES = [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"iCCP", b"acTL", b"abCd"]
SIGNATURE = 8  # bytes of a PNG's


def changed(random: Random, data: bytes) -> bytes:
    """Bytes with a few changes: flipped, set, put in, removed, repeated."""
    out = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 4, 16])):
        at, count = random.randrange(len(out) + 1), random.choice([1, 2, 4, 8, 64])
        kind = random.randrange(6)
        if kind == 0:
            out[at:at] = random.randbytes(count)
        elif kind == 1:
            del out[at : at + count]
        elif kind == 2:
            out[at:at] = out[random.randrange(len(out) + 1) :][:count]
        elif at < len(out):
            out[at] = out[at] ^ 1 << random.randrange(8) if kind < 5 else random.choice([0, 1, 127, 128, 255])
    return bytes(out)


def changed_png(random: Random, data: bytes) -> bytes:
    """A PNG whose chunks are changed, moved, doubled, left out or others, with right checksums; if it is one."""
    chunks, at = [], SIGNATURE
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return changed(random, data)
    at = random.randrange(len(chunks))
    name, body = chunks[at]
    kind = random.randrange(6)
    if kind == 0:
        chunks.insert(at, (random.choice(PNG_TYPES), changed(random, body)))
    elif kind == 1:
        chunks.insert(random.randrange(len(chunks)), (name, body))
    elif kind == 2:
        del chunks[at]
    elif kind == 3:
        chunks[at] = random.choice(PNG_TYPES), body
    else:
        chunks[at] = name, changed(random, body)
    return data[:SIGNATURE] + b"".join(png.chunk(*each) for each in chunks)


def mutated(random: Random, seeds: list[File]) -> bytes:
    """One of the files with some of its fields changed."""
    seed, other = random.choice(seeds), random.choice(seeds)
    header = seed.header
    width, height, quality, tile, channels = header.width, header.height, header.quality, header.tile, header.channels
    chunks = [(name.encode(), data) for name, data in seed.chunks.items()]
    tiles, version, end = list(seed.tiles), 1, b""
    count = lengths = None  # those that are right
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        kind, at = random.randrange(16), random.randrange(len(tiles))
        if kind == 0:
            width = random.choice([random.choice(EDGES), random.randrange(1, 200)])
        elif kind == 1:
            height = random.choice([random.choice(EDGES), random.randrange(1, 200)])
        elif kind == 2:
            quality = random.choice([random.choice(QUALITIES), random.randrange(100, 10001)])
        elif kind == 3:
            tile = TILE_UNIT * random.choice([0, 1, 2, 3, 16, 2**10, 2**29])
        elif kind == 4:
            channels = random.randrange(1, 5)
        elif kind == 5:
            tiles[at] = random.choice(other.tiles)
        elif kind == 6:
            tiles[at] = random.randbytes(random.choice([0, 1, 4, 8, 100, 1000]))
        elif kind == 7:
            tiles[at] = tiles[at][: random.randrange(len(tiles[at]) + 1)]
        elif kind == 8:
            tiles[at] = changed(random, tiles[at])
        elif kind == 9:
            chunks.append((random.choice(TYPES), random.randbytes(random.choice([0, 1, 1, 10, 300]))))
        elif kind == 10:
            chunks += [(name.encode(), data) for name, data in other.chunks.items()]
        elif kind == 11:
            chunks = [chunk for chunk in chunks if random.randrange(2)]
        elif kind == 12:
            lengths = [random.choice([0, len(tile), len(tile) + 1, 2**35 - 1]) for tile in tiles]
        elif kind == 13:
            count = random.choice([0, 1, 2, 64, 65, 2**35 - 1])
        elif kind == 14:
            version, end = random.choice([(0, b""), (2, b""), (1, b"\0"), (1, bytes(8))])
        chunks = [
            (name, (changed_png if name == b"ALPH" else changed)(random, data)) if kind == 15 else (name, data)
            for name, data in chunks
        ]
    needed = -(-height // tile) * -(-width // tile) if tile else 1
    if needed <= 100 and random.randrange(8):
        tiles = (tiles * needed)[:needed]
    flags = (TILED if tile else 0) | (CHUNKED if chunks or count is not None else 0) | channels - 1
    out = MAGIC + bytes([version << 4 | flags]) + header.model_id
    out += encode_varint(width) + encode_varint(height) + quality.to_bytes(2, "little")
    if tile:
        out += encode_varint(tile // TILE_UNIT) + b"".join(map(encode_varint, lengths or map(len, tiles)))
    if flags & CHUNKED:
        out += encode_varint(len(chunks) if count is None else count)
    out += crc(out)
    out += b"".join(name + encode_varint(len(data)) + data + crc(name + data) for name, data in chunks)
    return out + b"".join(tile + crc(tile) for tile in tiles) + end
