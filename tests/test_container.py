"""The promise: what is not a whole, undamaged file is refused with a reason, before memory is spent on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_decoder import parse

from aecodec import container
from aecodec.container import File, Header, encode_varint, read, read_header, salvage, write
from aecodec.errors import FormatError, LimitError

PLAIN = File(Header(768, 512, 3, b"\1\2\3\4", 5000), {}, [b"payload"])
TILED = File(
    Header(2000, 1100, 4, b"\1\2\3\4", 5025, tile=1024),
    {"ALPH": b"alpha", "exif": b"e" * 300, "abcd": b""},
    [b"one", b"", b"three" * 100, b"4"],
)
SMALL = File(
    Header(150, 70, 2, b"\1\2\3\4", 100, tile=64), {"ALPH": b"a", "exif": b"bc"}, [b"1", b"", b"23", *[b"4"] * 3]
)


def test_files_come_back() -> None:
    for file in (PLAIN, TILED):
        assert read(write(file)) == file
        assert read_header(write(file)) == file.header


def test_the_reference_parser_agrees() -> None:
    for file in (PLAIN, TILED):
        parsed = parse(write(file))
        header = file.header
        assert (parsed["width"], parsed["height"], parsed["channels"]) == (header.width, header.height, header.channels)
        assert (parsed["model"], parsed["quality"], parsed["tile"]) == (header.model_id, header.quality, header.tile)
        assert parsed["chunks"] == dict(file.chunks)
        assert parsed["tiles"] == list(file.tiles)


def test_a_plain_picture_costs_24_bytes() -> None:
    assert len(write(PLAIN)) - len(PLAIN.tiles[0]) <= 24


def test_the_format_page_quotes_the_constants() -> None:
    page = (Path(__file__).parent.parent / "docs" / "format" / "container.md").read_text()
    assert " ".join(f"{byte:02X}" for byte in container.MAGIC) in page
    for name in container.KNOWN_CHUNKS:
        assert f"`{name}`" in page
    for number in (
        container.VERSION,
        container.TILE_UNIT,
        container.MAX_CHUNKS,
        container.QUALITY_MAX,
        container.MAX_TILE_PIXELS,
        container.DEFAULT_PIXEL_LIMIT,
    ):
        assert re.search(rf"\b{number}\b", page)


@pytest.mark.parametrize("file", [PLAIN, TILED], ids=["plain", "tiled"])
def test_every_flipped_bit_is_detected(file: File) -> None:
    data = write(file)
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises((FormatError, LimitError)):
                read(bytes(broken))


def parts(file: File) -> list[tuple[str, int]]:
    """The parts of a file, by the names that errors give them, and where each ends."""
    chunks = [("chunk", 4 + len(encode_varint(len(data))) + len(data) + 4) for data in file.chunks.values()]
    tiles = [(f"tile {number}", len(tile) + 4) for number, tile in enumerate(file.tiles)]
    sizes = [*chunks, *tiles]
    sizes.insert(0, ("header", len(write(file)) - sum(size for _, size in sizes)))
    return [(name, sum(size for _, size in sizes[: number + 1])) for number, (name, _) in enumerate(sizes)]


def test_every_changed_byte_is_detected_and_its_place_named() -> None:
    data = write(SMALL)
    for place in range(len(data)):
        name = next(name for name, stop in parts(SMALL) if place < stop)
        for change in range(1, 256):
            broken = bytearray(data)
            broken[place] ^= change
            with pytest.raises((FormatError, LimitError)) as caught:
                read(bytes(broken))
            message = str(caught.value)
            assert name in message or (place < len(container.MAGIC) and "its first 5 bytes" in message)
            if extent := re.search(r"bytes (\d+) to (\d+)", message):
                assert int(extent[1]) <= place < int(extent[2])
            try:
                _, damage = salvage(bytes(broken))
                assert damage
            except (FormatError, LimitError):
                assert name == "header"


@pytest.mark.parametrize("tile", [0, 64])
def test_no_changed_byte_of_a_chunk_loses_a_tile_or_another_chunk(tile: int) -> None:
    header = Header(64, 64, 3, b"abcd", 5000, tile)
    file = File(header, {"exif": b"e" * 70, "xmpd": b"<xmp/>" * 40, "iccp": b"ab"}, [b"payload of the only tile"])
    data = write(file)
    for place in range(data.index(b"exif"), data.index(b"payload")):
        for change in (1, 2, 32, 128, 255):
            broken = bytearray(data)
            broken[place] ^= change
            found, damage = salvage(bytes(broken))
            assert damage
            assert found.tiles == file.tiles
            assert len(found.chunks) >= 2  # a changed type may be one that is not known


@pytest.mark.parametrize("file", [PLAIN, TILED], ids=["plain", "tiled"])
def test_every_truncation_is_detected(file: File) -> None:
    data = write(file)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:size])
    with pytest.raises(FormatError):
        read(data + b"\0")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_crash_the_reader(data: bytes, with_magic: bool) -> None:
    with pytest.raises((FormatError, LimitError)):
        read(container.MAGIC + b"\x12" + data if with_magic else data)


def test_reasons_are_named() -> None:
    def reason(data: bytes, **options: int) -> str:
        with pytest.raises((FormatError, LimitError)) as caught:
            read(data, **options)
        return str(caught.value)

    assert "empty" in reason(b"")
    assert "not an .aec file" in reason(b"\x89PNG\r\n\x1a\n")
    assert "truncated" in reason(write(PLAIN)[:9])
    assert "version 2" in reason(container.MAGIC + b"\x22" + write(PLAIN)[6:])
    assert "limit of 1000" in reason(write(PLAIN), pixel_limit=1000)
    assert "tile 0" in reason(write(PLAIN)[:-5] + b"xxxxx")
    assert "ABCD" in reason(write(File(PLAIN.header, {"ABCD": b""}, PLAIN.tiles)))


def test_absurd_dimensions_are_refused_before_anything_is_allocated() -> None:
    for width, height, tile in ((2**35 - 1, 2**35 - 1, 0), (2**30, 2**30, 64)):
        header = Header(width, height, 3, b"abcd", 100, tile)
        rows, columns = header.tile_grid
        if rows * columns == 1:
            with pytest.raises(LimitError):
                read(write(File(header, {}, [b""])))
        else:
            kind = bytes([0x10 | container.TILED | 2])
            size = container.encode_varint(width) + container.encode_varint(height) + b"\x64\x00\x01"
            with pytest.raises(FormatError, match="cannot be in"):
                read(container.MAGIC + kind + b"abcd" + size + b"\0" * 50)


def test_impossible_headers_are_refused() -> None:
    for header in (
        Header(0, 5, 3, b"abcd", 100),
        Header(5, 0, 3, b"abcd", 100),
        Header(5, 5, 3, b"abcd", 99),
        Header(5, 5, 3, b"abcd", 10001),
    ):
        with pytest.raises(FormatError, match="impossible"):
            read(write(File(header, {}, [b""])))
    with pytest.raises(FormatError, match="do not make"):
        write(File(PLAIN.header, {}, []))


def test_a_file_cannot_ask_for_more_than_its_pixels() -> None:
    # A tile is decoded at once: 178 megapixels in one would need tens of gigabytes.
    assert read(write(File(Header(2048, 2048, 3, b"abcd", 100), {}, [b""])))
    for header in (Header(2049, 2048, 3, b"abcd", 100), Header(2**16, 2**16, 3, b"abcd", 100, tile=2**12)):
        tiles = [b""] * (header.tile_grid[0] * header.tile_grid[1])
        with pytest.raises(FormatError, match="expected at most 4194304"):
            read(write(File(header, {}, tiles)), pixel_limit=2**40)


def test_a_strip_cannot_ask_for_more_than_its_pixels() -> None:
    # One pixel wide, it is padded to 64: what decoding takes would follow from the shape.
    for width, height in ((1, 2**24), (524288, 1), (178_956_970, 1), (15, 2**17)):
        strip = Header(width, height, 3, b"abcd", 100, tile=2**10)
        rows, columns = strip.tile_grid
        with pytest.raises(LimitError, match="strip"):
            read(write(File(strip, {}, [b""] * (rows * columns))), pixel_limit=2**40)
    for width, height in ((1, 2**16), (16, 2**18)):
        strip = Header(width, height, 3, b"abcd", 100, tile=2**10)
        assert read(write(File(strip, {}, [b""] * (strip.tile_grid[0] * strip.tile_grid[1]))))
