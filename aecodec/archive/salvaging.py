"""Damaged shards: what is whole in them, found from the members themselves, and written anew."""

from __future__ import annotations

import errno
import hashlib
import mmap
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from aecodec import container
from aecodec.archive import index, manifest, shards, storage, ziplayout
from aecodec.archive.flow import Report, reason_of
from aecodec.archive.manifest import FAILED, FOLDER, MANIFEST, OTHER, PICTURE, PREFACE, STORED, Record
from aecodec.archive.shards import CHUNK, Contents, ShardWriter, check_seal, open_shard, read_at
from aecodec.archive.storage import Folder
from aecodec.errors import AecodecError, FormatError

DAMAGED = ".damaged"  # suffix of what a repaired shard was before
LAST_HEADERS = 2**16
BLOCK = 2**12  # bytes; what a disk that fails loses at a time


@dataclass
class Recovered:
    """contents: of what is whole, as of an opened shard; all places are of the data. lost: (name, reason) of files
    whose bytes are damaged."""

    contents: Contents
    lost: list[tuple[str, str]] = field(default_factory=list)


def recover(file: BinaryIO) -> Recovered:
    """What is whole in a shard, by its manifest and the headers of its members, as far as they are there.

    Every file that is returned has the hash, or, of the first format, the CRC-32 that was written for it.
    """
    with _mapped(file) as data:
        found: dict[str, tuple[Record, int | None]] = {}  # with the CRC-32, where there is no hash
        settings: dict[str, Any] = {}
        unstored: list[Record] = []
        order: list[str] = []
        for version, told, records in _manifests(file, data):
            settings = told
            for record in records:
                if record.kind not in STORED:
                    unstored.append(record)
                elif version > manifest.FIRST_VERSION:
                    found.setdefault(record.name, (record, None))
                order.append(record.name)
            first = {record.member: record for record in records} if version == manifest.FIRST_VERSION else {}
            for member, start in _members(data):
                if member.name in first:
                    record = replace(first[member.name], offset=start)
                    found.setdefault(record.name, (record, member.crc))
            break
        for member, start in _members(data):
            if member.name == PREFACE and not settings:
                with suppress(FormatError):
                    settings = manifest.read_preface(data[start : start + member.size])
            told_by_itself = _record_of(member, start, data)
            if told_by_itself is not None:
                record, crc = told_by_itself
                # The member's own word, unless the manifest has given one that fits.
                if record.name not in found or not _fits(data, *found[record.name]):
                    found[record.name] = (record, crc)
        kept, lost = [], []
        for record, crc in found.values():
            if _fits(data, record, crc):
                kept.append(record if record.digest else record.with_digest(_sha256(data, record)))
            else:
                lost.append((record.name, "its bytes are damaged"))
    places = {name: number for number, name in enumerate(order)}
    kept += [record for record in unstored if record.name not in found]
    kept.sort(key=lambda record: (places.get(record.name, len(places)), record.offset))
    return Recovered(Contents(manifest.VERSION, settings, kept, {}), lost)


def _manifests(file: BinaryIO, data: mmap.mmap | bytes) -> Iterator[tuple[int, dict[str, Any], list[Record]]]:
    """The manifest of a shard, by its end or by the last header of a member of that name; nothing if it is damaged."""
    with suppress(FormatError, OSError):
        contents = open_shard(file)
        records = contents.records
        if contents.version > manifest.FIRST_VERSION:
            yield contents.version, contents.settings, records
            return
    at = len(data)
    for _ in range(LAST_HEADERS):
        at = data.rfind(ziplayout.LOCAL, 0, at)
        if at < 0:
            return
        read = ziplayout.read_local_header(data[at : at + 2**17], at)
        if read is not None and read[0].name == MANIFEST:
            member, length = read
            listing = data[at + length : at + length + member.size]
            if zlib.crc32(listing) == member.crc:
                with suppress(FormatError):
                    yield manifest.read_manifest(listing)
                    return


