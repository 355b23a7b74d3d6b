"""JPEG, segment by segment: one picture, and what phones and cameras put around it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from aecodec.picture.inspect.contents import UNREAD, Contents, DamagedError, Part, Reader

SOI, EOI, SOS, DNL, COM = 0xD8, 0xD9, 0xDA, 0xDC, 0xFE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame: what the picture is
OF_COSINES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # frames of the usual transform; others cannot be decoded smaller
JPEG_LS = 0xF7  # a frame of another code, whose data look like markers
LAYOUT = FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, DNL}  # tables and sizes: how it is coded
BARE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers without a length
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
NO_END, END = "no end marker", bytes([0xFF, EOI])
EXIF, XMP, MORE_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ICC, MPF, PHOTOSHOP = b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
DUCKY = b"Ducky\0\1\0\4"
OF_THE_CODE = (11, 14)  # of what others than these segments' makers know, that belongs to the coded samples or vouches
# for them: JPEG XT, JPEG-HDR, C2PA; colour transforms
GUID = re.compile(rb"HasExtendedXMP\s*(?:=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")
GAIN_MAP_MARKS = (b"hdrgm:Version", b"HDRGainMap", b"urn:iso:std:iso:ts:21496")
FILM_MARKS = (b"MotionPhoto", b"MicroVideo", b"MotionPhoto_Data")


@dataclass
class _Found:
    """What has been seen on the way through the segments."""

    width: int = 0
    height: int = 0
    depth: int = 8
    components: int = 0
    frame: int = 0  # its marker
    scans: int = 0
    jpeg_ls: bool = False
    metadata: list[Part] = field(default_factory=list)
    unknown: list[Part] = field(default_factory=list)
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_count: int = 0
    icc_spans: list[tuple[int, int]] = field(default_factory=list)  # where its segments are
    more_xmp: dict[bytes, dict[int, bytes]] = field(default_factory=dict)  # by what they belong to, and their place
    more_xmp_sizes: dict[bytes, int] = field(default_factory=dict)
    comments: list[bytes] = field(default_factory=list)
    end: int | None = None
    index_at: int = 0  # where the header of the index of pictures is, from which it counts


def inspect_jpeg(reader: Reader) -> Contents:
    found = _walk(reader)
    if found.jpeg_ls:
        return Contents("JPEG-LS", refusal=UNREAD, unread=True)
    if not found.scans or not found.components:
        raise DamagedError("no picture between the segments")
    metadata = found.metadata
    metadata += _extended_xmp(found)
    if found.icc:
        profile = b"".join(data for _, data in sorted(found.icc.items()))
        complete = sorted(found.icc) == list(range(1, found.icc_count + 1))
        metadata.append(Part("ICC profile" if complete else "broken ICC profile", len(profile), profile))
    if found.comments:
        metadata.append(Part("comment", sum(map(len, found.comments)), b"\n".join(found.comments)))
    oddities, trailing = [], None
    index = next((part for part in metadata if part.name == "index of pictures"), None)
    if index is not None and found.end is not None:  # with the distance from its header to what follows the picture
        place = struct.pack("<I", found.end - found.index_at)
        metadata[metadata.index(index)] = Part(index.name, index.size, place + index.data)
    if found.end is None:
        oddities.append(NO_END)
    elif found.end < len(reader):
        trailing = _trailing(reader, found)
    damage = (
        _damage(_without(reader.data, found.icc_spans) + (END if found.end is None else b""))
        if (found.frame in OF_COSINES)
        else ""
    )
    unheld: tuple[str, ...] = (f"what is damaged ({damage})",) if damage else ()
    if len(found.comments) > 1:  # they are kept as one
        unheld += ("where one comment ends and another begins",)
    samples = {1: "grey", 3: "RGB", 4: "CMYK"}.get(found.components, f"{found.components} components")
    return Contents(
        "JPEG",
        found.width,
        found.height,
        bit_depth=found.depth,
        samples=samples,
        trailing=trailing,
        metadata=tuple(metadata),
        unknown=tuple(found.unknown),
        oddities=tuple(oddities),
        unheld=unheld,
    )


def _without(data: memoryview, spans: list[tuple[int, int]]) -> bytes:
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(data)]
    return b"".join(bytes(data[start:end]) for start, end in zip(starts, ends, strict=True))


def _damage(data: bytes) -> str:
    """What a decoder that is told to be strict says of the coded data; nothing if they are whole, or if there is none.

    Pillow shows a picture whatever bits have flipped in it. This decoder makes an eighth of the picture, in a
    fraction of the time. It must get none that has no transform: of those it writes more than it has room for.
    """
    try:
        import simplejpeg
    except ImportError:
        return ""
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        text = str(error)
        return text if "corrupt" in text.lower() or "premature" in text.lower() else ""
    return ""


def _walk(reader: Reader) -> _Found:
    found = _Found()
    at = 2
    while True:
        while at + 1 < len(reader) and reader.number(at, 2) == 0xFFFF:
            at += 1  # fill bytes
        if at + 2 > len(reader):
            return found
        mark, marker = reader.bytes(at, 2)
        if mark != 0xFF:
            raise DamagedError(f"no marker where one should be, at byte {at}")
        if marker == EOI:
            found.end = at + 2
            return found
        if marker in BARE:
            at += 2
            continue
        if marker == SOI:
            raise DamagedError(f"a second picture inside of the first, at byte {at}")
        length = reader.number(at + 2, 2)
        segment = reader.bytes(at + 4, length - 2)
        at += 2 + length
        if marker == SOS:
            found.scans += 1
            following = NEXT_MARKER.search(reader.data, at)
            if following is None:
                return found
            at = following.end() - 2
        elif marker == JPEG_LS:
            found.jpeg_ls = True
            return found
        elif marker in FRAMES:
            _frame(found, segment)
            found.frame = marker
        elif marker == COM:
            found.comments.append(segment)
        elif 0xE0 <= marker <= 0xEF:
            _application(found, marker - 0xE0, segment, at - 2 - length)
        elif marker not in LAYOUT:
            found.unknown.append(Part(f"segment FF{marker:02X}", len(segment)))


def _frame(found: _Found, segment: bytes) -> None:
    if len(segment) < 6:
        raise DamagedError("a frame header that is too short")
    found.depth, found.height, found.width, found.components = struct.unpack(">BHHB", segment[:6])


def _application(found: _Found, number: int, segment: bytes, at: int) -> None:
    if number == 0 and segment.startswith(b"JFIF\0"):
        unit, x, y = struct.unpack(">BHH", segment[7:12]) if len(segment) >= 12 else (0, 1, 1)
        if unit:  # otherwise only the shape of the pixels, nearly always square
            found.metadata.append(Part("resolution", 5, struct.pack(">BHH", unit, x, y)))
        elif x != y:
            found.metadata.append(Part("pixel aspect", 5, struct.pack(">BHH", unit, x, y)))
        if len(segment) > 14:
            found.metadata.append(Part("JFIF thumbnail", len(segment) - 14))
    elif number == 0 and segment.startswith(b"JFXX\0"):
        found.metadata.append(Part("JFIF thumbnail", len(segment)))
    elif number == 1 and segment.startswith(EXIF):
        again = any(part.name == "EXIF" for part in found.metadata)
        data = segment if not again else segment[len(EXIF) :]
        if again and not data.startswith((b"II*\0", b"MM\0*")):  # more than one segment holds: it goes on
            first = next(part for part in found.metadata if part.name == "EXIF")
            found.metadata[found.metadata.index(first)] = Part("EXIF", first.size + len(data), first.data + data)
        else:
            found.metadata.append(Part("second EXIF" if again else "EXIF", len(data), data))
    elif number == 1 and segment.startswith(XMP):
        again = any(part.name == "XMP" for part in found.metadata)
        data = segment[len(XMP) :]
        found.metadata.append(Part("second XMP" if again else "XMP", len(data), data))
    elif number == 1 and segment.startswith(MORE_XMP) and len(segment) >= len(MORE_XMP) + 40:
        head = len(MORE_XMP) + 32
        guid = segment[len(MORE_XMP) : head].upper()  # a hash of the whole
        found.more_xmp_sizes[guid], offset = struct.unpack(">II", segment[head : head + 8])
        found.more_xmp.setdefault(guid, {})[offset] = segment[head + 8 :]
    elif number == 2 and segment.startswith(ICC) and len(segment) >= len(ICC) + 2:
        found.icc[segment[len(ICC)]] = segment[len(ICC) + 2 :]
        found.icc_count = segment[len(ICC) + 1]
        found.icc_spans.append((at, at + 4 + len(segment)))
    elif number == 2 and segment.startswith(MPF):
        found.index_at = at + 4 + len(MPF)
        found.metadata.append(Part("index of pictures", len(segment), segment[len(MPF) :]))
    elif number == 2 and segment.startswith(b"urn:iso:std:iso:ts:21496"):
        found.metadata.append(Part("gain map version", len(segment), segment))
    elif number == 13 and segment.startswith(PHOTOSHOP):
        found.metadata.append(Part("IPTC", len(segment) - len(PHOTOSHOP), segment[len(PHOTOSHOP) :]))
    elif number == 14 and segment.startswith(b"Adobe"):
        pass  # how the colours are coded
    elif number == 12 and segment.startswith(DUCKY) and len(segment) <= len(DUCKY) + 6:
        pass  # at what quality it was coded, and neither a comment nor a copyright
    else:
        whole = bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(segment) + 2) + segment
        if number in OF_THE_CODE:
            found.unknown.append(Part(_name_of_segment(number, segment), len(segment)))
        else:
            found.metadata.append(Part("segment", len(whole), whole))


def _name_of_segment(number: int, segment: bytes) -> str:
    name = segment[:12].split(b"\0")[0].decode("ascii", "replace")
    return f"APP{number} {name if name.isprintable() else '?'!r}"


def names_of_segments(data: bytes) -> list[str]:
    """What application segments, one after the other, are called. Raises DamagedError if they are none."""
    reader, at, names = Reader(data), 0, []
    while at < len(data):
        mark, marker = reader.bytes(at, 2)
        length = reader.number(at + 2, 2)
        if mark != 0xFF or not 0xE0 <= marker <= 0xEF or length < 2:
            raise DamagedError(f"no application segment at byte {at}")
        names.append(_name_of_segment(marker - 0xE0, reader.bytes(at + 4, length - 2)))
        at += 2 + length
    return names


def _extended_xmp(found: _Found) -> Iterator[Part]:
    """What XMP goes on with in further segments: held if the XMP names it and none of it is missing."""
    first = next((part.data for part in found.metadata if part.name == "XMP"), b"")
    match = GUID.search(first)
    named = match[1].upper() if match else b""
    for guid, parts in found.more_xmp.items():
        whole = b""
        for offset, data in sorted(parts.items()):
            whole += data if offset == len(whole) else b""
        complete = len(whole) == found.more_xmp_sizes[guid] == sum(map(len, parts.values()))
        name = "extended XMP" if complete else "incomplete extended XMP"
        yield Part(name if guid == named else name + " that the XMP does not name", len(whole), whole)


def _trailing(reader: Reader, found: _Found) -> Part | None:
    assert found.end is not None
    data = bytes(reader.data[found.end :])
    if not data.strip(b"\0"):
        return None  # padding
    xmp = b"".join(part.data for part in found.metadata if part.name in ("XMP", "extended XMP"))
    indexed = any(part.name == "index of pictures" for part in found.metadata)
    return Part(name_of_trailing(data, xmp, indexed), len(data), data)


def name_of_trailing(data: bytes, xmp: bytes, indexed: bool) -> str:
    """What it is that follows the end of a JPEG, by its own bytes and by the XMP of the picture. indexed: whether an
    index of pictures tells of it."""
    names = []
    if any(mark in xmp or mark in data[: 2**16] for mark in GAIN_MAP_MARKS):
        names.append("gain map")
    elif indexed and b"\xff\xd8\xff" in data:
        names.append("further picture")
    if data[4:8] == b"ftyp" or b"ftypmp4" in data or b"ftypisom" in data or any(mark in xmp for mark in FILM_MARKS):
        names.append("film")
    if b"GDepth:" in xmp or b"Depth" in xmp.partition(b"Container:Directory")[2]:
        names.append("depth map")
    return " and ".join(names) or "bytes after the end"
