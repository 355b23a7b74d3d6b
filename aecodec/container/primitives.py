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
