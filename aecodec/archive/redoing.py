"""Trying again what an archive kept as it was: with a plugin that was missing then, or another setting."""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aecodec.archive import index, storage
from aecodec.archive.flow import DECODE_PREFETCH, READ_PREFETCH, Progress, Report, is_wanting, prefetched
from aecodec.archive.manifest import DUPLICATE, FIRST_VERSION, JPEG, ORIGINAL, OTHER, PICTURE, STORED, Record
from aecodec.archive.reader import Archive
from aecodec.archive.salvaging import recover
from aecodec.archive.settings import DEFAULT_SAVING, Settings
from aecodec.archive.shards import ShardWriter, open_shard, read_at
from aecodec.archive.sources import Planned, Source, decode, decoded_bytes, read
from aecodec.archive.storage import Entry
from aecodec.archive.writer import codec_of, encode, finished, free_member
from aecodec.errors import AecodecError, FormatError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from aecodec.options import EncodeArguments


def redo(
    archive: str | Path,
    quality: float | None = None,
    *,
    min_saving: float = DEFAULT_SAVING,
    jpeg: str = "lossy",
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[EncodeArguments],
) -> Report:
    """Compresses what an archive kept as it was, where that is possible by now. Settings as of `create`.

    A shard in which something changes is written anew in one step, everything else in it as it was; what was kept for
    want of a package and still is, with the reason that holds now. The report counts what was compressed, and what
    stays kept as "original" and "other".
    Raises AecodecError if there is no archive, shards of it are damaged, or a setting is unusable.
    """
    started = time.monotonic()
    settings = Settings.parse({"quality": quality, **options}, min_saving, jpeg, "keep", device, model, workers)
    folder, single = storage.resolve(archive)
    report = Report()
    with folder.lock(single):
        opened = Archive(archive)
        if opened.damaged or opened.damaged_index:
            raise AecodecError(f"{archive}: is damaged; aecodec archive repair first")
        kept = [item for item in opened.values() if item.record.kind in (ORIGINAL, OTHER) and not item.record.same_as]
        report.files_total = len(kept)
        report.bytes_total = sum(item.record.bytes for item in kept)
        listed = index.Listed(folder, opened.shards, opened.index) if single is None else None
        if single is not None:
            folder.discard(single)
        for shard in opened.shards:
            records = [item.record for item in kept if item.shard == shard]
            before = {record.name: record for record in records}
            better: dict[str, tuple[Record, bytes | None]] = {}
            for item in _tried(opened, records, settings, report):
                record, data = finished(item)
                compressed = record.kind in (PICTURE, JPEG) and data is not None
                if compressed:
                    better[record.name] = record, data
                elif is_wanting(old := before[record.name]) and not is_wanting(record):  # kept, for another reason now
                    better[record.name] = replace(old, kind=record.kind, reason=record.reason), None
                report.count(replace(record, stored=len(data) if compressed and data else record.bytes))
                report.seconds = time.monotonic() - started
                if progress is not None:
                    progress(report)
            if better:
                _rewrite(opened, shard, better, listed)
    return report


class _Kept:
    """Files of an archive, as those of a folder."""

    def __init__(self, archive: Archive):
        self._archive = archive

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._archive[name].read())

    def state(self, name: str) -> tuple[int, int | None]:
        record = self._archive[name].record
        return record.bytes, record.mtime_ns


def _tried(opened: Archive, records: Sequence[Record], settings: Settings, report: Report) -> list[Source]:
    """The files of these records as they are stored now."""
    files = [Planned(Entry(r.name, r.bytes, r.mtime_ns, r.mode), r.name) for r in records]
    codec = codec_of(settings.device, settings.model)
    result = []
    with ThreadPoolExecutor(settings.workers) as pool:
        found = prefetched(
            pool, partial(read, _Kept(opened), settings), files, lambda one: one.entry.size, READ_PREFETCH
        )
        decoded = prefetched(pool, partial(decode, settings), found, decoded_bytes, DECODE_PREFETCH)
        for batch in encode(codec, decoded, settings, report):
            result += [item if item.encoded or item.record.kind == JPEG else replace(item, data=None) for item in batch]
    return result


def _rewrite(
    opened: Archive, shard: str, better: dict[str, tuple[Record, bytes | None]], listed: index.Listed | None
) -> None:
    """Writes a shard anew with some of its files in another form. Raises AecodecError if another one is damaged."""
    with ExitStack() as stack:
        old = stack.enter_context(opened.folder.open(shard))
        contents = open_shard(old)
        if contents.version == FIRST_VERSION:
            contents = recover(old).contents
        taken = {record.member for record in contents.records}
        draft = stack.enter_context(opened.folder.draft(shard))
        draft.begin([])
        writer = ShardWriter(draft.file, contents.settings)
        writer.begin()
        members: dict[str, str] = {}
        written = []
        for record in contents.records:
            changed, data = better.get(record.name, (record, None))
            if data is not None:
                record = changed
                record = replace(record, member=free_member(record, taken))
                taken.add(record.member)
                record = writer.add(record, data)
            elif record.kind == DUPLICATE and record.same_as in members:
                target = posixpath.relpath(members[record.same_as], posixpath.dirname(record.member) or ".")
                record = writer.add(record, target.encode())
            elif record.kind in STORED:
                try:
                    record = writer.stream(changed, record.stored, read_at(old, record.offset, record.stored))
                except FormatError as error:
                    draft.discard()
                    raise AecodecError(f"{shard}: {error}; aecodec archive repair first") from error
            members[record.name] = record.member
            written.append(record)
        digest = writer.finish(written)
        draft.replace(digest, lambda: listed.put(shard, digest) if listed is not None else None)
