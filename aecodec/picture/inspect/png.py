"""PNG, chunk by chunk, checksums verified."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from aecodec.picture.inspect.contents import SRGB_CICP, Colour, Contents, DamagedError, Part, Reader

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
SAMPLES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey", 6: "RGB"}
LAYOUT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"iDOT")
NOTES = {  # chunks that say something of the picture, by what it is
    b"tEXt": "text",
    b"zTXt": "text",
    b"iTXt": "text",
    b"tIME": "time of change",
    b"hIST": "histogram",
    b"sPLT": "suggested palette",
    b"sBIT": "significant bits",
    b"bKGD": "background colour",
    b"oFFs": "offset",
    b"sCAL": "scale",
    b"pCAL": "calibration",
    b"sTER": "stereo layout",
    b"mDCV": "mastering display",
    b"cLLI": "content light level",
    b"mDCv": "mastering display",
    b"cLLi": "content light level",
}
OF_PALETTE = (b"bKGD", b"hIST", b"sBIT")  # they tell of a palette, which is not kept
HELD_CHUNKS = frozenset({*NOTES.values(), "rendering intent"})  # names of parts whose data are whole chunks
SRGB_GAMMA = range(45_000, 46_001)
SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
MAX_TEXT = 2**28  # bytes that a compressed text may become


def inspect_png(reader: Reader) -> Contents:
    chunks = list(_chunks(reader))
    if chunks and chunks[0][0] == b"CgBI":
        return Contents("PNG", refusal="as programs of iPhones have them (CgBI): no decoder reads it", unread=True)
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise DamagedError("no header chunk")
    width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if kind not in SAMPLES:
        raise DamagedError(f"colour type {kind}")
    metadata: list[Part] = []
    unknown: list[Part] = []
    frames, srgb = 1, False
    cicp = gamma = chromaticities = None
    order = [name for name, _ in chunks]
    for name, data in chunks:
        if name == b"acTL" and len(data) == 8:
            still = b"fcTL" not in order[: order.index(b"IDAT")] if b"IDAT" in order else 0  # is no part of the film
            frames = max(1, int.from_bytes(data[:4], "big") + still)
        elif name == b"cICP" and len(data) == 4:
            cicp = (data[0], data[1], data[2], data[3])
        elif name == b"gAMA" and len(data) == 4 and any(data):
            gamma = int.from_bytes(data, "big")
        elif name == b"cHRM" and len(data) == 32:
            chromaticities = struct.unpack(">8I", data)
        elif name == b"sRGB":
            srgb = True
            if data != b"\0":  # perceptual, as of files that tell none
                metadata.append(Part("rendering intent", len(data), chunk(name, data)))
        elif name == b"iCCP":
            profile = _inflated(data.partition(b"\0")[2][1:])
            if profile is None:
                metadata.append(Part("broken ICC profile", len(data)))
            else:
                metadata.append(Part("ICC profile", len(profile), profile))
        elif name == b"eXIf":
            metadata.append(Part("EXIF", len(data), data))
        elif name == b"iTXt" and data.startswith(XMP_KEYWORD) and (xmp := _international(data)) is not None:
            metadata.append(Part("XMP", len(xmp), xmp))
        elif name == b"pHYs" and len(data) == 9:
            metadata.append(Part("resolution" if data[8] else "pixel aspect", 9, data))
        elif name == b"sBIT" and set(data) <= {8 if kind == 3 else depth}:
            pass  # all of them
        elif name in NOTES and not (kind == 3 and name in OF_PALETTE):
            metadata.append(Part(NOTES[name], len(data), chunk(name, data)))
        elif name in OF_PALETTE:
            metadata.append(Part(f"{NOTES[name]} of the palette", len(data)))
        elif name not in LAYOUT:
            unknown.append(Part(f"chunk {name.decode('ascii', 'replace')}", len(data)))
    end = len(SIGNATURE) + sum(12 + len(data) for _, data in chunks)
    trailing = bytes(reader.data[end:])
    profiled = any(part.name == "ICC profile" for part in metadata)
    return Contents(
        "PNG",
        width,
        height,
        frames,
        bit_depth=max(depth, 8),
        samples=SAMPLES[kind],
        alpha=kind in (4, 6) or any(name == b"tRNS" for name, _ in chunks),
        colour=colour(cicp, profiled, srgb, gamma, chromaticities),
        trailing=Part("bytes after the end", len(trailing), trailing) if trailing.strip(b"\0") else None,
        metadata=tuple(metadata),
        unknown=tuple(unknown),
    )


def colour(
    cicp: tuple[int, int, int, int] | None,
    profiled: bool,
    srgb: bool,
    gamma: int | None,
    chromaticities: tuple[int, ...] | None,
) -> Colour | None:
    """What counts, in the order in which the standard lets one chunk stand above the others."""
    if cicp is not None:  # it stands above a profile, too
        return None if cicp[:2] in SRGB_CICP and cicp[3] and not profiled else Colour(cicp)
    if profiled or srgb or (gamma is None and chromaticities is None):
        return None
    near = chromaticities is None or all(
        abs(a - b) < 100 for a, b in zip(chromaticities, SRGB_CHROMATICITIES, strict=True)
    )
    if (gamma is None or gamma in SRGB_GAMMA) and near:
        return None
    return Colour(gamma=gamma, chromaticities=chromaticities)


def _chunks(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(reader):
        size = reader.number(at, 4)
        name, data = reader.bytes(at + 4, 4), reader.bytes(at + 8, size)
        if zlib.crc32(data, zlib.crc32(name)) != reader.number(at + 8 + size, 4):
            raise DamagedError(f"chunk {name!r} does not match its checksum, at byte {at}")
        yield name, data
        at += 12 + size
        if name == b"IEND":
            return
    raise DamagedError("no end chunk")


def chunk(name: bytes, data: bytes) -> bytes:
    """A whole chunk, with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _international(data: bytes) -> bytes | None:
    """The text of an iTXt chunk."""
    parts = data.split(b"\0", 1)[1]
    compressed, rest = parts[:1], parts[2:]
    text = rest.split(b"\0", 2)
    if len(text) != 3:
        return None
    return _inflated(text[2]) if compressed == b"\1" else text[2]


def _inflated(data: bytes) -> bytes | None:
    decompressor = zlib.decompressobj()
    try:
        out = decompressor.decompress(data, MAX_TEXT)
    except zlib.error:
        return None
    return out if decompressor.eof else None


def essential(data: bytes) -> bytes:
    """The PNG with nothing in it that a decoder of its first picture does not need: nothing else can disturb it."""
    kept = [each for each in _chunks(Reader(data)) if each[0] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")]
    return SIGNATURE + b"".join(chunk(*each) for each in kept)


def plain(data: bytes) -> tuple[bytes, tuple[int, ...] | None]:
    """A PNG of 16 bits so that its samples can be had as they are: without its transparent colour, which is told beside
    it; grey with alpha as RGBA of 8 bits, whose pixels are the same bytes."""
    kept, transparent = [], None
    for name, content in _chunks(Reader(data)):
        if name == b"tRNS":
            transparent = struct.unpack(f">{len(content) // 2}H", content[: len(content) // 2 * 2])
        elif name == b"IHDR" and content[8:10] == b"\x10\4":
            kept.append(chunk(name, content[:8] + b"\x08\6" + content[10:]))
        elif name in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(chunk(name, content))
    return SIGNATURE + b"".join(kept), transparent
