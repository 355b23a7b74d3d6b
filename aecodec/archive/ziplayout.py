"""The bytes of a ZIP file with stored members: headers, directory and end, written one way only.

The standard library could write them. But what it writes changes with its version, it cannot go on with a file that has
no directory yet, and it puts the same extra fields into headers and directory; an archive that is continued or repaired
has to become the same bytes again, and every member has to say what it is where it lies.
"""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import dataclass

LOCAL, ENTRY, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
LOCAL_BYTES, END_BYTES = 30, 22
LOCATOR_BYTES, END64_BYTES = 20, 56
ZIP64, UNIX_TIME, NOTE = 0x0001, 0x5455, 0x4541  # ids of extra fields; the last, "AE", is ours
STORED_UTF8 = struct.pack("<HH", 0x0800, 0)  # flags: names are UTF-8; method: stored
STORED_ASCII = bytes(4)  # as in archives of the first format
VERSION, VERSION64 = 20, 45  # of the ZIP specification that a reader needs to know
UNIX = 3  # the system that modes are of
MOST = 0xFFFFFFFF  # sizes and offsets from here on are kept in 64 bits
MOST_ENTRIES = 0xFFFF
FIRST_TIME, LAST_TIME = 315532800, 4354819198  # 1980 to 2107, the years that ZIP knows
NOTE_BYTES = 60_000  # at most: an extra field ends at 65535 bytes


@dataclass(frozen=True, slots=True)
class Member:
    """name: UTF-8 where it is written. size: bytes. mode: Unix type and permissions. mtime_ns: None if not known.
    offset: where the local header begins. note: what only the local header has beside, in an extra field of ours."""

    name: str
    size: int
    crc: int
    mode: int
    mtime_ns: int | None
    offset: int
    note: bytes = b""


def local_header(member: Member) -> bytes:
    """What stands before the bytes of a member."""
    large = member.size >= MOST
    extra = struct.pack("<HHQQ", ZIP64, 16, member.size, member.size) if large else b""
    extra += _unix_time(member)
    if member.note:
        extra += struct.pack("<HHI", NOTE, 4 + len(member.note), zlib.crc32(member.note)) + member.note
    name = member.name.encode()
    return LOCAL + _common(member, large) + struct.pack("<HH", len(name), len(extra)) + name + extra


def directory_entry(member: Member) -> bytes:
    """What the directory says of a member."""
    large = member.size >= MOST
    wide = (struct.pack("<QQ", member.size, member.size) if large else b"") + (
        struct.pack("<Q", member.offset) if member.offset >= MOST else b""
    )
    extra = (struct.pack("<HH", ZIP64, len(wide)) + wide if wide else b"") + _unix_time(member)
    name = member.name.encode()
    return (
        ENTRY
        + struct.pack("<BB", VERSION, UNIX)
        + _common(member, bool(wide))
        + struct.pack("<HHHHH", len(name), len(extra), 0, 0, 0)
        + struct.pack("<II", member.mode << 16 | (0x10 if member.name.endswith("/") else 0), min(member.offset, MOST))
        + name
        + extra
    )


def end(entries: int, size: int, offset: int) -> bytes:
    """What follows the directory, of `size` bytes at `offset`, without the end record: nothing unless it is large."""
    if entries < MOST_ENTRIES and size < MOST and offset < MOST:
        return b""
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, VERSION64, VERSION64, 0, 0, entries, entries, size, offset)
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)


def end_record(entries: int, size: int, offset: int, comment: bytes) -> bytes:
    """The last record of the file, which ends with a comment."""
    entries = min(entries, MOST_ENTRIES)
    numbers = struct.pack("<HHHHII", 0, 0, entries, entries, min(size, MOST), min(offset, MOST))
    return END + numbers + struct.pack("<H", len(comment)) + comment


def read_local_header(data: bytes | memoryview, offset: int) -> tuple[Member, int] | None:
    """The member whose local header is the beginning of `data`, and the length of that header; None if it is none.

    The mode is not in it, and stays 0. A damaged note is left out.
    """
    data = bytes(data[: LOCAL_BYTES + 2 * 65535])
    if len(data) < LOCAL_BYTES or data[:4] != LOCAL or data[6:10] not in (STORED_UTF8, STORED_ASCII):
        return None
    crc, packed, size, name_bytes, extra_bytes = struct.unpack("<IIIHH", data[14:LOCAL_BYTES])
    length = LOCAL_BYTES + name_bytes + extra_bytes
    if packed != size or len(data) < length:
        return None
    try:
        name = data[LOCAL_BYTES : LOCAL_BYTES + name_bytes].decode()
    except UnicodeDecodeError:
        return None
    mtime_ns, note = None, b""
    at = LOCAL_BYTES + name_bytes
    while at + 4 <= length:
        kind, count = struct.unpack("<HH", data[at : at + 4])
        field = data[at + 4 : min(at + 4 + count, length)]
        at += 4 + count
        if kind == ZIP64 and len(field) == 16:
            size, packed = struct.unpack("<QQ", field)
        elif kind == UNIX_TIME and len(field) == 5:
            mtime_ns = struct.unpack("<i", field[1:])[0] * 10**9
        elif kind == NOTE and len(field) > 4 and zlib.crc32(field[4:]) == int.from_bytes(field[:4], "little"):
            note = field[4:]
    return Member(name, size, crc, 0, mtime_ns, offset, note), length


def _common(member: Member, wide: bool) -> bytes:
    """The fields that the local header and the directory have in the same order."""
    seconds = FIRST_TIME if member.mtime_ns is None else member.mtime_ns // 10**9
    when = time.gmtime(min(max(seconds, FIRST_TIME), LAST_TIME))
    clock = when.tm_hour << 11 | when.tm_min << 5 | when.tm_sec // 2
    day = (when.tm_year - 1980) << 9 | when.tm_mon << 5 | when.tm_mday
    size = min(member.size, MOST)
    version = struct.pack("<H", VERSION64 if wide else VERSION)
    return version + STORED_UTF8 + struct.pack("<HHIII", clock, day, member.crc, size, size)


def _unix_time(member: Member) -> bytes:
    """The "universal time" extra field, to the second; none where it would not fit."""
    if member.mtime_ns is None or not -(2**31) <= member.mtime_ns // 10**9 < 2**31:
        return b""
    return struct.pack("<HHBi", UNIX_TIME, 5, 1, member.mtime_ns // 10**9)
