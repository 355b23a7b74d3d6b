"""The alpha plane, lossless; and the colours that it hides."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
from PIL import Image, PngImagePlugin

from aecodec.errors import AecodecError
from aecodec.picture.door import foreign
from aecodec.picture.inspect import png
from aecodec.picture.types import Picture, Samples


def encode_alpha(alpha: Samples) -> bytes:
    """The alpha plane, (H, W) uint8 or uint16, as a grey PNG of 8 or 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(alpha)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def decode_alpha(data: bytes, width: int, height: int, depth: int = 8) -> Samples:
    """The plane, (height, width) uint8, or uint16 if depth is more than 8. The PNG is taken apart here: it has to be
    grey, of this size, of 8 or 16 bits, with nothing in it but header, data and end.

    Raises AecodecError if the plane is anything else or damaged.
    """
    bits = 8 if depth == 8 else 16
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    payload, at, place = b"", len(png.SIGNATURE), 0
    if data[:at] != png.SIGNATURE:
        raise AecodecError("damaged alpha plane (it is no PNG)")
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, check = data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        if check != struct.pack(">I", zlib.crc32(body, zlib.crc32(name))):
            raise AecodecError(f"damaged alpha plane (at byte {at})")
        if place == 0 and name == b"IHDR":
            if body != header:
                found = struct.unpack(">IIBB", body[:10].ljust(10, b"\0"))
                raise AecodecError(
                    f"alpha plane of {found[0]}x{found[1]}, {found[2]} bits, kind {found[3]}; expected "
                    f"{width}x{height}, {bits} bits, grey"
                )
            place = 1
        elif place == 1 and name == b"IDAT":
            payload += body
        elif place == 1 and name == b"IEND" and not body and at + 12 == len(data):
            place = 2
        else:
            raise AecodecError(f"alpha plane with a chunk {name!r} at byte {at}; expected a header, data and an end")
        at += 12 + size
    if place != 2:
        raise AecodecError("damaged alpha plane (it has no end)")
    wanted = height * (1 + width * bits // 8)
    inflater = zlib.decompressobj()
    try:
        size, rest = 0, payload
        while rest and size <= wanted and not inflater.eof:
            size += len(inflater.decompress(rest, 2**20))
            rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise AecodecError(f"damaged alpha plane ({error})") from error
    if size != wanted or not inflater.eof or inflater.unused_data:
        raise AecodecError(f"damaged alpha plane ({size} bytes of {wanted})")
    with foreign("damaged alpha plane"):  # the size is known to be right, so it is no bomb
        plane: Samples = np.asarray(PngImagePlugin.PngImageFile(io.BytesIO(data)))
    return plane.astype(np.uint16) if bits == 16 else plane


def fill_hidden(picture: Picture) -> Picture:
    """The picture with colours where nothing of it is seen that cost next to nothing: those around, ever smoother."""
    if picture.alpha is None:
        return picture
    seen = picture.alpha > 0
    if seen.all() or not seen.any():  # who hides all colours has not made them to be hidden
        return picture
    colour = picture.colour if picture.colour.ndim == 3 else picture.colour[:, :, None]
    filled = np.where(seen[:, :, None], colour, np.round(around(colour.astype(np.float32), seen)).astype(colour.dtype))
    return replace(picture, colour=filled.reshape(picture.colour.shape))


def around(colour: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(H, W, C) float32: means of what is seen, over ever larger squares where nothing is."""
    height, width = seen.shape
    if seen.all() or max(height, width) == 1:
        return colour if seen.any() else np.zeros_like(colour)
    ends = ((0, height % 2), (0, width % 2))
    weight = np.pad(seen.astype(np.float32), ends)[:, :, None]
    total = np.pad(colour, (*ends, (0, 0))) * weight
    total, weight = (
        part[0::2, 0::2] + part[1::2, 0::2] + part[0::2, 1::2] + part[1::2, 1::2] for part in (total, weight)
    )
    coarse = around(total / np.maximum(weight, 1), weight[:, :, 0] > 0)
    fine = coarse.repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.where(seen[:, :, None], colour, fine)
