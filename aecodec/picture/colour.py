"""Colours that files tell by code points or by gamma, as ICC profiles that every viewer understands.

LittleCMS reads profiles, but through Pillow it makes no others than sRGB: a matrix profile is 400 bytes, written here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

import numpy as np

from aecodec.picture import names

D50 = np.array([0.9642, 1.0, 0.8249])
PRIMARIES = {  # of ITU-T H.273: x and y of red, green, blue, white
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3140, 0.3510)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
}
SRGB_CURVE = struct.pack(
    ">4s4xHHiiiii", b"para", 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile_of(chunks: Mapping[str, bytes]) -> bytes | None:
    """An ICC profile that says what these chunks say; None if none can: of HDR (PQ, HLG), and of unknown primaries."""
    curve: bytes | None
    if names.CICP in chunks and len(chunks[names.CICP]) == 4:
        primaries, transfer, *_ = chunks[names.CICP]
        points = PRIMARIES.get(primaries if primaries != 2 else 1)
        curve = {13: SRGB_CURVE, 2: SRGB_CURVE, 8: _gamma(1), 4: _gamma(2.2), 5: _gamma(2.8)}.get(transfer)
        if transfer in (1, 6, 14, 15):  # BT.709 and its like are shown with BT.1886
            curve = _gamma(2.4)
    else:
        gamma, values = chunks.get(names.GAMMA), chunks.get(names.CHROMATICITIES)
        exponent = int.from_bytes(gamma, "little") / 100_000 if gamma and len(gamma) == 4 else 0
        curve = _gamma(1 / exponent) if exponent > 0.01 else SRGB_CURVE
        points = PRIMARIES[1]
        if values and len(values) == 32:
            numbers = [value / 100_000 for value in struct.unpack("<8I", values)]
            white, red, green, blue = ((numbers[k], numbers[k + 1]) for k in (0, 2, 4, 6))
            points = (red, green, blue, white)
    if points is None or curve is None or any(y <= 0 for _, y in points):
        return None
    columns = _columns(points)
    return None if columns is None else _matrix_profile(columns, curve)


def _gamma(value: float) -> bytes:
    return struct.pack(">4s4xHHi", b"para", 0, 0, round(value * 65536))


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _columns(points: tuple[tuple[float, float], ...]) -> np.ndarray | None:
    """XYZ of red, green and blue under the light of the profile connection space, as columns."""
    red, green, blue, white = (_xyz(*point) for point in points)
    primaries = np.stack([red, green, blue], 1)
    if abs(np.linalg.det(primaries)) < 1e-6:
        return None
    primaries = primaries * np.linalg.solve(primaries, white)
    response = BRADFORD @ D50 / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(response) @ BRADFORD @ primaries


def _matrix_profile(columns: np.ndarray, curve: bytes) -> bytes:
    """A display profile of version 4: three columns and one curve."""

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(math.floor(v * 65536 + 0.5) for v in values))

    def text(value: str) -> bytes:
        data = value.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data

    tags = {b"desc": text("as told by the file"), b"cprt": text("no copyright"), b"wtpt": xyz(D50)}
    tags |= {name: xyz(columns[:, k]) for k, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for name, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", places[data], len(data))
    size = 128 + len(table) + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"\0\0\0\0", 0x04300000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    header += bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in D50))
    return header.ljust(128, b"\0") + table + body
