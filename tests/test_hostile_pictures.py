"""The promise: no bytes of a picture file end a run: what foreign decoders raise is an AecodecError.

Checksums of PNG are made right again, so that what lies behind them is reached.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import strange_pictures as strange
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aecodec.errors import AecodecError
from aecodec.picture import load, save, strip, to_image

SEEDS = [
    strange.jpeg(exif=strange.exif(), comment=b"x", dpi=(72, 72)),
    strange.multi_picture(hdr=True),
    strange.with_segments(strange.jpeg(), strange.segment(13, b"Photoshop 3.0\x008BIM"), strange.xmp_segment(b"<x/>")),
    strange.png(*strange.ADOBE_RGB, (b"tEXt", b"a\0b"), (b"pHYs", bytes(9)), (b"cICP", bytes(4)), (b"eXIf", b"II*\0")),
    strange.deep_png(strange.deep()),
    strange.encoded("PNG", Image.fromarray(strange.disc("own"))),
    strange.encoded("WEBP", exif=strange.exif(), xmp=b"<x/>"),
    strange.encoded("AVIF", exif=strange.exif()),
    strange.encoded("GIF", comment=b"x"),
    strange.encoded("BMP"),
    strange.encoded("TGA"),
    strange.tiff(strange.photo(), (700, 1, 4, b"<x/>"), (274, 3, 1, b"\6\0\0\0")),
    strange.tiff(strange.deep()),
    strange.ppm(strange.deep() >> 6, 1023),
    strange.deep_sgi(),
    strange.psd(b""),
]


def with_checksums(data: bytearray) -> bytes:
    """A PNG whose chunks have the checksums they should have."""
    at = 8
    while data[:4] == b"\x89PNG" and at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if at + 12 + size > len(data):
            break
        struct.pack_into(">I", data, at + 8 + size, zlib.crc32(data[at + 4 : at + 8 + size]))
        at += 12 + size
    return bytes(data)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 2**16),
    st.sampled_from([".png", ".jpg", ".webp", ".tif"]),
)
def test_changed_bytes_are_other_pictures_or_typed_errors(
    seed: bytes, changes: list[tuple[int, int]], cut: int, suffix: str
) -> None:
    data = bytearray(seed if cut % 4 else seed[: cut % len(seed)])
    for place, value in changes:
        if data:
            data[place % min(len(data), 800)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = load(io.BytesIO(with_checksums(data)), 2**20)
            assert picture.colour.dtype in (np.uint8, np.uint16)
            strip(picture, "gps")
            save(to_image(picture), io.BytesIO(), suffix)
        except AecodecError:
            pass
