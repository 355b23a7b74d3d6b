"""Files put together around coded pixels: metadata go in byte for byte, whatever an encoder thinks of them."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from aecodec.picture import metadata, names
from aecodec.picture.deep import sixteen_bits
from aecodec.picture.inspect import jpeg as jpegs
from aecodec.picture.inspect import png as pngs
from aecodec.picture.inspect.tiff import DESCRIPTION

MAX_SEGMENT = 65533  # bytes of data that a segment of a JPEG may have
FILTER_UP = 2


def png(data: bytes, chunks: Mapping[str, bytes]) -> bytes:
    """A PNG with everything behind its header that it can hold."""
    after = len(pngs.SIGNATURE) + 25
    parts = []
    if names.CICP in chunks:
        primaries, transfer, matrix, full = chunks[names.CICP]
        # The samples are RGB; if they were not, their decoder has stretched them to the full range.
        parts.append((b"cICP", bytes([primaries, transfer, 0, full or matrix != 0])))
    if profile := chunks.get("iccp"):
        parts.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if names.GAMMA in chunks:
        parts.append((b"gAMA", chunks[names.GAMMA][::-1]))
    if names.CHROMATICITIES in chunks:
        parts.append((b"cHRM", struct.pack(">8I", *struct.unpack("<8I", chunks[names.CHROMATICITIES]))))
    if names.RESOLUTION in chunks:
        unit, x, y = struct.unpack("<BII", chunks[names.RESOLUTION])
        scale = {metadata.INCH: 1 / 0.0254, metadata.CENTIMETRE: 100.0}.get(unit, 1.0)
        parts.append((b"pHYs", struct.pack(">IIB", round(x * scale), round(y * scale), unit != 0)))
    if exif := chunks.get("exif"):
        parts.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp := chunks.get("xmpd"):
        parts.append((b"iTXt", pngs.XMP_KEYWORD + bytes(4) + xmp))
    if comment := chunks.get(names.COMMENT):
        parts.append((b"tEXt", b"Comment\0" + comment.replace(b"\0", b" ")))
    inserted = b"".join(pngs.chunk(*part) for part in parts) + chunks.get(names.PNG_CHUNKS, b"")
    return data[:after] + inserted + data[after:]


def deep_png(samples: np.ndarray, depth: int) -> bytes:
    """A 16-bit PNG of (H, W) or (H, W, C) uint16 of `depth` bits."""
    wide = sixteen_bits(samples, depth)
    height, width = wide.shape[:2]
    channels = 1 if wide.ndim == 2 else wide.shape[2]
    rows = wide.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = FILTER_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", header)]
    if depth < 16:
        parts.append((b"sBIT", bytes([depth] * channels)))
    parts += [(b"IDAT", zlib.compress(filtered.tobytes(), 3)), (b"IEND", b"")]
    return pngs.SIGNATURE + b"".join(pngs.chunk(*part) for part in parts)


def tiff(samples: np.ndarray, depth: int, chunks: Mapping[str, bytes]) -> bytes:
    """A TIFF, deflated, of (H, W) or (H, W, C) uint8, or of uint16 of `depth` bits; Pillow writes its tags."""
    wide = samples if depth == 8 else sixteen_bits(samples, depth).astype("<u2")
    height, width = wide.shape[:2]
    channels = 1 if wide.ndim == 2 else wide.shape[2]
    colours = 3 if channels > 2 else 1
    tags = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    _describe(tags, chunks)
    data = zlib.compress(np.ascontiguousarray(wide).data, 3)
    tags[256], tags[257], tags[258] = width, height, (8 * wide.itemsize,) * channels
    tags[259], tags[262], tags[277], tags[278] = 8, 2 if colours == 3 else 1, channels, height
    if channels != colours:
        tags[338] = 2  # alpha, not multiplied into the colours
    tags[273], tags[279] = 0, len(data)  # where the data are is counted from the end of the tags
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + data


def _describe(tags: TiffImagePlugin.ImageFileDirectory_v2, chunks: Mapping[str, bytes]) -> None:
    """Puts what describes the picture among the tags of a TIFF."""
    exif = Image.Exif()
    if "exif" in chunks:
        with suppress(Exception):  # unreadable, which the caller tells
            exif.load(chunks["exif"])
    for tag in set(exif) & DESCRIPTION:  # others are of what the EXIF was made for: its size and the like
        tags[tag] = exif.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else exif[tag]
    for tag, name in ((700, "xmpd"), (34377, names.IPTC), (34675, "iccp")):
        if name in chunks:
            tags[tag] = chunks[name]
            tags.tagtype[tag] = TiffTags.BYTE if tag == 700 else TiffTags.UNDEFINED
    if dpi := metadata.dpi_of(chunks):
        tags[296], tags[282], tags[283] = 2, *dpi


def jpeg(data: bytes, chunks: Mapping[str, bytes], left_out: list[str]) -> bytes:
    """A JPEG with everything around its picture that it can hold; adds to `left_out` what is too long for it."""
    head, body = _without_jfif(data)
    out = bytearray(head)
    if names.RESOLUTION in chunks:
        unit, x, y = struct.unpack("<BII", chunks[names.RESOLUTION])
        if unit == metadata.METRE:
            unit, x, y = metadata.INCH, round(x * 0.0254), round(y * 0.0254)
        if max(x, y) < 2**16:
            out += _segment(0, b"JFIF\0\1\1" + struct.pack(">BHHBB", unit, x, y, 0, 0))
    else:
        out += _segment(0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if exif := chunks.get("exif"):
        exif = exif if exif.startswith(jpegs.EXIF) else jpegs.EXIF + exif
        if len(exif) <= MAX_SEGMENT:
            out += _segment(1, exif)
        else:
            left_out.append(f"EXIF of {len(exif):,} bytes, more than a JPEG holds")
    for segment in _xmp_segments(chunks.get("xmpd"), chunks.get(names.MORE_XMP)):
        out += _segment(1, segment)
    if profile := chunks.get("iccp"):
        size = MAX_SEGMENT - len(jpegs.ICC) - 2
        parts = [profile[at : at + size] for at in range(0, len(profile), size)]
        if len(parts) > 255:
            left_out.append(f"ICC profile of {len(profile):,} bytes, more than a JPEG holds")
        else:
            out += b"".join(_segment(2, jpegs.ICC + bytes([k, len(parts)]) + part) for k, part in enumerate(parts, 1))
    if iptc := chunks.get(names.IPTC):
        size = MAX_SEGMENT - len(jpegs.PHOTOSHOP)
        for at in range(0, len(iptc), size):
            out += _segment(13, jpegs.PHOTOSHOP + iptc[at : at + size])
    if version := chunks.get(names.GAIN_VERSION):
        out += _segment(2, version)
    if segments := chunks.get(names.SEGMENTS):
        jpegs.names_of_segments(segments)  # raises if they would break the file
        out += segments
    if comment := chunks.get(names.COMMENT):
        for at in range(0, len(comment), MAX_SEGMENT):
            part = comment[at : at + MAX_SEGMENT]
            out += bytes([0xFF, jpegs.COM]) + struct.pack(">H", len(part) + 2) + part
    trailing = chunks.get(names.TRAILING, b"")
    if trailing and (index := chunks.get(names.PICTURE_INDEX)):
        at = len(out) + 4 + len(jpegs.MPF)  # of the header of the index
        end = len(out) + 4 + len(jpegs.MPF) + len(index) - 4 + len(body)  # of the picture
        out += _segment(2, jpegs.MPF + _moved_index(index[4:], int.from_bytes(index[:4], "little"), end - at, end))
    return bytes(out) + body + trailing


def _segment(number: int, data: bytes) -> bytes:
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(data) + 2) + data


def _without_jfif(data: bytes) -> tuple[bytes, bytes]:
    """The start of a JPEG that Pillow has made, and what follows its JFIF segment."""
    if data[2:4] == b"\xff\xe0":
        return data[:2], data[4 + int.from_bytes(data[4:6], "big") :]
    return data[:2], data[2:]


def _xmp_segments(first: bytes | None, more: bytes | None) -> Iterator[bytes]:
    """XMP as a JPEG holds it: what is too long for one segment goes on in others, which the first one names."""
    if first is None:
        return
    guid = b""
    if more is not None:
        found = jpegs.GUID.search(first)
        guid = found[1] if found else b""
    elif len(first) > MAX_SEGMENT - len(jpegs.XMP):
        guid, more = hashlib.md5(first, usedforsecurity=False).hexdigest().upper().encode(), first
        first = (
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
            b'xmpNote:HasExtendedXMP="' + guid + b'"/></rdf:RDF></x:xmpmeta>'
        )
    yield jpegs.XMP + first
    if more is not None and guid:
        size = MAX_SEGMENT - len(jpegs.MORE_XMP) - 40
        for at in range(0, len(more), size):
            yield jpegs.MORE_XMP + guid + struct.pack(">II", len(more), at) + more[at : at + size]


def _moved_index(index: bytes, before: int, now: int, size: int) -> bytes:
    """An index of pictures (MPF) whose first picture is of another size, so that the others begin elsewhere.

    before, now: from the header of the index to the end of the first picture. size: of the first picture.
    """
    order = "<" if index[:2] == b"II" else ">"
    out = bytearray(index)
    try:
        (directory,) = struct.unpack_from(order + "I", index, 4)
        (count,) = struct.unpack_from(order + "H", index, directory)
        for k in range(count):
            tag, _, length, place = struct.unpack_from(order + "HHII", index, directory + 2 + 12 * k)
            if tag != 0xB002:
                continue
            for entry in range(place, place + length, 16):
                _, _, offset = struct.unpack_from(order + "III", index, entry)
                if entry == place:
                    struct.pack_into(order + "I", out, entry + 4, size)
                elif offset:
                    struct.pack_into(order + "I", out, entry + 8, offset - before + now)
    except struct.error:
        return index  # damaged as it was
    return bytes(out)
