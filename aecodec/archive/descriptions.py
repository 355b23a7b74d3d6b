"""Descriptions of the pictures of an archive: one file of columns beside each shard, NAME.zip.descriptions.npz.

They are made of what the shard holds, so nothing is lost with them and any run can make them again: shards, their seals
and SHA256SUMS do not know of them. A row belongs to the member whose bytes have its hash, whatever shard that is in.
"""

from __future__ import annotations

import hashlib
import io
import time
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from aecodec import models
from aecodec.archive.flow import PRESENT, Progress, Report, reason_of
from aecodec.archive.jpegs import restore
from aecodec.archive.manifest import JPEG, ORIGINAL, PICTURE, Record
from aecodec.archive.reader import Archive, Item
from aecodec.archive.settings import DEFAULT_QUALITIES
from aecodec.archive.shards import read_at
from aecodec.archive.storage import Folder
from aecodec.codec import Codec
from aecodec.description import RECORD, VERSION, Description
from aecodec.errors import AecodecError, FormatError, PictureWarning

SUFFIX = ".descriptions.npz"
MAX_BYTES = 2**27  # of one such file; a shard holds at most 10,000 files
HASH_BYTES = 32
PICTURES = (PICTURE, JPEG, ORIGINAL)  # kinds
SEAL = b"sealed "  # begins the comment of the ZIP file, which ends with the SHA-256 of all before that

Rows = npt.NDArray[np.void]  # of `RECORD`


@dataclass(frozen=True)
class Described:
    """Pictures of an archive that are described, each file once. items, and rows of `RECORD`, in the same order;
    missing: names of pictures that are not; damaged: what is wrong with which file of descriptions."""

    items: Sequence[Item]
    rows: Rows
    missing: Sequence[str]
    damaged: Sequence[tuple[str, str]]

    def of_same_coding(self) -> Described:
        """Those whose latents compare: of the model and the quality that most pictures have."""
        if not self.items:
            return self
        kinds = np.rec.fromarrays([self.rows["model"].copy().view("<u4")[:, 0], self.rows["quality"]])
        values, places, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        return self[np.flatnonzero(places.reshape(-1) == counts.argmax())] if len(values) > 1 else self

    def __getitem__(self, chosen: npt.NDArray[np.intp]) -> Described:
        return Described([self.items[k] for k in chosen], self.rows[chosen], self.missing, self.damaged)


def key(record: Record) -> str:
    """By which a record finds its description: the SHA-256 of its stored bytes; of the source, in the first format."""
    return record.stored_sha256 or record.sha256


def read(folder: Folder, shard: str) -> dict[str, Rows]:
    """Descriptions that are kept beside a shard, by `key`; none if there are none. Raises FormatError if the file is
    damaged or of another version."""
    name = shard + SUFFIX
    if not folder.exists(name):
        return {}
    with folder.open(name) as file:
        data = file.read(MAX_BYTES)
    try:
        if data[: -2 * HASH_BYTES][-len(SEAL) :] != SEAL or data != _sealed(data):
            raise ValueError("its bytes are not those that were sealed")
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if any(member.compress_type != zipfile.ZIP_STORED for member in packed.infolist()):
                raise FormatError(f"{name}: its columns are compressed")
        with np.load(io.BytesIO(data), allow_pickle=False) as columns:
            version = int(columns["version"])
            if version != VERSION:
                raise FormatError(f"{name}: descriptions of version {version}; this aecodec reads {VERSION}")
            hashes = columns["sha256"]
            count = len(hashes)
            rows = np.zeros(count, RECORD)
            kinds = {"sha256": (np.dtype(np.uint8), (HASH_BYTES,))}
            kinds |= {column: (kind.base, kind.shape) for column, (kind, *_) in (RECORD.fields or {}).items()}
            for column, (dtype, shape) in kinds.items():
                values = columns[column]
                if values.dtype != dtype or values.shape != (count, *shape):
                    raise FormatError(f"{name}: column {column} is {values.dtype} {values.shape}")
                if column != "sha256":
                    rows[column] = values
    # What NumPy and zipfile raise for files that are no such file.
    except (ValueError, KeyError, TypeError, OSError, EOFError, MemoryError, zipfile.BadZipFile, SyntaxError) as error:
        raise FormatError(f"{name}: damaged ({error}); aecodec archive describe writes it anew") from error
    return {bytes(one).hex(): rows[k : k + 1] for k, one in enumerate(hashes)}


def write(folder: Folder, shard: str, described: Mapping[str, Rows]) -> None:
    """Keeps descriptions beside a shard, by `key`."""
    rows = np.concatenate([np.zeros(0, RECORD), *described.values()])
    hashes = np.array([list(bytes.fromhex(one)) for one in described], np.uint8).reshape(-1, HASH_BYTES)
    columns = {name: np.ascontiguousarray(rows[name]) for name in RECORD.names or ()}
    buffer = io.BytesIO()
    np.savez(buffer, version=np.uint8(VERSION), sha256=hashes, **columns)  # type: ignore[arg-type]  # of a flag beside
    with zipfile.ZipFile(buffer, "a") as packed:
        packed.comment = SEAL + bytes(2 * HASH_BYTES)
    folder.write(shard + SUFFIX, lambda file: file.write(_sealed(buffer.getvalue())))


