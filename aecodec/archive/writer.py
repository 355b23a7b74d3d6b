"""Making one shard out of source files.

Sources are read and decoded ahead in threads, the network runs in the calling thread, another thread writes. What a
shard holds depends only on the listing of the source and on the settings, never on timing: an archive that is continued
after it was killed becomes the same, byte for byte, as one that was made in one go. What is written of a shard that is
not finished yet is in its draft, batch by batch, and the next run goes on behind the last whole batch.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from aecodec.archive import descriptions, manifest, storage
from aecodec.archive.fidelity import psnr, score, signature
from aecodec.archive.flow import DECODE_PREFETCH, READ_PREFETCH, Report, batches, prefetched, reason_of, through_codec
from aecodec.archive.manifest import (
    CHANGED,
    DUPLICATE,
    FAILED,
    JPEG,
    ORIGINAL,
    OTHER,
    PICTURE,
    STORED,
    Record,
    shortened,
)
from aecodec.archive.settings import Settings
from aecodec.archive.shards import ShardWriter
from aecodec.archive.sources import (
    Planned,
    Source,
    as_other,
    decode,
    decoded_bytes,
    pieces,
    read,
    saves_enough,
    too_large,
)
from aecodec.archive.storage import Draft, Readable
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError
from aecodec.files import spelt_out
from aecodec.options import TARGETS, EncodeOptions
from aecodec.picture import Picture
from aecodec.rate import OutOfReachError

RESERVED = (manifest.MANIFEST, manifest.PREFACE)  # names that members of sources cannot have


@dataclass(frozen=True)
class Shard:
    """A shard to be made of these files of the source. source, destination: paths or URLs of folders. held: records of
    what the archive has already, by name, of which some of the files are duplicates."""

    source: str
    destination: str
    name: str
    files: tuple[Planned, ...]
    held: Mapping[str, Record] = field(default_factory=dict)


@lru_cache(maxsize=1)
def codec_of(device: str, model: str | Path | None) -> Codec:
    return Codec(device, model)


def make_shard(
    shard: Shard, settings: Settings, report: Report | None = None, advanced: Callable[[], None] | None = None
) -> tuple[Report, str | None, list[Record]]:
    """Makes one shard, here or on another machine; there is none if none of its sources could be read.

    report: what is done is added to it. advanced: called after every file.
    Returns the report, the SHA-256 of the shard or None, and its records.
    Raises AecodecError if the shard cannot be written.
    """
    report = Report() if report is None else report
    codec = codec_of(settings.device, settings.model)
    source, destination = storage.folder(shard.source), storage.folder(shard.destination)
    try:
        with destination.draft(shard.name) as draft:
            store = _Store(draft, source, shard, settings.recorded(codec))
            for record in store.records:
                report.count(record)
            rest = shard.files[len(store.records) :]
            with ThreadPoolExecutor(settings.workers) as pool, ThreadPoolExecutor(1) as writer:
                found = prefetched(
                    pool, partial(read, source, settings), rest, lambda one: one.entry.size, READ_PREFETCH
                )
                decoded = prefetched(pool, partial(decode, settings), found, decoded_bytes, DECODE_PREFETCH)
                encoded = encode(codec, decoded, settings, report)
                for records in prefetched(
                    writer, store, encoded, lambda b: sum(map(decoded_bytes, b)), DECODE_PREFETCH
                ):
                    for record in records:
                        report.count(record)
                        if advanced is not None:
                            advanced()
            if not any(record.kind in STORED for record in store.records):
                draft.discard()
                return report, None, store.records
            digest = store.shard.finish(store.records)
            descriptions.of_draft(codec, destination, shard.name, draft.file, store.records)
            draft.publish()
            return report, digest, store.records
    except OSError as error:
        raise AecodecError(
            f"{destination}/{shard.name}: {error.strerror or error}; what is finished stays, the same command continues"
        ) from error


def encode(codec: Codec, items: Iterable[Source], settings: Settings, report: Report) -> Iterator[list[Source]]:
    """Batches in which pictures are compressed, and decoded again for the record; other items pass."""
    wanted = replace(settings.options, min_psnr=None)

    def reaching(**target: float) -> EncodeOptions:
        tune = wanted.tuned_for if settings.model is None else None
        others: dict[str, Any] = {**dict.fromkeys(TARGETS), **target}
        return replace(wanted, tune=tune, **others)

    def raised(source: Picture, result: Any) -> Any:
        """The result, or that of a quality at which the picture is above the floors."""
        floor, least = settings.options.min_psnr, settings.min_score
        if floor is not None and isinstance(result, tuple) and result[2] < floor:
            (result,) = through_codec(partial(both, options=reaching(psnr=floor)), [source], report)
        if least is not None and isinstance(result, tuple) and score(source, result[1], codec.device) < least:
            (result,) = through_codec(partial(both, options=reaching(score=least)), [source], report)
        return result

    def measured(source: Picture, data: bytes, image: Image.Image) -> tuple[bytes, Image.Image, float]:
        return data, image, psnr(source, image)

    def both(pictures: Sequence[Picture], options: EncodeOptions) -> list[tuple[bytes, Image.Image, float]]:
        files = codec.encode(pictures, options)
        return list(map(measured, pictures, files, codec.decompress_batch(files)))

    for batch in batches(items, lambda item: (item.record.width, item.record.height), codec.device):
        pictures = [item.picture for item in batch if item.picture is not None]
        results = iter(through_codec(partial(both, options=wanted), pictures, report))
        done = []
        for item in batch:
            if item.picture is not None:
                result = raised(item.picture, next(results))
                record = item.record
                if isinstance(result, OutOfReachError):
                    item = replace(item, record=replace(record, kind=ORIGINAL, reason=reason_of(result)))
                elif isinstance(result, Exception):
                    item = replace(item, record=as_other(record, reason_of(result), settings.others))
                elif not saves_enough(len(result[0]), record.bytes, settings):
                    reason = too_large(len(result[0]), record.bytes)
                    item = replace(item, record=replace(record, kind=ORIGINAL, reason=reason))
                else:
                    item = replace(item, encoded=result)
            done.append(item)
        yield done


def finished(item: Source) -> tuple[Record, bytes | None]:
    """The record of a source, with what was measured, and what is stored of it, None if that is to be copied."""
    if item.encoded is None:
        return item.record, item.data
    data, image, quality = item.encoded
    bpp = round(8 * len(data) / (item.record.width * item.record.height), 4)
    return replace(item.record, bpp=bpp, psnr=round(quality, 3), signature=signature(image).hex()), data


def free_member(record: Record, taken: Set[str]) -> str:
    """A name for the member of a file that is not taken; kept files have their own, if it is UTF-8."""
    name, kept = spelt_out(record.name), record.kind not in CHANGED
    if kept and name not in RESERVED and (name == record.name or name not in taken):
        return name
    number, suffix = 0, {PICTURE: ".aec", JPEG: ".jxl"}.get(record.kind, ".kept")
    while (member := f"{name}.{number}{suffix}" if number else f"{name}{suffix}") in taken:
        number += 1
    return member


class _Store:
    """Adds batches of sources to the draft of a shard.

    Attributes: records, of all that the shard holds so far.
    """

    def __init__(self, draft: Draft, source: Readable, job: Shard, settings: Mapping[str, Any]):
        self._draft, self._source, self._job = draft, source, job
        self._entries = {one.entry.name: one.entry for one in job.files}
        self._known = dict(job.held)
        self._taken = {*RESERVED, *(one.name for one in job.files)}
        plan = manifest.dump([manifest.VERSION, settings, [asdict(one) for one in job.files]])
        head = hashlib.sha256(plan).hexdigest().encode()
        lines = draft.journal()
        self.records: list[Record] = []
        self.shard = ShardWriter(draft.file, settings)
        whole = [head]
        for line in lines[1:] if lines[:1] == [head] else ():
            batch = _parsed(line)
            if batch is None or not self.shard.take(batch):
                break
            self.records += batch
            whole.append(line)
        self.shard.begin()
        if whole != lines:
            draft.begin(whole)
        for record in self.records:
            self._remember(record)

    def __call__(self, batch: Sequence[Source]) -> list[Record]:
        records = [self._add(item) for item in batch]
        self.records += records
        self._draft.checkpoint(manifest.dump([manifest.to_json(record) for record in records]))
        return records

    def _remember(self, record: Record) -> None:
        if record.kind in STORED:
            self._taken.add(record.member)
            if record.kind != DUPLICATE:
                self._known[record.name] = record

    def _add(self, item: Source) -> Record:
        record, data = item.record, item.data
        if record.kind == DUPLICATE:
            same = self._known.get(record.same_as)
            if same is None:
                reason = shortened(f"{record.same_as}, which is the same, could not be archived")
                record = replace(record, kind=OTHER, same_as="", reason=reason)
            else:
                record, data = self._duplicate(record, same)
        if record.kind not in STORED:
            return record
        if item.encoded is not None:
            record, data = finished(item)
        record = replace(record, member=record.member or free_member(record, self._taken))
        record = self.shard.add(record, data) if data is not None else self._copy(record, item.path)
        self._remember(record)
        return record

    def _duplicate(self, record: Record, same: Record) -> tuple[Record, bytes]:
        """Its record, and a link to the member that it is the same as."""
        member = free_member(replace(record, kind=same.kind), self._taken)
        target = posixpath.relpath(same.member, posixpath.dirname(member) or ".").encode()
        own = replace(record, member=member, sha256=same.sha256, width=same.width, height=same.height)
        return replace(own, taken=same.taken, camera=same.camera, place=same.place), target

    def _copy(self, record: Record, path: str) -> Record:
        """Stores a large file piece by piece."""
        try:
            return self.shard.stream(record, record.bytes, pieces(self._source, self._entries[path]))
        except (AecodecError, FormatError) as error:
            return replace(record, kind=FAILED, member="", reason=shortened(str(error)))


def _parsed(line: bytes) -> list[Record] | None:
    """The records of a line of the journal; None if it is damaged."""
    try:
        return [manifest.from_json(one) for one in manifest.parse(line)]
    except (FormatError, TypeError):
        return None
