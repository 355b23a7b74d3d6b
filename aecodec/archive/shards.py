"""One shard: a ZIP file that is written member by member, and sealed; opened by what its end says."""

from __future__ import annotations

import hashlib
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from aecodec.archive import manifest, ziplayout
from aecodec.archive.manifest import DUPLICATE, FIRST_VERSION, FOLDER, LINK, MANIFEST, PREFACE, STORED, Record
from aecodec.archive.ziplayout import Member
from aecodec.errors import FormatError

CHUNK = 2**20  # bytes; what is copied at a time
TAIL = 2**16  # bytes that are read from the end, in the hope that the manifest is among them
NO_DIGEST = "0" * 64  # stands in the header of a member whose bytes are still to come

# The comment of the ZIP file. With it the end record follows from what is before it, of which, and of the comment's own
# beginning, it has the hash: so every bit of the file is covered.
SEAL = "aecodec-shard {version} manifest {offset} {size} {digest} sealed "
_SEAL = re.compile(
    rb"aecodec-shard (\d{1,4}) manifest (\d{1,19}) (\d{1,19}) ([0-9a-f]{64}) sealed ([0-9a-f]{64})", re.ASCII
)


class ShardWriter:
    """Writes a shard to a file that can be sought in and read, from its beginning or behind members that are there.

    file: positioned anywhere; what is in it is not touched until `begin`.
    """

    def __init__(self, file: BinaryIO, settings: Mapping[str, Any]):
        self.file = file
        self._settings = settings
        self._members: list[Member] = []
        self._at = 0

    def begin(self) -> None:
        """Cuts off what is in the file behind the members that were taken."""
        self.file.seek(self._at)
        self.file.truncate(self._at)
        if not self._at:
            data = manifest.preface(self._settings)
            self._put(self._member(PREFACE, data, 0o644, None), data)

    def take(self, records: Sequence[Record]) -> bool:
        """Whether the members of these records are what comes next in the file, bit for bit; then the shard has them,
        otherwise nothing changes."""
        before = self._at, len(self._members)
        if self._take_all(records):
            return True
        self._at = before[0]
        del self._members[before[1] :]
        return False

    def _take_all(self, records: Sequence[Record]) -> bool:
        if not self._at:
            data = manifest.preface(self._settings)
            member = self._member(PREFACE, data, 0o644, None)
            header = ziplayout.local_header(member)
            if b"".join(read_at(self.file, 0, len(header) + len(data))) != header + data:
                return False
            self._members.append(member)
            self._at = len(header) + len(data)
        for record in records:
            if record.kind not in STORED:
                continue
            digest, crc, size = hashlib.sha256(), 0, 0
            for chunk in read_at(self.file, record.offset, record.stored):
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc)
                size += len(chunk)
            member = self._of(record, crc)
            header = ziplayout.local_header(member)
            if (size, self._at + len(header)) != (record.stored, record.offset) or (
                record.kind != FOLDER and digest.hexdigest() != record.digest
            ):
                return False
            if b"".join(read_at(self.file, self._at, len(header))) != header:
                return False
            self._members.append(member)
            self._at = record.offset + size
        return True

    def add(self, record: Record, data: bytes) -> Record:
        """Writes a member. Returns the record with the place of its bytes."""
        digest = hashlib.sha256(data).hexdigest()
        record = self._placed(record, len(data), digest)
        self._put(self._of(record, zlib.crc32(data)), data)
        return record

    def stream(self, record: Record, size: int, chunks: Iterable[bytes]) -> Record:
        """Writes a member piece by piece; if the pieces raise, or are not what the record says, it never was.

        Raises what the pieces raise, FormatError about their size, or their hash if the record has one.
        """
        start, told = self._at, record.digest
        record = self._placed(record, size, NO_DIGEST)
        digest, crc, written = hashlib.sha256(), 0, 0
        try:
            write(self.file, ziplayout.local_header(self._of(record, 0)))
            for chunk in chunks:
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc)
                written += len(chunk)
                if written > size:
                    break
                write(self.file, chunk)
            if written != size:
                raise FormatError(f"has {written} bytes, not {size}")
            if told and digest.hexdigest() != told:
                raise FormatError(f"damaged, the checksum of {record.member} does not match")
        except BaseException:
            self.file.seek(start)
            self.file.truncate(start)
            raise
        record = self._placed(record, size, digest.hexdigest())
        member = self._of(record, crc)
        self.file.seek(start)
        write(self.file, ziplayout.local_header(member))
        self.file.seek(record.offset + size)
        self._members.append(member)
        self._at = record.offset + size
        return record

    def finish(self, records: Sequence[Record]) -> str:
        """Writes manifest, directory and seal. Returns the SHA-256 of the whole file, hexadecimal."""
        listing = manifest.manifest(self._settings, records)
        last = self._member(MANIFEST, listing, 0o644, None)
        place = self._at + len(ziplayout.local_header(last))
        self._put(last, listing)
        directory = b"".join(map(ziplayout.directory_entry, self._members))
        count, start = len(self._members), self._at
        write(self.file, directory + ziplayout.end(count, len(directory), start))
        digest = sha256_of(self.file)
        comment = seal(place, len(listing), hashlib.sha256(listing).hexdigest(), digest)
        record = ziplayout.end_record(count, len(directory), start, comment)
        write(self.file, record)
        digest.update(record)
        return digest.hexdigest()

    def _placed(self, record: Record, size: int, digest: str) -> Record:
        """The record with what it says of the stored bytes, which come behind the header that it is part of."""
        record = replace(record, stored=size).with_digest(digest)
        for _ in range(20):  # its digits count, too
            offset = self._at + len(ziplayout.local_header(self._of(record, 0)))
            if offset == record.offset:
                return record
            record = replace(record, offset=offset)
        raise AssertionError("the place of a member never settles")

    def _of(self, record: Record, crc: int) -> Member:
        return Member(record.member, record.stored, crc, _mode(record), record.mtime_ns, self._at, note_of(record))

    def _member(self, name: str, data: bytes, mode: int, mtime_ns: int | None) -> Member:
        return Member(name, len(data), zlib.crc32(data), stat.S_IFREG | mode, mtime_ns, self._at)

    def _put(self, member: Member, data: bytes) -> None:
        header = ziplayout.local_header(member)
        write(self.file, header)
        write(self.file, data)
        self._members.append(member)
        self._at += len(header) + len(data)