def _sealed(data: bytes) -> bytes:
    """The same with the SHA-256, hexadecimal, of what is before it as its end."""
    told = data[: -2 * HASH_BYTES]
    return told + hashlib.sha256(told).hexdigest().encode()


def each(opened: Archive) -> Iterator[tuple[str, dict[str, Rows], str]]:
    """(name, descriptions by `key`, what is wrong with it) of the file beside each shard."""
    for shard in opened.shards:
        name = shard + SUFFIX
        try:
            yield name, read(opened.folder, shard), ""
        except (FormatError, OSError) as error:
            yield name, {}, reason_of(error).removeprefix(f"{name}: ")


def of_draft(codec: Codec, folder: Folder, shard: str, file: BinaryIO, records: Iterable[Record]) -> None:
    """Describes what was just written to the draft of a shard; a model that cannot describe leaves out the file."""
    described: dict[str, Rows] = {}
    for record in records:
        if record.kind == PICTURE:
            try:
                data = b"".join(read_at(file, record.offset, record.stored))
                described[key(record)] = codec.describe(data).record()
            except (AecodecError, MemoryError):  # `describe` says why, if anyone asks
                continue
    if described:
        write(folder, shard, described)


def pictures(opened: Archive) -> Iterator[Item]:
    """The pictures of an archive, compressed or kept as they were, each once."""
    return (item for item in opened.values() if item.record.kind in PICTURES and not item.record.same_as)


def load(opened: Archive) -> Described:
    """The descriptions of an archive, as far as it has them."""
    known: dict[str, Rows] = {}
    damaged = []
    for name, rows_by_key, problem in each(opened):
        known |= rows_by_key
        damaged += [(name, problem)] if problem else []
    items = list(pictures(opened))
    found = [item for item in items if key(item.record) in known]
    rows = np.concatenate([np.zeros(0, RECORD), *(known[key(item.record)] for item in found)])
    missing = [item.name for item in items if key(item.record) not in known]
    return Described(found, rows, missing, damaged)


def load_some(opened: Archive, least: int = 1) -> Described:
    """The descriptions of an archive. Raises AecodecError if it has fewer than so many."""
    described = load(opened)
    if len(described.items) < least:
        missing = len(described.missing)
        cure = f"; {missing:,} are not: aecodec archive describe describes them" if missing else ""
        raise AecodecError(f"{len(described.items):,} pictures here are described, {least:,} are needed{cure}")
    return described


def describe(
    archive: str | Path | Archive,
    *,
    device: str = "auto",
    model: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Describes the pictures of an archive that are not described yet; goes on where an earlier run has ended.

    Of compressed pictures only latents are read; archives that were made by an older aecodec have no descriptions of
    them. Pictures that were kept as they were are compressed for it, as the archive's others are, and nothing else is
    done with that. device, model: as of `Codec`, unless the archive is open already.
    Counts "described" and "present" pictures; what cannot be described is a problem in the report, of kept pictures a
    note.
    """
    started = time.monotonic()
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model)
    report = Report()
    items = list(pictures(opened))
    report.files_total = len(items)
    report.bytes_total = sum(item.record.stored for item in items)
    coder = _Coder(opened, device, model)
    with opened.folder.lock(opened.single):
        for shard in opened.shards:
            own = [item for item in items if item.shard == shard]
            try:
                known, damaged = read(opened.folder, shard), False
            except FormatError as error:
                known, damaged = {}, True
                report.notes.append(str(error))
            described: dict[str, Rows] = {}
            for item in own:
                row = known.get(key(item.record))
                report.counts[PRESENT] += row is not None
                row = _row(opened, item, coder, report) if row is None else row
                if row is not None:
                    described[key(item.record)] = row
                report.bytes_in += item.record.stored
                report.seconds = time.monotonic() - started
                if progress is not None:
                    progress(report)
            if damaged or described.keys() != known.keys():
                write(opened.folder, shard, described)
    return report


class _Coder:
    """What pictures that were kept are compressed by for their descriptions, loaded when there is one."""

    def __init__(self, opened: Archive, device: str, model: str | Path | None):
        told = opened.settings[0]
        self.quality = told.get("quality") or DEFAULT_QUALITIES["visual"]
        self._model_id, self._device, self._model = str(told.get("model")), device, model

    @cached_property
    def codec(self) -> Codec:
        return Codec(self._device, self._model or models.released_name(bytes.fromhex(self._model_id)))

    def describe(self, item: Item) -> Rows:
        data = item.read()
        data = restore(data) if item.record.kind == JPEG else data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PictureWarning)  # of what is not in a description anyway
            return self.codec.describe(data, self.quality).record()


def _row(opened: Archive, item: Item, coder: _Coder, report: Report) -> Rows | None:
    """The description of a picture that has none yet."""
    compressed = item.record.kind == PICTURE
    try:
        row = opened.codec.describe(item.read()).record() if compressed else coder.describe(item)
    except (AecodecError, OSError, MemoryError, ValueError) as error:
        if compressed:
            report.problems.append((item.name, reason_of(error)))
        else:
            report.notes.append(f"{item.name}: kept, and cannot be described ({reason_of(error)})")
        return None
    report.counts["described"] += 1
    report.pixels += item.record.width * item.record.height
    return row


def description_of(described: Described, number: int) -> Description:
    """One of them."""
    return Description.of_record(described.rows[number : number + 1])
