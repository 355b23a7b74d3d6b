"""Files of boxes: HEIC and AVIF (ISO base media)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from aecodec.picture.inspect import png
from aecodec.picture.inspect.contents import RAW, SRGB_CICP, Colour, Contents, DamagedError, Part, Reader

KINDS = {  # by brand; what is a sequence is one, too
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"hevm": "HEIC",
    b"hevs": "HEIC",
    b"mif1": "HEIC",
    b"mif2": "HEIC",
    b"msf1": "HEIC",
    b"crx ": "raw of a camera (CR3)",
}
PICTURES = (b"hvc1", b"av01", b"grid", b"iden", b"iovl")  # items that are pictures
AUXILIARY = (  # urns of auxiliary pictures, by what is in them
    (b"hdrgainmap", "gain map"),
    (b"gainmap", "gain map"),
    (b"aux:depth", "depth map"),
    (b"auxiliary:depth", "depth map"),
    (b"auxid:2", "depth map"),
    (b"matte", "matte"),
    (b"disparity", "depth map"),
)
ALPHA = (b"auxiliary:alpha", b"auxid:1")
PROPERTIES = frozenset(  # of pictures, that Pillow's readers use or that describe the coding
    b"ispe pixi hvcC av1C colr irot imir clap auxC lsel a1op a1lx rloc tols iscl".split()
)
OF_META = frozenset(b"hdlr pitm iinf iloc iref iprp idat dinf grpl free skip".split())
SLACK = 64  # bytes of media data that no item names
HDR = (16, 18)  # transfers, PQ and HLG, that profiles can only hint at
DISPLAY = {b"clli": "content light level", b"mdcv": "mastering display"}
TOP_LEVEL = (b"ftyp", b"meta", b"mdat", b"free", b"skip", b"moov", b"wide", b"idat", b"styp")
MAX_ITEMS = 4096


def inspect_heif(reader: Reader) -> Contents:
    boxes, rest = top_level(reader, 0, (b"meta", b"mdat"))
    if not boxes or boxes[0][0] != b"ftyp":
        raise DamagedError("no file type box")
    brands = reader.bytes(boxes[0][1], boxes[0][2] - boxes[0][1])
    known = [KINDS[brand] for brand in (brands[:4], *_quads(brands[8:])) if brand in KINDS]
    if not known:
        return Contents("film or another file of boxes", refusal="not a picture, by its brands")
    kind = "AVIF" if "AVIF" in known else known[0]
    if kind.startswith("raw"):
        return Contents(kind, refusal=RAW, unread=True)
    meta = next(((start, end) for name, start, end in boxes if name == b"meta"), None)
    frames = 2 if any(name == b"moov" for name, *_ in boxes) else 1
    unknown = [Part(f"box {name_of(name)}", end - start) for name, start, end in boxes if name not in TOP_LEVEL]
    if meta is None:
        raise DamagedError("no meta box")
    items = _Items(reader, *meta)
    if frames == 1 and (unnamed := items.unnamed([box[1:] for box in boxes if box[0] == b"mdat"])) > SLACK:
        unknown.append(Part("bytes that no item names", unnamed))
    contents = items.contents(kind, frames, unknown)
    return replace(contents, trailing=rest)


def top_level(reader: Reader, at: int, needed: Collection[bytes]) -> tuple[list[tuple[bytes, int, int]], Part | None]:
    """The boxes of a file from this place on, and what follows them and is none. Raises DamagedError if it may be one
    that was cut, or those that are needed are not all there."""
    boxes: list[tuple[bytes, int, int]] = []
    try:
        for box in boxes_in(reader, at, len(reader)):
            boxes.append(box)
    except DamagedError:
        end = boxes[-1][2] if boxes else 0
        if reader.data[end + 4 : end + 8] in (*TOP_LEVEL, *needed) or not set(needed) <= {name for name, *_ in boxes}:
            raise
        rest = bytes(reader.data[end:])
        return boxes, Part("bytes after the end", len(rest), rest)
    return boxes, None


@dataclass
class _Item:
    kind: bytes
    content: bytes = b""  # content type of a mime item
    extents: list[tuple[int, int]] = field(default_factory=list)
    inside: bool = False  # of the box idat, instead of the file
    properties: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(size for _, size in self.extents)


class _Items:
    """The items of a meta box: which there are, where their bytes are, what they say of each other."""

    def __init__(self, reader: Reader, start: int, end: int):
        self.reader = reader
        self.items: dict[int, _Item] = {}
        self.references: list[tuple[bytes, int, list[int]]] = []
        self.properties: list[tuple[bytes, bytes]] = []
        self.primary = 0
        self.idat = 0
        boxes = {name: (at, stop) for name, at, stop in boxes_in(reader, start + 4, end)}
        if b"iinf" not in boxes or b"iloc" not in boxes or b"pitm" not in boxes:
            raise DamagedError("no items in the meta box")
        at = boxes[b"pitm"][0]
        self.primary = reader.number(at + 4, 4 if reader.number(at, 1) else 2)
        self.idat = boxes.get(b"idat", (0, 0))[0]
        self.unknown = [Part(f"box {name_of(name)}", b - a) for name, (a, b) in boxes.items() if name not in OF_META]
        self._read_infos(*boxes[b"iinf"])
        self._read_places(*boxes[b"iloc"])
        if b"iref" in boxes:
            self._read_references(*boxes[b"iref"])
        if b"iprp" in boxes:
            self._read_properties(*boxes[b"iprp"])

    def _read_infos(self, at: int, end: int) -> None:
        wide = _version(self.reader, at) > 0
        for name, start, stop in boxes_in(self.reader, at + (8 if wide else 6), end):
            version = _version(self.reader, start)
            if name != b"infe" or version < 2:
                continue
            size = 2 if version == 2 else 4
            number = self.reader.number(start + 4, size)
            place = start + 4 + size + 2
            item = _Item(self.reader.bytes(place, 4))
            if item.kind == b"mime":
                rest = self.reader.bytes(place + 4, stop - place - 4).split(b"\0")
                item.content = rest[1] if len(rest) > 1 else b""
            self.items[number] = item
            if len(self.items) > MAX_ITEMS:
                raise DamagedError(f"more than {MAX_ITEMS} items")

    def _read_places(self, at: int, end: int) -> None:
        reader = self.reader
        version = _version(reader, at)
        sizes = reader.number(at + 4, 2)
        offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        wide = 2 if version < 2 else 4
        count, at = reader.number(at + 6, wide), at + 6 + wide
        for _ in range(min(count, MAX_ITEMS)):
            number, at = reader.number(at, wide), at + wide
            method = 0
            if version:
                method, at = reader.number(at, 2) & 15, at + 2
            at += 2
            base, at = reader.number(at, base_size), at + base_size
            extents, at = reader.number(at, 2), at + 2
            item = self.items.setdefault(number, _Item(b"????"))
            item.inside = method == 1
            for _ in range(extents):
                at += index_size if version else 0
                offset = reader.number(at, offset_size)
                length = reader.number(at + offset_size, length_size)
                at += offset_size + length_size
                item.extents.append((base + offset, length))

    def _read_references(self, at: int, end: int) -> None:
        size = 4 if _version(self.reader, at) else 2
        for name, start, _ in boxes_in(self.reader, at + 4, end):
            count = self.reader.number(start + size, 2)
            targets = [self.reader.number(start + size + 2 + size * k, size) for k in range(count)]
            self.references.append((name, self.reader.number(start, size), targets))

    def _read_properties(self, at: int, end: int) -> None:
        reader = self.reader
        for name, start, stop in boxes_in(reader, at, end):
            if name == b"ipco":
                self.properties = [(kind, reader.bytes(a, b - a)) for kind, a, b in boxes_in(reader, start, stop)]
            elif name == b"ipma":
                version, flags = _version(reader, start), reader.number(start + 3, 1)
                count, place = reader.number(start + 4, 4), start + 8
                for _ in range(min(count, MAX_ITEMS)):
                    size = 4 if version else 2
                    number, place = reader.number(place, size), place + size
                    links, place = reader.number(place, 1), place + 1
                    width = 2 if flags & 1 else 1
                    for k in range(links):
                        index = reader.number(place + width * k, width) & (0x7FFF if width == 2 else 0x7F)
                        if number in self.items:
                            self.items[number].properties.append(index - 1)
                    place += links * width

    def properties_of(self, number: int) -> list[tuple[bytes, bytes]]:
        """The properties of an item."""
        item = self.items.get(number)
        places = item.properties if item else []
        return [self.properties[k] for k in places if 0 <= k < len(self.properties)]

    def data(self, item: _Item) -> bytes:
        base = self.idat if item.inside else 0
        size = sum(length for _, length in item.extents)
        if size > len(self.reader):
            raise DamagedError("an item that is larger than the file")
        return b"".join(self.reader.bytes(base + offset, length) for offset, length in item.extents)

    def unnamed(self, media: list[tuple[int, int]]) -> int:
        """How many bytes of the boxes of media data no item names."""
        named = sorted(extent for item in self.items.values() if not item.inside for extent in item.extents)
        count = 0
        for start, end in media:
            at = start
            for place, size in named:
                if start <= place < end:
                    count += _filled(self.reader, at, place)
                    at = max(at, place + size)
            count += _filled(self.reader, at, end)
        return count

    def contents(self, kind: str, frames: int, unknown: list[Part]) -> Contents:
        unknown = [*unknown, *self.unknown]
        if self.primary not in self.items:
            raise DamagedError("no main picture among the items")
        parts = self._family(self.primary)
        size = next(
            (data for name, data in self.properties_of(self.primary) if name == b"ispe" and len(data) >= 12), None
        )
        width, height = struct.unpack(">II", size[4:12]) if size else (0, 0)
        metadata: list[Part] = []
        auxiliaries: list[Part] = []
        alpha = False
        for number, item in self.items.items():
            if number in parts or any(name == b"dimg" and number in targets for name, _, targets in self.references):
                continue
            links = {name for name, source, _ in self.references if source == number}
            if item.kind == b"Exif":
                data = self.data(item)
                skip = 4 + int.from_bytes(data[:4], "big")  # what is before the TIFF header
                metadata.append(Part("EXIF", len(data), data[skip:] if skip <= len(data) else data))
            elif item.kind == b"mime" and item.content == b"application/rdf+xml":
                data = self.data(item)
                metadata.append(Part("XMP", len(data), data))
            elif item.kind == b"tmap":
                auxiliaries.append(Part("gain map", self._size(self._family(number) - parts)))
            elif item.kind not in PICTURES:
                name = item.content.decode("ascii", "replace") or name_of(item.kind)
                unknown.append(Part(f"item {name}", item.size))
            elif b"auxl" in links:
                urn = next((data for name, data in self.properties_of(number) if name == b"auxC"), b"")
                if any(mark in urn for mark in ALPHA):
                    alpha = True
                else:
                    name = next((name for mark, name in AUXILIARY if mark in urn), "auxiliary picture")
                    auxiliaries.append(Part(name, self._size(self._family(number))))
            elif b"thmb" in links:
                pass  # made from the picture, to be made again
            else:
                frames += 1
        colours = [data for name, data in self.properties_of(self.primary) if name == b"colr"]
        icc = next((data[4:] for data in colours if data[:4] in (b"prof", b"rICC")), None)
        outside: tuple[str, ...] = ()
        if icc:
            metadata.append(Part("ICC profile", len(icc), icc))
        for tag, data in self.properties_of(self.primary):
            if tag == b"clap" and size:
                over = struct.unpack(">4I", data[:16].ljust(16, b"\0"))
                if (over[0], over[2]) != (width * over[1], height * over[3]):
                    outside = ("what is outside of the clean aperture",)
            elif tag == b"pasp":
                across, down = struct.unpack(">II", data[:8].ljust(8, b"\0"))
                if across != down:  # a PNG says it the other way round, by pixels per unit
                    metadata.append(Part("pixel aspect", 9, struct.pack(">IIB", down, across, 0)))
            elif tag in DISPLAY:
                metadata.append(Part(DISPLAY[tag], len(data), _as_png(tag, data)))
            elif tag not in PROPERTIES:
                unknown.append(Part(f"property {name_of(tag)}", len(data)))
        cicp = next((code_points(data) for data in colours if data[:4] == b"nclx"), None)
        plain = cicp is None or cicp[:2] in SRGB_CICP
        unheld: tuple[str, ...] = ()
        if icc and cicp and not plain and cicp[1] not in HDR:
            # A profile stands over code points here, and under them in a PNG and an .aec file.
            unheld, plain = (f"{Colour(cicp)} beside an ICC profile",), True
        return Contents(
            kind,
            width,
            height,
            frames,
            bit_depth=self._depth(parts),
            samples="RGB",
            alpha=alpha,
            colour=None if plain else Colour(cicp),
            auxiliaries=tuple(auxiliaries),
            metadata=tuple(metadata),
            unknown=tuple(unknown),
            unheld=(*outside, *unheld),
        )

    def _family(self, number: int) -> set[int]:
        """An item and those of which it is made."""
        family, new = {number}, [number]
        while new:
            source = new.pop()
            for name, origin, targets in self.references:
                if name == b"dimg" and origin == source:
                    new += [target for target in targets if target not in family]
                    family.update(targets)
        return family

    def _size(self, numbers: set[int]) -> int:
        return sum(self.items[number].size for number in numbers if number in self.items)

    def _depth(self, parts: set[int]) -> int:
        depths = [8]
        for number in parts:
            for name, data in self.properties_of(number):
                if name == b"pixi" and len(data) > 5:
                    depths += data[5 : 5 + data[4]]
                elif name == b"av1C" and len(data) > 2:
                    depths.append(12 if data[2] & 0x20 else 10 if data[2] & 0x40 else 8)
                elif name == b"hvcC" and len(data) > 18:
                    depths.append(8 + (data[17] & 7))
        return max(depths)


def boxes_in(reader: Reader, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the content of the boxes in a part of the file."""
    while at + 8 <= end:
        size, name, header = reader.number(at, 4), reader.bytes(at + 4, 4), 8
        if size == 1:
            size, header = reader.number(at + 8, 8), 16
        elif size == 0:
            size = end - at
        if size < header or at + size > end:
            raise DamagedError(f"box {name_of(name)} of {size} bytes at {at} does not end where it should")
        yield name, at + header, at + size
        at += size
    if at < end and bytes(reader.data[at:end]).strip(b"\0"):
        raise DamagedError(f"{end - at} bytes at {at} are no box")


