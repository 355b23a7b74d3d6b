"""What there is to archive: which files, under which names, which are duplicates, cut into shards."""

from __future__ import annotations

import fnmatch
import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from aecodec.archive.facts import TIFF, facts
from aecodec.archive.flow import PRESENT, Report
from aecodec.archive.manifest import DUPLICATE, FAILED, FOLDER, LINK, NAME_BYTES, SKIPPED, Record
from aecodec.archive.reader import Archive
from aecodec.archive.shards import CHUNK
from aecodec.archive.sources import Planned
from aecodec.archive.storage import Entry, Folder
from aecodec.errors import AecodecError
from aecodec.files import as_bytes, is_text
from aecodec.picture.inspect import inspect

SHARD_BYTES = 10**8  # source files of a shard
SHARD_FILES = 10_000
# What systems put into folders for themselves.
IGNORED = (
    ".DS_Store",
    ".Spotlight-V100",
    ".Trashes",
    ".fseventsd",
    "Thumbs.db",
    "ehthumbs.db",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
)


@dataclass(frozen=True)
class Naming:
    """How files are called in the archive: below `prefix`, by date in folders as 2019/2019-07-14."""

    prefix: str = ""
    by_date: bool = False

    def __post_init__(self) -> None:
        if self.prefix and not (is_plain(self.prefix) and is_text(self.prefix)):
            raise AecodecError(f"prefix {self.prefix!r}; expected a folder's name as 2019/july")

    def name(self, source: Folder, entry: Entry) -> str:
        parts = [self.prefix.strip("/")] if self.prefix else []
        if self.by_date:
            day = _day(source, entry)
            parts += [day[:4], day] if day else ["undated"]
        return "/".join([*parts, entry.name])


def is_plain(name: str) -> bool:
    """Whether a name stays below the folder that it is in."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _day(source: Folder, entry: Entry) -> str:
    """The day a picture was taken by EXIF, else when the file was modified, in UTC, as 2019-07-14."""
    if entry.size and not entry.target and not entry.problem:
        try:
            with source.open(entry.name) as file:
                exif = inspect(file).part("EXIF")
                file.seek(0)
                if exif is None and file.read(4) in TIFF:
                    file.seek(0)
                    exif = file.read()
        except Exception:  # it will be said when the file is archived
            exif = None
        if exif and (taken := facts(exif).taken):
            return taken[:10]
    return "" if entry.mtime_ns is None else time.strftime("%Y-%m-%d", time.gmtime(entry.mtime_ns // 10**9))


def excluded(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern matches the whole name or, if it has no slash, the name of the file or of a folder above it."""
    parts = name.rstrip("/").split("/")
    return any(
        fnmatch.fnmatchcase(name, pattern)
        or ("/" not in pattern and any(fnmatch.fnmatchcase(p, pattern) for p in parts))
        for pattern in patterns
    )


def plan(
    source: Folder,
    entries: Sequence[Entry],
    existing: Archive | None,
    naming: Naming,
    exclude: Sequence[str],
    others: str,
    workers: int,
    report: Report,
) -> list[list[Planned]]:
    """Runs of files that are still to be archived; what failed before comes last. The report gets what is present.

    A run ends wherever a finished shard holds what is next: cut this way, the shards that a killed run has left undone
    are planned with the same borders again.
    """
    patterns = [*IGNORED, *exclude]
    report.left_out += [entry.name for entry in entries if excluded(entry.name, patterns)]
    left_out = frozenset(report.left_out)
    wanted = [Planned(entry, naming.name(source, entry)) for entry in entries if entry.name not in left_out]
    if naming.by_date:
        wanted.sort(key=lambda planned: planned.name)
    digests = _Digests(source, workers)
    held = {} if existing is None else {name: item.record for name, item in existing.items()}
    failed = {} if existing is None else existing.missing
    if existing is not None:
        held.update(_restorable(existing, wanted, digests))
    digests.prepare(p.entry for p in wanted if _maybe_same(p.entry, held.get(p.name)))
    runs: list[list[Planned]] = [[]]
    again: list[Planned] = []
    for planned in wanted:
        entry = planned.entry
        record = held.get(planned.name)
        if len(as_bytes(planned.name)) > NAME_BYTES:
            planned = replace(planned, entry=replace(entry, problem="its name is too long"))
        if record is None:
            before = failed.get(planned.name)
            same = before is not None and (before.bytes, before.mtime_ns) == (entry.size, entry.mtime_ns)
            if before is None:
                runs[-1].append(planned)
            elif same and before.kind == SKIPPED and others == "skip":
                report.counts[PRESENT] += 1
            else:
                again.append(planned)
            continue
        runs.append([])
        if _same_file(entry, record) or (_maybe_same(entry, record) and digests[entry] == record.sha256):
            report.counts[PRESENT] += 1
        elif entry.problem:
            again.append(planned)
        else:
            report.counts[FAILED] += 1
            report.problems.append((planned.name, "another file of this name is archived"))
    if report.problems:
        report.notes.append(
            "the archive keeps what it holds; --prefix or --by-date puts another card's files under other names"
        )
    return _without_duplicates([*runs, again], held, digests)


