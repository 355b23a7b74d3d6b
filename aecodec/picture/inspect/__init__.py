"""What a file holds, from its own bytes: a positive list, instead of trust in what a decoder shows of it.

>>> inspect(b"GIF89a").refusal
'damaged GIF (5 bytes at 6 are outside of the 6 there are)'

`inspect(...).holdable` says whether an .aec file can take the place of the file, `reasons` why not.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aecodec.picture.inspect import boxes, jpeg, jpeg2000, others, png, tiff
from aecodec.picture.inspect.contents import HELD, RAW, UNREAD, Colour, Contents, DamagedError, Part, Reader

__all__ = ["HELD", "Colour", "Contents", "Part", "inspect"]

AEC = bytes([0xAE, 0x43, 0x0D, 0x0A, 0x1A])
READ_WHOLE = 2**28  # bytes up to which a file is read, not mapped: who shortens a mapped one, ends the process
Inspector = Callable[[Reader], Contents]
READERS: tuple[tuple[bytes, int, str, Inspector], ...] = (  # signature, its place, kind
    (b"\xff\xd8\xff", 0, "JPEG", jpeg.inspect_jpeg),
    (png.SIGNATURE, 0, "PNG", png.inspect_png),
    (b"WEBP", 8, "WebP", others.inspect_webp),
    (b"ftyp", 4, "HEIC or AVIF", boxes.inspect_heif),
    (jpeg2000.JPEG_2000, 0, "JPEG 2000", jpeg2000.inspect_jpeg_2000),
    (jpeg2000.CODESTREAM, 0, "JPEG 2000", jpeg2000.inspect_jpeg_2000),
    (b"GIF87a", 0, "GIF", others.inspect_gif),
    (b"GIF89a", 0, "GIF", others.inspect_gif),
    (b"BM", 0, "BMP", others.inspect_bmp),
    (b"8BPS", 0, "PSD", others.inspect_psd),
    (b"\x01\xda", 0, "SGI", others.inspect_sgi),
    (b"qoif", 0, "QOI", others.inspect_qoi),
    (b"\0\0\1\0", 0, "ICO", others.inspect_icon),
    *((b"P" + digit, 0, "PNM", others.inspect_pnm) for digit in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"f", b"F")),
    *((order, 0, "TIFF", tiff.inspect_tiff) for order in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((magic, 0, "raw of a camera", tiff.inspect_tiff) for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
)
REFUSED: tuple[tuple[bytes, int, str, str], ...] = (  # signature, its place, kind, why it is no plain picture
    (b"%!", 0, "PostScript", "a program that draws, which is never run"),
    (b"\xc5\xd0\xd3\xc6", 0, "PostScript", "a program that draws, which is never run"),
    (b"%PDF", 0, "PDF", "a document"),
    *((mark, 0, "JPEG XL", UNREAD) for mark in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    (b"II\xbc", 0, "JPEG XR", UNREAD),
    (b"v/1\1", 0, "OpenEXR", UNREAD),
    *((mark, 0, "Radiance HDR", UNREAD) for mark in (b"#?RADIANCE", b"#?RGBE")),
    (b"DDS ", 0, "DDS", UNREAD),
    (b"icns", 0, "ICNS", UNREAD),
    (b"gimp xcf", 0, "XCF", UNREAD),
    (b"SIMPLE  =", 0, "FITS", UNREAD),
    (b"DICM", 128, "DICOM", UNREAD),
    (b"<svg", 0, "SVG", "a drawing"),
    (b"<?xml", 0, "XML", "a drawing or a document"),
    (b"\xd7\xcd\xc6\x9a", 0, "WMF", "a drawing"),
    (b"\1\0\0\0", 0, "EMF or another file", "not a picture"),
    (b"FUJIFILMCCD-RAW", 0, "raw of a camera (RAF)", RAW),
    (b"FOVb", 0, "raw of a camera (X3F)", RAW),
    (b"\0MRM", 0, "raw of a camera (MRW)", RAW),
    (b"HEAPCCDR", 6, "raw of a camera (CRW)", RAW),
    (b"IIII", 8, "raw of a camera (IIQ)", RAW),
    (AEC, 0, "aec", "an .aec file already"),
)


def inspect(source: str | Path | bytes | memoryview | BinaryIO) -> Contents:
    """What a file, or the bytes of one, hold. An open file is read from its beginning, and left at its beginning.

    What cannot be read as what it begins like, or as any known format, has a `refusal`; only the system's errors
    (no such file) are raised, as OSError.
    """
    if isinstance(source, (bytes, memoryview)):
        return _inspect(source)
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            return inspect(file)
    try:
        if os.fstat(source.fileno()).st_size > READ_WHOLE:
            with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                return _inspect(view)
    except (OSError, AttributeError, ValueError):
        pass  # nothing that can be mapped: a pipe, an object in memory
    source.seek(0)
    data = source.read()
    source.seek(0)
    return _inspect(data)


def _inspect(data: bytes | memoryview) -> Contents:
    if not len(data):
        return Contents("unknown", refusal="the file is empty")
    for signature, place, kind, why in REFUSED:
        if data[place : place + len(signature)] == signature:
            return Contents(kind, refusal=why, unread=why in (RAW, UNREAD))
    kind, inspector = next(
        (entry[2:] for entry in READERS if data[entry[1] : entry[1] + len(entry[0])] == entry[0]),
        ("TGA", others.inspect_tga),
    )
    if kind == "TGA" and not others.like_targa(data):
        return Contents("unknown", refusal="not a picture in a format that aecodec reads")
    reader = Reader(data)
    try:
        return inspector(reader)
    except (DamagedError, struct.error, IndexError, ValueError) as error:
        return Contents(kind, refusal=f"damaged {kind} ({error})")
    finally:
        reader.data.release()
