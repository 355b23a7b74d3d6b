"""TIFF and its kin: pages, layers, geographic tags, and the raw files of cameras."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from aecodec.picture.inspect import png
from aecodec.picture.inspect.contents import RAW, Colour, Contents, DamagedError, Part, Reader

# Tags of a TIFF file that describe the picture, and become EXIF; others tell how the file is laid out.
DESCRIPTION = frozenset({270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853})
# Sizes, depth, compression, photometric, strips and tiles, planes, sample formats, palette, JPEG tables, YCbCr.
LAYOUT = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521}
    | {529, 530, 531, 34675, 700}
)
PAGE_NUMBER, LEAST_VALUE, GREATEST_VALUE, WHITE_POINT, PRIMARIES, BLACK_AND_WHITE = 297, 280, 281, 318, 319, 532
SUB_IFDS, EXIF_IFD, GPS_IFD, INTEROPERABILITY = 330, 34665, 34853, 40965
ICC, XMP, IPTC, PHOTOSHOP, LAYERS = 34675, 700, 33723, 34377, 37724
GEOGRAPHY = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113})
RAW_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
DNG_VERSION = 50706
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
SAMPLES = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
OTHER_COMPRESSIONS = {  # that no decoder of ours reads
    **{33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34933: "PNG", 34934: "JPEG XR"},
    **{
        22610: "JPEG XR",
        34887: "LERC",
        50001: "WebP",
        50002: "JPEG XL",
        52546: "JPEG XL",
        32767: "raw of Sony",
        34713: "raw of Nikon",
    },
}
PLANAR, EXTRA_SAMPLES, PREMULTIPLIED, STRAIGHT = 284, 338, 1, 2
MAX_IFDS = 10_000
SLACK = 64  # bytes that no tag names, of directories that were written anew at the end, and the like


@dataclass(frozen=True)
class _Tag:
    kind: int
    count: int
    at: int  # of its values

    @property
    def size(self) -> int:
        return SIZES.get(self.kind, 1) * self.count


class Directory(dict[int, _Tag]):
    """Tags by their numbers. at, end: where it is in the file."""

    at = end = 0


def inspect_tiff(reader: Reader) -> Contents:
    reader = Reader(reader.data, "little" if reader.data[:2] == b"II" else "big")
    magic = reader.number(2, 2)
    if magic in (0x4F52, 0x5352):
        return Contents("raw of a camera (ORF)", refusal=RAW, unread=True)
    if magic == 0x55:
        return Contents("raw of a camera (RW2)", refusal=RAW, unread=True)
    if bytes(reader.data[8:10]) == b"CR":
        return Contents("raw of a camera (CR2)", refusal=RAW, unread=True)
    big = magic == 43
    if magic not in (42, 43):
        raise DamagedError(f"version {magic}")
    pages = _chain(reader, reader.number(8, 8) if big else reader.number(4, 4), big)
    subs = [
        directory
        for page in pages
        if SUB_IFDS in page
        for at in _numbers(reader, page[SUB_IFDS])
        for directory in _chain(reader, at, big)
    ]
    first = pages[0]
    area = _area(reader, first)
    for directory in (*pages, *subs):
        photometric = _number(reader, directory, 262, 1)
        if photometric in RAW_PHOTOMETRIC or DNG_VERSION in directory:
            kind = "DNG" if DNG_VERSION in first else "raw of a camera"
            return Contents(kind, refusal=RAW, unread=True)
    others = [directory for directory in (*pages[1:], *subs) if not _reduced(reader, directory)]
    if (_reduced(reader, first) and others) or any(_area(reader, sub) > 2 * area for sub in subs if sub in others):
        reason = "like a raw file: its first picture is a smaller version of another one"
        return Contents("TIFF", refusal=reason, unread=True)
    further = [page for page in pages[1:] if not _reduced(reader, page, area)]
    contents = _page(reader, first, further, [sub for sub in subs if not _reduced(reader, sub, area)])
    between, behind = _unnamed(reader, [*pages, *subs], big)
    rest = Part("bytes that no tag names", between) if between > SLACK else None
    return replace(
        contents,
        unknown=(*contents.unknown, *([rest] if rest else [])),
        trailing=Part("bytes after the end", behind) if behind else None,
    )


def _page(reader: Reader, page: Directory, pages: list[Directory], subs: list[Directory]) -> Contents:
    metadata: list[Part] = []
    auxiliaries = [Part("picture in a SubIFD", 0) for _ in subs]
    for tag, name in ((ICC, "ICC profile"), (XMP, "XMP"), (IPTC, "IPTC record"), (PHOTOSHOP, "IPTC")):
        if tag in page:
            data = reader.bytes(page[tag].at, page[tag].size)
            metadata.append(Part(name, len(data), data))
    if LAYERS in page:
        auxiliaries.append(Part("layers", page[LAYERS].size))
    if reader.number(2, 2) == 43 and (EXIF_IFD in page or GPS_IFD in page):
        metadata.append(Part("EXIF of a BigTIFF", 0))
    if geographic := [tag for tag in page if tag in GEOGRAPHY]:
        metadata.append(Part("geographic tags (GeoTIFF)", sum(page[tag].size for tag in geographic)))
    known = LAYOUT | DESCRIPTION | GEOGRAPHY | {SUB_IFDS, IPTC, PHOTOSHOP, LAYERS}
    colour = _colour(reader, page)
    known |= {tag for tag in page if _says_nothing(reader, page, tag, colour is not None)}
    unknown = [Part(f"tag {number}", tag.size) for number, tag in page.items() if number not in known]
    depths = _numbers(reader, page[258]) if 258 in page else [1]
    formats = _numbers(reader, page[339]) if 339 in page else [1]
    samples = SAMPLES.get(_number(reader, page, 262, 1), "another kind of")
    channels = _number(reader, page, 277, 1)
    base = {"grey": 1, "palette": 1, "RGB": 3, "YCbCr": 3, "Lab": 3, "CMYK": 4}.get(samples, channels)
    contents = Contents(
        "TIFF",
        _number(reader, page, 256, 0),
        _number(reader, page, 257, 0),
        1 + len(pages),
        bit_depth=max(max(depths, default=8), 8),
        samples=samples,
        alpha=channels == base + 1,
        floating=any(value == 3 for value in formats),
        auxiliaries=tuple(auxiliaries),
        metadata=tuple(metadata),
        unknown=tuple(unknown),
    )
    if colour is not None and ICC in page:
        contents = replace(contents, unheld=(f"{colour} beside an ICC profile",))
    elif colour is not None:
        contents = replace(contents, colour=colour)
    extra = channels - base
    if extra == 1 and 338 in page and _number(reader, page, 338, 0) == 0:
        contents = replace(contents, alpha=False, unheld=(*contents.unheld, "1 further channel"))
    elif extra > 1:
        contents = replace(contents, unheld=(*contents.unheld, f"{extra} further channels"))
    if len(set(depths)) > 1:
        contents = replace(contents, unheld=(*contents.unheld, "samples of different depths"))
    if samples == "palette" and 320 in page and any(map(_cut, _numbers(reader, page[320]))):
        contents = replace(contents, unheld=(*contents.unheld, "a palette of 16 bits"))
    if depths[0] == 16 and _number(reader, page, PLANAR, 1) == 2 and samples not in ("grey", "RGB"):
        reason = f"{samples} samples of 16 bits, each channel by itself: no decoder reads them"
        return replace(contents, refusal=reason, unread=True)
    if compression := OTHER_COMPRESSIONS.get(_number(reader, page, 259, 1)):
        return replace(contents, refusal=f"compressed as {compression}: no decoder reads it", unread=True)
    if any(value == 2 for value in formats):
        if max(depths) <= 8:  # decoders take what is below 0 for the brightest
            return replace(contents, refusal="signed samples of 8 bits: no decoder reads them", unread=True)
        contents = replace(contents, unheld=(*contents.unheld, "signed samples"))
    return contents


def _cut(value: int) -> bool:
    """Whether 16 bits are more than 8 bits that were made longer, in one of the ways in which this is done."""
    return value & 255 not in (0, value >> 8)


def _area(reader: Reader, directory: Directory) -> int:
    return _number(reader, directory, 256, 0) * _number(reader, directory, 257, 0)


def _reduced(reader: Reader, directory: Directory, area: int | None = None) -> bool:
    """Whether it says that it is a smaller version of another picture; area: of which it then has to be smaller."""
    told = bool(_number(reader, directory, 254, 0) & 1) or _number(reader, directory, 255, 0) == 2
    return told and (area is None or _area(reader, directory) < area)


def _colour(reader: Reader, page: Directory) -> Colour | None:
    """What the white point and the primaries tell, if both are there and are not those of sRGB."""
    values = [_rationals(reader, page[tag]) for tag in (WHITE_POINT, PRIMARIES) if tag in page]
    if list(map(len, values)) != [2, 6]:
        return None
    return png.colour(None, False, False, None, tuple(round(100_000 * value) for part in values for value in part))


def _says_nothing(reader: Reader, page: Directory, tag: int, coloured: bool) -> bool:
    """Whether a tag tells no more than others of the page. coloured: whether its primaries are held."""
    if tag in (WHITE_POINT, PRIMARIES):
        return coloured or {WHITE_POINT, PRIMARIES} <= set(page)  # then they are sRGB's
    if tag == BLACK_AND_WHITE and _number(reader, page, 262, 1) != 6:  # of YCbCr, decoders use it
        return _rationals(reader, page[tag]) == [0, 255, 0, 255, 0, 255]
    if tag in (PAGE_NUMBER, LEAST_VALUE, GREATEST_VALUE):
        values, top = set(_numbers(reader, page[tag])), 2 ** _number(reader, page, 258, 1) - 1
        return values <= {PAGE_NUMBER: {0, 1}, LEAST_VALUE: {0}, GREATEST_VALUE: {top}}[tag]
    return tag == BLACK_AND_WHITE


def _rationals(reader: Reader, tag: _Tag) -> list[float]:
    if tag.kind != 5:
        return []
    parts = [reader.number(tag.at + 4 * k, 4) for k in range(2 * min(tag.count, 6))]
    return [over / max(under, 1) for over, under in zip(parts[::2], parts[1::2], strict=True)]


def _unnamed(reader: Reader, pages: list[Directory], big: bool) -> tuple[int, int]:
    """How many bytes, but for zeros, no directory and no tag of one names: between what they name, and behind it."""
    spans = [(0, 16 if big else 8)]
    todo, seen = list(pages), 0
    while seen < len(todo):
        page = todo[seen]
        seen += 1
        spans.append((page.at, page.end))
        spans += [(tag.at, tag.at + tag.size) for tag in page.values()]
        for places, sizes in ((273, 279), (324, 325), (513, 514)):
            if places in page and sizes not in page:
                return 0, 0  # as old files do: they go on as far as they go
            if places in page:
                starts, lengths = (_all_numbers(reader, page[tag]) for tag in (places, sizes))
                spans += [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
        for tag in {EXIF_IFD, GPS_IFD, INTEROPERABILITY} & set(page):
            with suppress(DamagedError):  # what is no directory names nothing
                todo.append(_directory(reader, _number(reader, page, tag, 0), big)[0])
    end, between = 0, 0
    for start, stop in sorted(spans):
        if start > end:
            between += _filled(reader, end, start)
        end = max(end, stop)
    return between, _filled(reader, end, len(reader))


def _filled(reader: Reader, start: int, end: int) -> int:
    """Bytes from one place to another, if they are not all zeros."""
    return end - start if end > start and bytes(reader.data[start:end]).strip(b"\0") else 0


def _all_numbers(reader: Reader, tag: _Tag) -> list[int]:
    letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[SIZES.get(tag.kind, 1)]
    order = "<" if reader.order == "little" else ">"
    with suppress(DamagedError):
        return list(struct.unpack(f"{order}{tag.count}{letter}", reader.bytes(tag.at, tag.size)))
    return []


def _chain(reader: Reader, at: int, big: bool) -> list[Directory]:
    """The directory at this place and those that follow it."""
    directories: list[Directory] = []
    seen: set[int] = set()
    while at and at not in seen and len(directories) < MAX_IFDS:
        seen.add(at)
        directory, at = _directory(reader, at, big)
        directories.append(directory)
    if not directories:
        raise DamagedError("no directory")
    return directories


def _directory(reader: Reader, at: int, big: bool) -> tuple[Directory, int]:
    head, entry, inline = (8, 20, 8) if big else (2, 12, 4)
    count = reader.number(at, head)
    if count > 65535:
        raise DamagedError(f"a directory of {count} tags")
    directory = Directory()
    directory.at, directory.end = at, at + head + entry * count + inline
    for k in range(count):
        place = at + head + entry * k
        tag, kind = reader.number(place, 2), reader.number(place + 2, 2)
        number = reader.number(place + 4, inline)
        value = place + 4 + inline
        if SIZES.get(kind, 1) * number > inline:
            value = reader.number(value, inline)
        directory[tag] = _Tag(kind, number, value)
    return directory, reader.number(at + head + entry * count, inline)


def _numbers(reader: Reader, tag: _Tag) -> list[int]:
    size = SIZES.get(tag.kind, 1)
    return [reader.number(tag.at + size * k, size) for k in range(min(tag.count, 4096))]


def _number(reader: Reader, directory: Directory, tag: int, default: int) -> int:
    if tag not in directory or not directory[tag].count:
        return default
    return _numbers(reader, directory[tag])[0]


def planes(data: bytes) -> list[bytes]:
    """A TIFF whose channels lie one behind the other, as TIFFs of one grey channel each; of any other, nothing."""
    reader, page = _first(data)
    count = _number(reader, page, 277, 1)
    if _number(reader, page, PLANAR, 1) != 2 or count < 2:
        return []
    depth = _number(reader, page, 258, 1)
    result = []
    for channel in range(count):
        own = {258: (3, 1, depth), 262: (3, 1, 1), 277: (3, 1, 1), PLANAR: (3, 1, 1)}
        for tag in {273, 279, 324, 325} & set(page):  # places and sizes of strips and tiles
            parts, size = page[tag].count // count, SIZES[page[tag].kind]
            at = page[tag].at + channel * parts * size
            own[tag] = (page[tag].kind, parts, reader.number(at, size) if parts == 1 else at)
        result.append(_with_tags(reader, own, without=(EXTRA_SAMPLES, 339)))
    return result


def premultiplied(data: bytes) -> bytes | None:
    """A TIFF whose colours are multiplied by alpha, as if they were not; None if they are not."""
    reader, page = _first(data)
    if _number(reader, page, EXTRA_SAMPLES, 0) != PREMULTIPLIED:
        return None
    return _with_tags(reader, {EXTRA_SAMPLES: (3, 1, STRAIGHT)})


def pairs(data: bytes) -> bytes | None:
    """A TIFF of grey and alpha of 16 bits as one of RGBA of 8 bits, whose pixels are the same bytes; None if it is of
    another kind, or they are not."""
    reader, page = _first(data)
    photometric, channels, planar, predictor = (_number(reader, page, tag, 1) for tag in (262, 277, PLANAR, 317))
    if (photometric, channels, planar, predictor) != (1, 2, 1, 1) or _number(reader, page, 258, 1) != 16:
        return None
    eight = {258: (3, 1, 8), 262: (3, 1, 2), 277: (3, 1, 4), EXTRA_SAMPLES: (3, 1, STRAIGHT)}
    return _with_tags(reader, eight, without=(339,))


def classic(data: bytes) -> bytes | None:
    """A BigTIFF whose numbers begin with the highest byte, which Pillow takes for a broken TIFF, as a TIFF with its
    first directory, without the EXIF of which `inspect_tiff` tells; None of any other, or of more than 4 GiB."""
    if data[:4] != b"MM\0+" or len(data) >= 2**32 - 2**24:
        return None
    _, page = _first(data)
    reader = Reader(data)
    start = -(-len(data) // 8) * 8
    moved, entries = bytearray(), []
    for tag, found in sorted(page.items()):
        if tag in (EXIF_IFD, GPS_IFD, SUB_IFDS):
            continue
        kind, values = found.kind, reader.bytes(found.at, found.size)
        if kind in (16, 17, 18):  # of 8 bytes each
            kind = {16: 4, 17: 9, 18: 13}[kind]
            values = b"".join(values[at + 4 : at + 8] for at in range(0, len(values), 8))
        if len(values) > 4:
            place = start + len(moved)
            moved += values + bytes(-len(values) % 8)
            values = struct.pack(">I", place)
        entries.append(struct.pack(">HHI", tag, kind, found.count) + values.ljust(4, b"\0"))
    directory = struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)
    head = b"MM\0*" + struct.pack(">I", start + len(moved))
    return head + data[8:].ljust(start - 8, b"\0") + bytes(moved) + directory


def _first(data: bytes) -> tuple[Reader, Directory]:
    reader = Reader(data, "little" if data[:2] == b"II" else "big")
    big = reader.number(2, 2) == 43
    return reader, _directory(reader, reader.number(8, 8) if big else reader.number(4, 4), big)[0]


def _with_tags(reader: Reader, tags: Mapping[int, tuple[int, int, int]], without: Collection[int] = ()) -> bytes:
    """The file with a copy of its first directory, and no other, in which these tags have another type, count, and
    value, or place of their values."""
    order, data = "<" if reader.order == "little" else ">", bytes(reader.data)
    big = reader.number(2, 2) == 43
    at, head, entry = (reader.number(8, 8), 8, 20) if big else (reader.number(4, 4), 2, 12)
    entries = {}
    for k in range(reader.number(at, head)):
        place = at + head + entry * k
        entries[reader.number(place, 2)] = reader.bytes(place, entry)
    for tag, (kind, count, value) in tags.items():
        letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[SIZES[kind]] if count == 1 else "Q" if big else "I"
        inline = struct.pack(order + letter, value).ljust(8 if big else 4, b"\0")
        entries[tag] = struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + inline
    kept = [entries[tag] for tag in sorted(entries) if tag not in without]
    directory = struct.pack(order + ("Q" if big else "H"), len(kept)) + b"".join(kept) + bytes(8 if big else 4)
    start = -(-len(data) // 8) * 8
    where = data[:8] + struct.pack(order + "Q", start) if big else data[:4] + struct.pack(order + "I", start)
    return where + data[len(where) :].ljust(start - len(where), b"\0") + directory
