"""The promise: no bytes make the reader crash, hang, take memory without bound or raise what is no AecodecError.

Forged files have valid checksums, so that what lies behind these is reached.
"""

from __future__ import annotations

import io
import resource
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from both_decoders import NO_MODEL, with_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aecodec import container, picture
from aecodec.codec import Codec
from aecodec.container import CHUNKED, MAGIC, TILED, encode_varint
from aecodec.errors import AecodecError

PATIENCE = 60  # seconds after which a file is held to hang the reader
PIXEL_LIMIT = 2**14
# Of the small model: a strip may be padded to 64 times its pixels, and each takes under 200 bytes.
MEMORY_LIMIT = PIXEL_LIMIT * 64 * 200
T = TypeVar("T")

blobs = st.binary(max_size=64)


@st.composite
def mostly(draw: st.DrawFn, usual: st.SearchStrategy[T], *odd: T) -> T:
    """In one of 20 cases something odd: a file that is wrong in everything gets nowhere."""
    return draw(st.sampled_from(odd) if draw(st.integers(0, 19)) == 13 else usual)


@st.composite
def chunks(draw: st.DrawFn, width: int, height: int, tag: bytes) -> bytes:
    data = draw(st.sampled_from([b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\0\1"])) + draw(blobs)
    if tag == b"ALPH":  # of the right size if that is one; some are damaged
        buffer = io.BytesIO()
        Image.new("L", (width, height) if 0 < width * height < 2**16 else (3, 5), 77).save(buffer, "PNG")
        data = buffer.getvalue()
        cut = draw(mostly(st.just(0), *range(len(data))))
        data = data[:cut] + draw(blobs) + data[cut:] if cut else data
    return tag + encode_varint(len(data)) + data + container.crc(tag + data)


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """A file whose fields are anything, with the checksums that it should have."""
    sides = mostly(st.integers(1, 200), 0, 2**14, 2**16, 2**31, 2**32, 2**35 - 1)
    width, height = draw(sides), draw(sides)
    flags = draw(st.integers(0, 15))
    flags |= draw(mostly(st.just(CHUNKED), 0)) if flags & 1 else 0  # an alpha channel needs its chunk
    out = MAGIC + bytes([draw(mostly(st.just(0x10), 0, 0x20, 0xF0)) | flags]) + draw(mostly(st.just(NO_MODEL), b"none"))
    out += encode_varint(width) + encode_varint(height)
    out += draw(mostly(st.integers(100, 10000), 0, 99, 10001, 65535)).to_bytes(2, "little")
    tiles = [draw(blobs)]
    if flags & TILED:
        units = draw(mostly(st.integers(1, 4), 0, 2**10, 2**35 - 1))
        out += encode_varint(units)
        count = -(-width // (64 * units)) * -(-height // (64 * units)) if units else 1
        tiles = [draw(blobs) for _ in range(min(count, 20))]
        lengths = [draw(mostly(st.just(len(tile)), 0, 65, 2**35 - 1)) for tile in tiles]
        out += b"".join(map(encode_varint, lengths))
    extra = []
    if flags & CHUNKED:
        types = [b"exif", b"iccp", b"xmpd", b"abcd"]
        tags = draw(st.lists(st.sampled_from(types), min_size=1, max_size=3, unique=True))
        tags = [draw(mostly(st.just(tag), b"exif", b"ABCD", b"ALPH", b"\0\0\0\0")) for tag in tags]
        tags += [b"ALPH"] if flags & 1 else []
        extra = [draw(chunks(width, height, tag)) for tag in tags]
        out += encode_varint(draw(mostly(st.just(len(extra)), 0, 1, 64, 65, 2**35 - 1)))
    out += container.crc(out) + b"".join(extra)
    out += b"".join(tile + container.crc(tile) for tile in tiles)
    return out + draw(mostly(st.just(b""), b"\0"))


@contextmanager
def guarded() -> Iterator[None]:
    """An alarm for what hangs; errors of our own kinds pass."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    except AecodecError:
        pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@settings(max_examples=300, deadline=None)
@given(forged() | st.binary(max_size=300).map(lambda data: MAGIC + data))
def test_the_container_costs_little_more_than_the_file(data: bytes) -> None:
    for read in (container.read, container.read_header, container.salvage):
        tracemalloc.start()
        try:
            with guarded():
                read(data)
            assert tracemalloc.get_traced_memory()[1] < 40_000 + 100 * len(
                data
            )  # two tables of 256 numbers are half of it
        finally:
            tracemalloc.stop()


@pytest.fixture(scope="module")
def limited_codec(small_weights: Path) -> Codec:
    return Codec("cpu", small_weights, PIXEL_LIMIT)


@contextmanager
def limited_memory() -> Iterator[None]:
    """Beyond MEMORY_LIMIT, allocations fail with a MemoryError, which is not one of our errors."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def decode(codec: Codec, data: bytes, suffix: str) -> None:
    """What the command does with a file."""
    for work in (codec.decompress, lambda data: codec.salvage(data)[0]):
        with guarded(), limited_memory():
            image = work(data)
            assert image.width * image.height <= PIXEL_LIMIT
            picture.save(image, io.BytesIO(), suffix)


SUFFIXES = st.sampled_from([".png", ".jpg", ".webp", ".tif"])
decoding = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by Linux's means")
@decoding
@given(forged(), SUFFIXES)
def test_forged_files(limited_codec: Codec, data: bytes, suffix: str) -> None:
    decode(limited_codec, with_model(data, limited_codec.model.id), suffix)


@pytest.fixture(scope="module")
def honest(codec: Codec, photo: np.ndarray) -> list[bytes]:
    """Files that are about to be falsified."""
    return [codec.compress(photo[:64, :80], 30), codec.compress(np.dstack([photo, photo[:, :, 0]])[:20, :130], 90)]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by Linux's means")
@decoding
@given(
    st.integers(0, 1),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8),
    SUFFIXES,
)
def test_falsified_files(
    limited_codec: Codec, honest: list[bytes], number: int, changes: list[tuple[int, int]], suffix: str
) -> None:
    data = bytearray(honest[number])
    for place, value in changes:
        data[place % len(data)] = value
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(container.Cursor, "check", skip_checksum)
        decode(limited_codec, bytes(data), suffix)


def skip_checksum(cursor: container.Cursor, covered: bytes, what: str, start: int) -> None:
    cursor.take(container.CRC_BYTES, what)