def note_of(record: Record) -> bytes:
    """What the local header of a member says of it: all of the record, unless that is too long."""
    note = manifest.dump(manifest.to_json(record))
    return note if len(note) <= ziplayout.NOTE_BYTES else b""


def _mode(record: Record) -> int:
    kind = {FOLDER: stat.S_IFDIR, LINK: stat.S_IFLNK, DUPLICATE: stat.S_IFLNK}.get(record.kind, stat.S_IFREG)
    return kind | (0o755 if record.kind == FOLDER else record.mode)


def write(file: BinaryIO, data: bytes | memoryview) -> None:
    """All of the data, also to a file without a buffer, which may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def read_at(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    """Bytes of a file, piece by piece; fewer if it ends before."""
    file.seek(offset)
    while size and (chunk := file.read(min(size, CHUNK))):
        size -= len(chunk)
        yield chunk


def sha256_of(file: BinaryIO, size: int | None = None) -> hashlib._Hash:
    """The hash of a file from its beginning, of `size` bytes or to its end, where it stays."""
    digest = hashlib.sha256()
    file.seek(0)
    while (size is None or size) and (chunk := file.read(CHUNK if size is None else min(size, CHUNK))):
        digest.update(chunk)
        size = None if size is None else size - len(chunk)
    return digest


def seal(offset: int, size: int, digest: str, before: hashlib._Hash) -> bytes:
    """The comment of a shard: where its manifest is, its SHA-256, and that of all before the end record, of which
    `before` is the hash, and of the comment so far."""
    told = SEAL.format(version=manifest.VERSION, offset=offset, size=size, digest=digest).encode()
    sealed = before.copy()
    sealed.update(told)
    return told + sealed.hexdigest().encode()


@dataclass(frozen=True)
class Contents:
    """What an opened shard says. offsets: of the local headers and CRC-32 of members, of the first format only."""

    version: int
    settings: dict[str, Any]
    records: list[Record]
    headers: Mapping[str, tuple[int, int]]


def open_shard(file: BinaryIO) -> Contents:
    """Reads what a shard says of itself. Raises FormatError, without the name of the file, if it cannot be read."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = file.read(TAIL)
    found = find_seal(tail)
    if found is None:
        at = tail.rfind(ziplayout.END)
        if at >= 0 and at + ziplayout.END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
            raise FormatError("damaged: it does not end as a ZIP file does")
        return _check_places(_open_by_directory(file), size)
    at, offset, length, digest, _ = found
    begin = size - len(tail)
    if offset + length > begin + at:
        raise FormatError("damaged: its manifest would be behind its end")
    if offset >= begin:
        listing = tail[offset - begin : offset - begin + length]
    else:
        listing = b"".join(read_at(file, offset, length))
    if hashlib.sha256(listing).hexdigest() != digest:
        raise FormatError("damaged: the checksum of its manifest does not match")
    version, settings, records = manifest.read_manifest(listing)
    return _check_places(Contents(version, settings, records, {}), size)