def _filled(reader: Reader, start: int, end: int) -> int:
    """Bytes from one place to another, if they are not all zeros."""
    return end - start if end > start and bytes(reader.data[start:end]).strip(b"\0") else 0


def _version(reader: Reader, at: int) -> int:
    """Version of a full box, whose content begins here."""
    return reader.number(at, 1)


def code_points(data: bytes) -> tuple[int, int, int, int]:
    primaries, transfer, matrix, full = struct.unpack(">HHHB", data[4:11].ljust(7, b"\0"))
    return primaries, transfer, matrix, full >> 7


def _as_png(tag: bytes, data: bytes) -> bytes:
    """The chunk of a PNG that says the same: PNG counts light in ten-thousandths, and names red first."""
    if tag == b"clli":
        return png.chunk(b"cLLI", struct.pack(">II", *(10_000 * value for value in struct.unpack(">HH", data[:4]))))
    green, blue, red, white, light = data[0:4], data[4:8], data[8:12], data[12:16], data[16:24]
    return png.chunk(b"mDCV", red + green + blue + white + light)


def _quads(data: bytes) -> list[bytes]:
    return [data[k : k + 4] for k in range(0, len(data), 4)]


def name_of(name: bytes) -> str:
    text = name.decode("ascii", "replace").strip()
    return text if text.isprintable() else repr(name)
