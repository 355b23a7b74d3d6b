"""Formats with little beside their pixels: WebP, GIF, BMP, PPM and its kin, SGI, TGA, QOI, icons, Photoshop."""

from __future__ import annotations

import re
import struct

from aecodec.picture.inspect import png
from aecodec.picture.inspect.contents import UNREAD, Contents, DamagedError, Part, Reader

WEBP_LAYOUT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
PNM_TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*([^\s#]+)")
QOI_END = bytes(7) + b"\1"
GIF_BLOCKS = {0xF9: "", 0xFE: "comment", 0x01: "plain text block", 0xFF: "application"}


def inspect_webp(reader: Reader) -> Contents:
    end = 8 + int.from_bytes(reader.bytes(4, 4), "little")
    if end > len(reader):
        raise DamagedError(f"{len(reader)} bytes of {end}")
    metadata, unknown, frames, alpha, width, height = [], [], 0, False, 0, 0
    at = 12
    while at + 8 <= end:
        name, size = reader.bytes(at, 4), int.from_bytes(reader.bytes(at + 4, 4), "little")
        data = reader.bytes(at + 8, size) if name != b"ANMF" else b""
        if name in (b"EXIF", b"XMP ", b"ICCP"):
            label = {b"EXIF": "EXIF", b"XMP ": "XMP", b"ICCP": "ICC profile"}[name]
            metadata.append(Part(label, size, data))
        elif name == b"ANMF":
            frames += 1
        elif name == b"VP8X":
            alpha = bool(data[0] & 0x10)
            width, height = (int.from_bytes(data[k : k + 3], "little") + 1 for k in (4, 7))
        elif name == b"VP8 " and not width and data[3:6] == b"\x9d\x01\x2a":
            width, height = (value & 0x3FFF for value in struct.unpack("<HH", data[6:10]))
        elif name == b"VP8L" and not width:
            bits = int.from_bytes(data[1:5], "little")
            width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
        elif name not in WEBP_LAYOUT:
            unknown.append(Part(f"chunk {name.decode('ascii', 'replace')}", size))
        at += 8 + size + size % 2
    trailing = bytes(reader.data[end:])
    return Contents(
        "WebP",
        width,
        height,
        max(frames, 1),
        alpha=alpha,
        metadata=tuple(metadata),
        unknown=tuple(unknown),
        trailing=_rest(trailing),
    )


def inspect_gif(reader: Reader) -> Contents:
    width, height, flags = struct.unpack("<HHB", reader.bytes(6, 5))
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    metadata: list[Part] = []
    frames = 0
    while at < len(reader):
        kind = reader.number(at, 1)
        if kind == 0x3B:
            break
        if kind == 0x2C:
            frames += 1
            flags = reader.number(at + 9, 1)
            at = _gif_blocks(reader, at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
        elif kind == 0x21:
            label = reader.number(at + 1, 1)
            end = _gif_blocks(reader, at + 2)
            data = reader.bytes(at + 2, end - at - 2)
            name = GIF_BLOCKS.get(label, f"block {label:02X}")
            if data[1:12] in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
                name = ""  # how often to repeat
            elif name == "application":
                name = f"application data {data[1:12].decode('ascii', 'replace')!r}"
            if name:
                metadata.append(Part(name, len(data), _gif_joined(data) if name == "comment" else b""))
            at = end
        else:
            raise DamagedError(f"block {kind:02X} at byte {at}")
    aspect = reader.number(12, 1)
    if aspect and aspect != 49:  # 49 is square
        metadata.append(Part("pixel aspect of a GIF", 1))
    return Contents(
        "GIF",
        width,
        height,
        frames,
        samples="palette",
        metadata=tuple(metadata),
        trailing=_rest(reader.data[at + 1 :]),
        oddities=() if at < len(reader) else ("no end marker",),
    )


def _gif_blocks(reader: Reader, at: int) -> int:
    """Where the next sub-blocks end."""
    while size := reader.number(at, 1):
        at += size + 1
    return at + 1


def _gif_joined(data: bytes) -> bytes:
    """The bytes of sub-blocks, one after the other."""
    joined, at = b"", 0
    while at < len(data) and data[at]:
        joined += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return joined


def inspect_bmp(reader: Reader) -> Contents:
    head = int.from_bytes(reader.bytes(14, 4), "little")
    if head < 40:
        width, height, _, bits = struct.unpack("<HHHH", reader.bytes(18, 8))
        end = int.from_bytes(reader.bytes(10, 4), "little") + -(-width * bits // 32) * 4 * height
        rest = _rest(reader.data[end:])
        return Contents("BMP", width, height, samples="palette" if bits <= 8 else "RGB", trailing=rest)
    width, height, _, bits, compression = struct.unpack("<iiHHI", reader.bytes(18, 16))
    x, y = struct.unpack("<ii", reader.bytes(38, 8))
    if compression in (4, 5):
        inner = {4: "JPEG", 5: "PNG"}[compression]
        return Contents("BMP", width, abs(height), refusal=f"a {inner} in a BMP: no decoder reads it", unread=True)
    depth, opaque = 8, compression in (0, 3)  # whether a fourth channel has no meaning
    if compression in (3, 6):
        masks = struct.unpack("<3I", reader.bytes(54, 12))
        depth = max([8, *(mask.bit_count() for mask in masks)])
        opaque = compression == 3 and (head < 56 or not any(reader.bytes(66, 4)))
    metadata = [Part("resolution", 9, struct.pack(">IIB", x, y, 1))] if x > 0 and y > 0 else []
    if head >= 108:
        space = reader.bytes(14 + 56, 4)  # as little-endian letters
        if head >= 124 and space in (b"KNIL", b"DEBM"):
            metadata.append(Part("profile in a BMP", int.from_bytes(reader.bytes(14 + 116, 4), "little")))
        elif space == b"\0\0\0\0" and any(reader.bytes(14 + 60, 48)):
            metadata.append(Part("calibrated colours in a BMP", 48))
    row, start = -(-width * bits // 32) * 4, int.from_bytes(reader.bytes(10, 4), "little")
    end = start + (row * abs(height) if compression in (0, 3, 6) else int.from_bytes(reader.bytes(34, 4), "little"))
    fourth = opaque and bits == 32 and bytes(reader.data[start + 3 : end : 4]).strip(b"\0")
    colours = int.from_bytes(reader.bytes(46, 4), "little") or (1 << bits if bits <= 8 else 0)
    before = 14 + head + 4 * colours + ({3: 12, 6: 16}.get(compression, 0) if head == 40 else 0)
    if before < start and any(reader.bytes(before, start - before)):
        metadata.append(Part("bytes before the pixels", start - before))
    profiled = any(part.name == "profile in a BMP" for part in metadata)  # it comes last
    return Contents(
        "BMP",
        abs(width),
        abs(height),
        bit_depth=depth,
        samples="palette" if bits <= 8 else "RGB",
        metadata=tuple(metadata),
        trailing=None if profiled else _rest(reader.data[end:]),
        unheld=("1 further channel",) if fourth else (),
    )


def inspect_pnm(reader: Reader) -> Contents:
    """PBM, PGM, PPM; PAM and the floating-point PFM are refused, as Pillow's reader knows little of them."""
    data = bytes(reader.data[: 2**16])
    if data[:2] in (b"P7", b"Pf", b"PF"):
        return Contents("PAM" if data[:2] == b"P7" else "PFM", refusal=UNREAD, unread=True)
    kind, width, height, top, at = pnm_header(data)
    metadata = [Part("comment", len(line), line + b"\n") for line in re.findall(rb"#([^\n]*)", data[:at])]
    losses, trailing = [], None
    if kind in (b"P4", b"P5", b"P6"):
        row = {b"P4": -(-width // 8), b"P5": width, b"P6": 3 * width}[kind] * (2 if top > 255 else 1)
        trailing = _rest(reader.data[at + 1 + row * height :])
    elif b"P" in (rest := bytes(reader.data[at:])) or b"#" in rest:
        losses.append("further pictures or comments behind the header")
    else:
        samples = len(b"".join(rest.split()) if kind == b"P1" else rest.split())
        if samples > width * height * (3 if kind == b"P3" else 1):
            losses.append("further samples behind the picture")
    if top < 255 and kind not in (b"P1", b"P4"):
        losses.append(f"a scale of 0 to {top}, which becomes 0 to 255")
    return Contents(
        "PNM",
        width,
        height,
        bit_depth=max(8, top.bit_length()),
        samples="RGB" if kind in (b"P3", b"P6") else "grey",
        metadata=tuple(metadata),
        trailing=trailing,
        unheld=tuple(losses),
    )


def pnm_header(data: bytes) -> tuple[bytes, int, int, int, int]:
    """(kind, width, height, level of white, where the header ends)"""
    kind, fields, at = data[:2], [], 2
    for _ in range(2 if kind in (b"P1", b"P4") else 3):
        match = PNM_TOKEN.match(data, at)
        if not match or not match[1].isdigit():
            raise DamagedError("no numbers in the header")
        fields.append(int(match[1]))
        at = match.end()
    width, height, top = (*fields, 1) if len(fields) == 2 else fields
    if not 0 < top < 65536:
        raise DamagedError(f"white is {top}")
    return kind, width, height, top, at


def inspect_sgi(reader: Reader) -> Contents:
    _, _, depth, dimensions, width, height, channels = struct.unpack(">HBBHHHH", reader.bytes(0, 12))
    name = reader.bytes(24, 80).split(b"\0")[0]
    channels = channels if dimensions > 2 else 1
    size = 512 + width * (height if dimensions > 1 else 1) * channels * max(depth, 1)
    trailing = None if reader.number(2, 1) else _rest(reader.data[size:])  # what is packed ends where its rows do
    return Contents(
        "SGI",
        width,
        height if dimensions > 1 else 1,
        bit_depth=8 * max(depth, 1),
        samples="grey" if channels < 3 else "RGB",
        alpha=channels in (2, 4),
        trailing=trailing,
        metadata=(Part("name of the picture", len(name)),) if name and name != b"no name" else (),
        unheld=("a map of colours",) if reader.number(104, 4) else (),
    )


def inspect_qoi(reader: Reader) -> Contents:
    width, height, channels, _ = struct.unpack(">IIBB", reader.bytes(4, 10))
    end = bytes(reader.data).find(QOI_END, 14)  # no code looks like it
    trailing = _rest(reader.data[end + len(QOI_END) :]) if end >= 0 else None
    return Contents("QOI", width, height, alpha=channels == 4, trailing=trailing)


def inspect_tga(reader: Reader) -> Contents:
    """Targa has no signature but, in newer files, at its end."""
    identity, kind = reader.number(0, 1), reader.number(2, 1)
    width, height, bits, descriptor = struct.unpack("<HHBB", reader.bytes(12, 6))
    metadata = [Part("identification", identity)] if identity else []
    unheld = [f"{bits} bits a pixel"] if bits in (15, 16) else []
    if bits == 32 and not descriptor & 15:
        unheld.append("a fourth channel that is not said to be alpha, but taken for it")
    trailing = None
    if bytes(reader.data[-18:-2]) == b"TRUEVISION-XFILE":
        extension, developer = struct.unpack("<II", reader.bytes(len(reader) - 26, 8))
        if extension:
            metadata.append(Part("extension area", 495))
        if developer:
            metadata.append(Part("developer's area", 0))
    elif kind < 8:  # what is packed ends where its rows do
        map_size = int.from_bytes(reader.bytes(5, 2), "little") * -(-reader.number(7, 1) // 8)
        trailing = _rest(reader.data[18 + identity + map_size + width * height * -(-bits // 8) :])
    samples = {1: "palette", 9: "palette", 3: "grey", 11: "grey"}.get(kind, "RGB")
    return Contents(
        "TGA",
        width,
        height,
        samples=samples,
        alpha=bits == 32,
        trailing=trailing,
        metadata=tuple(metadata),
        unheld=tuple(unheld),
    )


def like_targa(data: bytes | memoryview) -> bool:
    """Whether the numbers of a Targa header are possible, and there are as many bytes as it asks for."""
    head = bytes(data[:18])
    if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11) or head[16] not in (8, 15, 16, 24, 32):
        return False
    width, height = struct.unpack("<HH", head[12:16])
    packed = 128 if head[2] > 8 else 1  # a packet of a run stands for so many pixels, at most
    return bool(width and height) and len(data) - 18 >= width * height * -(-head[16] // 8) // packed


def inspect_icon(reader: Reader) -> Contents:
    """An icon is the same picture in several sizes; Pillow shows the largest."""
    count = int.from_bytes(reader.bytes(4, 2), "little")
    entries = [reader.bytes(6 + 16 * k, 16) for k in range(count)]
    width, height = max(((entry[0] or 256, entry[1] or 256) for entry in entries), default=(0, 0))
    unheld, end = [], 6 + 16 * count
    for entry in entries:
        size, at = struct.unpack("<II", entry[8:])
        end = max(end, at + size)
        if reader.data[at : at + len(png.SIGNATURE)] == png.SIGNATURE:
            inner = png.inspect_png(Reader(reader.data[at : at + size]))
            unheld += [f"{part.name} of a PNG in an icon" for part in inner.metadata]
            unheld += [f"{loss} of a PNG in an icon" for loss in inner.losses]
            unheld += [f"{inner.colour} of a PNG in an icon"] if inner.colour else []
    return Contents(
        "ICO",
        width,
        height,
        max(count, 1),
        alpha=True,
        trailing=_rest(reader.data[end:]),
        unheld=tuple(dict.fromkeys(unheld)),
    )


def inspect_psd(reader: Reader) -> Contents:
    channels, height, width, depth, mode = struct.unpack(">HIIHH", reader.bytes(12, 14))
    at = 26
    inks = reader.number(at, 4)  # a palette, or what duotones are printed with
    at += 4 + inks
    resources = reader.number(at, 4)
    at += 4 + resources
    layers = reader.number(at, 4)
    at += 4 + layers
    auxiliaries = [Part("layers", layers)] if layers else []
    auxiliaries += [Part("inks of a duotone", inks)] if mode == 8 else []
    samples = {0: "grey", 1: "grey", 2: "palette", 3: "RGB", 4: "CMYK", 9: "Lab"}.get(mode, f"mode {mode}")
    more = 0 if mode == 3 and channels == 4 else channels - {3: 3, 4: 4, 9: 3}.get(mode, 1)
    return Contents(
        "PSD",
        width,
        height,
        bit_depth=max(depth, 8),
        samples=samples,
        alpha=channels == 4 and mode == 3,
        auxiliaries=tuple(auxiliaries),
        trailing=_rest(reader.data[_psd_end(reader, at, channels, height, -(-width * depth // 8)) :]),
        unheld=(f"{more} further channel{'s' * (more > 1)}",) if more else (),
        metadata=(Part("image resources", resources),) if resources else (),
    )


def _psd_end(reader: Reader, at: int, channels: int, height: int, row: int) -> int:
    """Where the merged picture ends, row: bytes of one of its rows; the end of the file where this is not known."""
    if at + 2 > len(reader):
        return len(reader)
    packed, at, rows = reader.number(at, 2), at + 2, channels * height
    if packed == 0:
        return at + rows * row
    if packed > 1:
        return len(reader)
    return at + 2 * rows + sum(struct.unpack(f">{rows}H", reader.bytes(at, 2 * rows)))


def _rest(data: bytes | memoryview) -> Part | None:
    """What follows the end of a picture, but for padding."""
    rest = bytes(data)
    return Part("bytes after the end", len(rest), rest) if rest.strip(b"\0\n\r ") else None