def _restorable(existing: Archive, wanted: Sequence[Planned], digests: _Digests) -> dict[str, Record]:
    """Records of duplicates of files whose shard is missing, and that are archived again now, the same as they were."""
    entries = {planned.name: planned.entry for planned in wanted if planned.name not in existing}
    pairs = [(r, entries[r.same_as]) for r in existing.dangling.values() if r.same_as in entries]
    digests.prepare(entry for record, entry in pairs if entry.size == record.bytes)
    return {record.name: record for record, entry in pairs if digests[entry] == record.sha256}


def _same_file(entry: Entry, record: Record) -> bool:
    if entry.name.endswith("/") or record.kind == FOLDER:
        return entry.name.endswith("/") and record.kind == FOLDER
    if entry.target or record.kind == LINK:
        return entry.target == record.target
    return (record.bytes, record.mtime_ns) == (entry.size, entry.mtime_ns)


def _maybe_same(entry: Entry, record: Record | None) -> bool:
    """Whether a file that has another time may yet be the one that was archived."""
    if record is None or entry.problem or entry.target or entry.name.endswith("/"):
        return False
    return record.sha256 != "" and record.bytes == entry.size and not _same_file(entry, record)


class _Digests:
    """SHA-256 of source files, by the entry's name; "" of those that cannot be read."""

    def __init__(self, source: Folder, workers: int):
        self._source, self._workers = source, workers
        self._known: dict[str, str] = {}

    def prepare(self, entries: Iterable[Entry]) -> None:
        new = [entry for entry in entries if entry.name not in self._known]
        with ThreadPoolExecutor(self._workers) as pool:
            self._known.update(zip((entry.name for entry in new), pool.map(self._digest, new), strict=True))

    def __getitem__(self, entry: Entry) -> str:
        return self._known.get(entry.name, "")

    def _digest(self, entry: Entry) -> str:
        digest = hashlib.sha256()
        try:
            with self._source.open(entry.name) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        except Exception:  # remote file systems raise whatever they like; it will be said when the file is archived
            return ""
        return digest.hexdigest()


def _without_duplicates(
    runs: list[list[Planned]], held: Mapping[str, Record], digests: _Digests
) -> list[list[Planned]]:
    """The same, with what has the same bytes as another file marked. Only files of equal size are read for that."""
    sizes: defaultdict[int, int] = defaultdict(int)
    first: dict[str, str] = {}  # name by digest
    for record in held.values():
        if record.sha256 and record.bytes and not record.same_as and record.kind != DUPLICATE:
            sizes[record.bytes] += 1
            first.setdefault(record.sha256, record.name)
    files = [p for run in runs for p in run if p.entry.size and not p.entry.problem and not p.entry.target]
    for planned in files:
        sizes[planned.entry.size] += 1
    digests.prepare(p.entry for p in files if sizes[p.entry.size] > 1)

    def marked(planned: Planned) -> Planned:
        digest = "" if planned.entry.problem or planned.entry.target else digests[planned.entry]
        if not digest or not planned.entry.size:
            return planned
        name = first.setdefault(digest, planned.name)
        return planned if name == planned.name else replace(planned, same_as=name)

    return [[marked(planned) for planned in run] for run in runs]


def parts(run: Iterable[Planned], shard_size: float) -> Iterator[tuple[Planned, ...]]:
    """A run cut into shards."""
    part: list[Planned] = []
    size = 0
    for planned in run:
        if part and (size + planned.entry.size > shard_size or len(part) == SHARD_FILES):
            yield tuple(part)
            part, size = [], 0
        part.append(planned)
        size += planned.entry.size
    if part:
        yield tuple(part)


def alone(part: Iterable[Planned], held: Mapping[str, Record]) -> tuple[Planned, ...]:
    """A part of which another machine makes a shard: what is the same as a file of another part is stored again."""
    names = {planned.name for planned in part}
    return tuple(
        replace(p, same_as="") if p.same_as and p.same_as not in held and p.same_as not in names else p for p in part
    )