def _members(data: mmap.mmap | bytes) -> Iterator[tuple[ziplayout.Member, int]]:
    """(member, where its data begin) of every local header, from the first to the last.

    The data of a member that are whole are skipped; others are searched through, too: what they seem to hold may be the
    next member, of which the damaged one had a wrong size.
    """
    at = 0
    while (at := data.find(ziplayout.LOCAL, at)) >= 0:
        read = ziplayout.read_local_header(data[at : at + 2**17], at)
        if read is None:
            at += 1
            continue
        member, length = read
        start = at + length
        yield member, start
        whole = start + member.size <= len(data) and _crc(data, start, member.size) == member.crc
        at = start + member.size if whole else at + 1


def _record_of(member: ziplayout.Member, start: int, data: mmap.mmap | bytes) -> tuple[Record, int | None] | None:
    """The record of a member by its own header; for the first format, as much as can be told."""
    if member.note:
        with suppress(FormatError):
            record = manifest.from_json(manifest.parse(member.note))
            # Another offset: a member of a shard that is itself kept in this one.
            return (record, None) if record.kind in STORED and record.offset == start else None
        return None
    if member.name in (MANIFEST, PREFACE) or start + member.size > len(data):
        return None
    record = Record(member.name, OTHER, member.size, member.mtime_ns, member=member.name, offset=start)
    record = replace(record, stored=member.size)
    if member.name.endswith("/"):
        record = replace(record, kind=FOLDER)
    elif member.name.endswith(".aec"):
        with suppress(AecodecError):
            header = container.read_header(data[start : start + member.size])
            plain = re.sub(r"(\.\d+)?\.aec$", "", member.name)
            if "." in plain.rsplit("/", 1)[-1]:
                record = replace(record, name=plain, kind=PICTURE, bytes=0, width=header.width, height=header.height)
    return record, member.crc


def _fits(data: mmap.mmap | bytes, record: Record, crc: int | None) -> bool:
    if record.offset + record.stored > len(data):
        return False
    if record.digest:
        return _sha256(data, record) == record.digest
    return record.kind == FOLDER or (crc is not None and _crc(data, record.offset, record.stored) == crc)


def _sha256(data: mmap.mmap | bytes, record: Record) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(data, record.offset, record.stored):
        digest.update(chunk)
    return digest.hexdigest()


def _crc(data: mmap.mmap | bytes, start: int, size: int) -> int:
    crc = 0
    for chunk in _chunks(data, start, size):
        crc = zlib.crc32(chunk, crc)
    return crc


