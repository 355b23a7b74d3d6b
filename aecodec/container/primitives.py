"""Numbers, checksums and a cursor: what reading and writing have in common."""

from __future__ import annotations

import zlib

from aecodec.container.layout import CRC_BYTES, VARINT_BYTES
from aecodec.errors import FormatError


class ChecksumError(FormatError):
    """The extent of something is known, but its bytes are not what was written."""


class Cursor:
    """Reads on through bytes; everything that is missing or wrong is a FormatError that names the place."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise FormatError(f"truncated in {what}, at byte {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, what: str) -> int:
        value = 0
        for place in range(VARINT_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise FormatError(f"{what}: a number of more than {VARINT_BYTES} bytes, at byte {self.at}")

    def check(self, covered: bytes, what: str, start: int) -> None:
        """Reads a checksum. start: where what it belongs to begins."""
        if self.take(CRC_BYTES, f"{what} (checksum)") != crc(covered):
            raise ChecksumError(f"damaged: {what}, bytes {start} to {self.at}, does not match its checksum")


def encode_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, the lowest first, the high bit set on all but the last."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def start_of_checked_end(data: bytes, first: int) -> int | None:
    """Where something begins that goes on to the end of the file and matches the checksum there; at `first` or later.

    The checksum of two parts, one after the other, is that of the first, with as many zeros behind it as the second has
    bytes, xor that of the second. So every place can be tried in one pass, from the end on.
    """
    end = len(data) - CRC_BYTES
    if first > end:
        return None
    wanted = int.from_bytes(data[end:], "little")
    table = [zlib.crc32(bytes([k])) ^ zlib.crc32(b"\0") for k in range(256)]
    by_top = {value >> 24: k for k, value in enumerate(table)}
    before = [0]
    for place in range(first, end):
        before.append(zlib.crc32(data[place : place + 1], before[-1]))
    rest = before[-1] ^ wanted
    for place in range(end, first - 1, -1):
        if before[place - first] == rest:
            return place
        lowest = by_top[rest >> 24]
        rest = (rest ^ table[lowest]) << 8 & 0xFFFFFFFF | lowest  # one zero less
    return None