def _check_places(contents: Contents, size: int) -> Contents:
    """Raises FormatError unless every file is in the shard, at a place of its own."""
    end, before = 0, ""
    stored = [record for record in contents.records if record.kind in STORED]
    places = [(contents.headers.get(record.name, (record.offset, 0))[0], record) for record in stored]
    for offset, record in sorted(places, key=lambda place: (place[0], place[1].stored)):
        if offset + record.stored > size:
            raise FormatError(f"damaged: {record.member} would end behind the shard")
        if offset < end:
            raise FormatError(f"damaged: {record.member} would begin in {before}")
        end, before = offset + record.stored, record.member
    return contents


def find_seal(tail: bytes) -> tuple[int, int, int, str, str] | None:
    """(place of the end record in the last bytes of a file, offset and size of the manifest, its SHA-256, the seal)."""
    at = tail.rfind(ziplayout.END)
    if at < 0 or len(tail) < at + ziplayout.END_BYTES:
        return None
    match = _SEAL.fullmatch(tail[at + ziplayout.END_BYTES :])
    if match is None or int(match[1]) < 2:
        return None
    return at, int(match[2]), int(match[3]), match[4].decode(), match[5].decode()


def _open_by_directory(file: BinaryIO) -> Contents:
    """A shard without a seal: of the first format, or damaged there."""
    import zipfile  # slow to import

    try:
        with zipfile.ZipFile(file) as opened:
            if min((member.header_offset for member in opened.infolist()), default=0):
                raise FormatError("damaged: its end is that of another file")  # that is kept in it
            try:
                info = opened.getinfo(MANIFEST)
            except KeyError:
                raise FormatError(f"not a shard of an aecodec archive: no {MANIFEST} in it") from None
            if info.compress_type != zipfile.ZIP_STORED:
                raise FormatError("damaged: its manifest is compressed")
            version, settings, records = manifest.read_manifest(opened.read(info))
            if version != FIRST_VERSION:  # only the seal is damaged
                return Contents(version, settings, records, {})
            headers = {}
            for record in records:
                if record.kind in STORED:
                    member = opened.getinfo(record.member)
                    if member.file_size != record.stored or member.compress_type != zipfile.ZIP_STORED:
                        raise FormatError(f"{record.member} has not the size that the manifest says")
                    headers[record.name] = (member.header_offset, member.CRC)
    # What zipfile raises for damaged files, and for members that are compressed in ways it does not know.
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"damaged ({error})") from error
    return Contents(version, settings, records, headers)


def check_seal(file: BinaryIO) -> str:
    """Whether any bit of a shard has changed since it was sealed: the SHA-256 of the file if none has.

    Raises FormatError if one has, or if it is of the first format and has no seal.
    """
    size = file.seek(0, 2)
    begin = max(0, size - TAIL)
    file.seek(begin)
    tail = file.read(TAIL)
    found = find_seal(tail)
    if found is None:
        raise FormatError("damaged: it has no seal at its end")
    at, offset, length, digest, sealed = found
    whole = sha256_of(file, begin + at)
    comment = seal(offset, length, digest, whole)
    if not comment.endswith(sealed.encode()):
        raise FormatError("damaged: its bytes are not those that were sealed")
    # The directory is what was sealed, so the end record must be the one that follows from it.
    at_end = begin + at
    entries, directory, start = _directory(file, at_end)
    expected = ziplayout.end_record(entries, directory, start, comment)
    if tail[at:] != expected:
        raise FormatError("damaged: its end record is not the one that was sealed")
    whole.update(tail[at:])
    return whole.hexdigest()


def _directory(file: BinaryIO, end: int) -> tuple[int, int, int]:
    """(entries, bytes, offset) of the directory of a sealed shard whose end record is at `end`, found without that."""
    file.seek(max(0, end - ziplayout.LOCATOR_BYTES - ziplayout.END64_BYTES))
    wide = file.read(ziplayout.END64_BYTES)
    if wide.startswith(b"PK\6\6"):
        entries, size, offset = (int.from_bytes(wide[k : k + 8], "little") for k in (32, 40, 48))
        return entries, size, offset
    file.seek(end)
    numbers = file.read(ziplayout.END_BYTES)
    entries, size, offset = (int.from_bytes(numbers[k : k + n], "little") for k, n in ((10, 2), (12, 4), (16, 4)))
    file.seek(offset)
    directory = file.read(size)
    # Believed only if the directory really is so long and has so many entries.
    at = count = 0
    while directory[at : at + 4] == ziplayout.ENTRY and at + 46 <= len(directory):
        at += 46 + sum(int.from_bytes(directory[at + k : at + k + 2], "little") for k in (28, 30, 32))
        count += 1
    if (count, at, offset + at) != (entries, size, end):
        raise FormatError("damaged: its end record is not the one that was sealed")
    return entries, size, offset