def _chunks(data: mmap.mmap | bytes, start: int, size: int) -> Iterator[bytes]:
    for at in range(start, start + size, CHUNK):
        yield data[at : min(at + CHUNK, start + size)]


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, which need not fit memory; zeros where the disk does not give them."""
    size = file.seek(0, 2)
    if not size:
        yield b""
        return
    with tempfile.TemporaryFile() as copy:
        number = _readable(file)
        if number is None:
            _copy(file, copy, 0, size)
            copy.flush()
            number = copy.fileno()
        with mmap.mmap(number, 0, access=mmap.ACCESS_READ) as data:
            yield data


def _readable(file: BinaryIO) -> int | None:
    """The descriptor of a local file, if every byte of it can be read; memory that cannot would end the process."""
    try:
        number = file.fileno()
    except (OSError, AttributeError):
        return None
    try:
        shards.sha256_of(file)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
    return number


def _copy(file: BinaryIO, copy: BinaryIO, begin: int, end: int, block: int = CHUNK) -> None:
    """A part of a file, with zeros for the blocks that the disk does not give."""
    file = getattr(file, "raw", file)  # a buffer would read more than is asked for
    while begin < end:
        count = min(block, end - begin)
        file.seek(begin)
        try:
            data = file.read(count)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if block > BLOCK:
                _copy(file, copy, begin, begin + count, BLOCK)
                begin += count
                continue
            data = bytes(count)
        if not data:
            return
        copy.write(data)
        begin += len(data)


def repair(archive: str | Path) -> Report:
    """Mends an archive: damaged shards are written anew with all that is whole in them, and SHA256SUMS with them.

    What a shard was before stays beside it, with the suffix .damaged. Files whose bytes are damaged are problems in the
    report, as are shards that are missing; counts are those of the files that are in mended shards.
    Raises AecodecError if there is no archive, another run writes to it, or a shard cannot be written.
    """
    folder, single = storage.resolve(archive)
    report = Report()
    with folder.lock(single):
        names = folder.zips() if single is None else [single]
        if not names or not folder.exists(names[0]):
            raise AecodecError(f"{archive}: no archive here")
        listed, problem = index.read_lines(folder) if single is None else (None, "")
        known = dict(listed or {})
        digests: dict[str, str] = {}
        for name in names:
            try:
                with folder.open(name) as file:
                    digest = _digest_if_whole(file)
                    recovered = recover(file) if digest is None else None
            except OSError as error:
                report.problems.append((name, f"cannot be read ({reason_of(error)})"))
                continue
            if recovered is not None:

                def lists(digest: str, name: str = name) -> None:
                    changed, known[name] = known.get(name) != digest, digest
                    if changed and single is None:
                        index.write_index(folder, known)

                digest = _rewrite(folder, name, recovered, report, lists)
            if digest is not None:
                digests[name] = digest
        # Without lines of shards that are there under another name: such a line was damaged in its name.
        final = {name: digest for name, digest in known.items() if digest not in digests.values()} | digests
        report.problems += [
            (name, "is missing; only the folder it was made from, or a copy, can bring it back")
            for name in index.absent(names, final)
        ]
        if single is None and (final != listed or problem):
            index.write_index(folder, final)
            report.notes.append(f"{index.INDEX} was written anew")
        for name in folder.stopped(names):
            folder.discard(name)
        folder.tidy(index.INDEX)
    return report


def _digest_if_whole(file: BinaryIO) -> str | None:
    """SHA-256 of a shard, if nothing is wrong with it."""
    try:
        if open_shard(file).version > manifest.FIRST_VERSION:
            return check_seal(file)
    except (FormatError, OSError):
        return None
    return shards.sha256_of(file).hexdigest() if _is_whole_first(file) else None


def _is_whole_first(file: BinaryIO) -> bool:
    """Whether every member of a shard of the first format, and what says where it is, are whole."""
    expected = {record.name for record in open_shard(file).records if record.kind in STORED}
    recovered = recover(file)
    return not recovered.lost and expected == {r.name for r in recovered.contents.records if r.kind in STORED}


def _rewrite(
    folder: Folder, name: str, recovered: Recovered, report: Report, lists: Callable[[str], None]
) -> str | None:
    """Writes a shard anew, and lists its SHA-256. Returns that; None if nothing of it is whole."""
    records = recovered.contents.records
    report.problems += [(lost, reason) for lost, reason in recovered.lost]
    stored = [record for record in records if record.kind in STORED]
    report.counts[FAILED] += len(recovered.lost)
    for record in stored:
        report.counts[record.kind] += 1
    if not stored:
        report.problems.append((name, "nothing in it is whole; it stays as it is"))
        return None
    try:
        with folder.open(name) as old, folder.draft(name) as draft:
            draft.begin([])
            writer = ShardWriter(draft.file, recovered.contents.settings)
            writer.begin()
            written = [
                writer.stream(record, record.stored, read_at(old, record.offset, record.stored))
                if record.kind in STORED
                else record
                for record in records
            ]
            digest = writer.finish(written)
            second = folder.keep_aside(name, DAMAGED)
            draft.replace(digest, lambda: lists(digest))
    except OSError as error:
        raise AecodecError(f"{folder}/{name}: {reason_of(error)}; the same command continues") from error
    report.notes.append(f"{name} was written anew; what it was before is {second}")
    return digest
