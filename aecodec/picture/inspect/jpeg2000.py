"""JPEG 2000: a codestream, or boxes around one."""

from __future__ import annotations

import struct
from dataclasses import replace

from aecodec.picture.inspect.boxes import boxes_in, code_points, name_of, top_level
from aecodec.picture.inspect.contents import SRGB_CICP, Colour, Contents, DamagedError, Part, Reader

JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
START_OF_TILE, COMMENT, END_OF_STREAM = 0xFF90, 0xFF64, 0xFFD9
ENCODERS = (b"Created by OpenJPEG", b"Kakadu-", b"Kdu-", b"Creator: ")


def inspect_jpeg_2000(reader: Reader) -> Contents:
    if reader.data[:4] == CODESTREAM:
        return _codestream(reader, 0, len(reader), [], None, [])
    metadata: list[Part] = []
    unknown: list[Part] = []
    colour: Colour | None = None
    stream, streams, stop = None, 0, 0
    palette = False
    boxes, rest = top_level(reader, 12, (b"jp2h", b"jp2c"))
    for name, start, end in boxes:
        data_size = end - start
        if name == b"jp2c":
            streams += 1
            stream, stop = (start, end) if stream is None else (stream, stop)
        elif name == b"jp2h":
            for inner, at, stop in boxes_in(reader, start, end):
                if inner == b"colr" and reader.number(at, 1) in (2, 3):
                    metadata.append(Part("ICC profile", stop - at - 3, reader.bytes(at + 3, stop - at - 3)))
                elif inner == b"colr" and reader.number(at, 1) == 5 and stop - at >= 10:
                    cicp = code_points(b"nclx" + reader.bytes(at + 3, 7))
                    colour = None if cicp[:2] in SRGB_CICP else Colour(cicp)
                elif inner == b"colr" and reader.number(at, 1) == 1 and reader.number(at + 3, 4) not in (16, 17, 18):
                    unknown.append(Part(f"colour space {reader.number(at + 3, 4)}", stop - at))
                elif inner == b"pclr":
                    palette = True
                elif inner == b"res ":
                    metadata.append(Part("resolution box", stop - at))
                elif inner not in (b"ihdr", b"bpcc", b"colr", b"cmap", b"cdef"):
                    unknown.append(Part(f"box {name_of(inner)}", stop - at))
        elif name == b"uuid" and data_size >= 16:
            tag = reader.bytes(start, 16)
            data = reader.bytes(start + 16, data_size - 16)
            if tag == bytes.fromhex("be7acfcb97a942e89c71999491e3afac"):
                metadata.append(Part("XMP", len(data), data))
            elif tag == b"JpgTiffExif->JP2":
                metadata.append(Part("EXIF", len(data), data))
            elif tag == bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03"):
                metadata.append(Part("geographic position (GeoJP2)", len(data)))
            else:
                unknown.append(Part("box uuid", data_size))
        elif name not in (b"ftyp", b"free", b"rreq"):
            unknown.append(Part(f"box {name_of(name)}", data_size))
    if stream is None:
        raise DamagedError("no codestream")
    contents = replace(_codestream(reader, stream, stop, metadata, colour, unknown), frames=streams)
    contents = replace(contents, trailing=rest or contents.trailing)
    return replace(contents, samples="palette") if palette else contents


def _codestream(
    reader: Reader, start: int, stop: int, metadata: list[Part], colour: Colour | None, unknown: list[Part]
) -> Contents:
    if reader.bytes(start, 4) != CODESTREAM:
        raise DamagedError("no header of a codestream")
    x1, y1, x0, y0 = struct.unpack(">4I", reader.bytes(start + 8, 16))
    components = reader.number(start + 40, 2)
    kinds = [reader.number(start + 42 + 3 * k, 1) for k in range(min(components, 8))]
    depths = [(kind & 127) + 1 for kind in kinds]
    unheld = ["signed samples"] if any(kind & 128 for kind in kinds) else []
    unheld += ["samples of different depths"] if len(set(depths)) > 1 else []
    if min(depths, default=8) < 8:  # decoders make 8 bits of them by zeros
        unheld.append(f"{min(depths)} bits a sample, whose white becomes grey")
    comments, end = _comments_of(reader, start)
    rest = bytes(reader.data[end:stop]) if end else b""
    return Contents(
        "JPEG 2000",
        x1 - x0,
        y1 - y0,
        bit_depth=max(depths, default=8),
        samples={1: "grey", 2: "grey", 3: "RGB", 4: "RGB"}.get(components, f"{components} components"),
        alpha=components in (2, 4),
        colour=colour,
        trailing=Part("bytes after the end", len(rest), rest) if rest.strip(b"\0") else None,
        metadata=(*metadata, *comments),
        unheld=tuple(unheld),
        unknown=tuple(unknown),
    )


def _comments_of(reader: Reader, start: int) -> tuple[list[Part], int]:
    """The comments in the header of a codestream, but for the name of its encoder, and where the stream ends; 0 if that
    is not told."""
    comments, at = [], start + 2
    while (marker := reader.number(at, 2)) != START_OF_TILE:
        size = reader.number(at + 2, 2)
        if marker == COMMENT and not (text := reader.bytes(at + 6, size - 4)).startswith(ENCODERS):
            comments.append(Part("comment", len(text), text))
        at += 2 + size
    while at + 2 <= len(reader) and (marker := reader.number(at, 2)) != END_OF_STREAM:
        size = reader.number(at + 6, 4) if marker == START_OF_TILE else 0
        if not size:
            return comments, 0
        at += size
    return comments, at + 2
