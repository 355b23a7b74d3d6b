"""Making one shard out of source files.

Sources are read and decoded ahead in threads, the network runs in the calling thread, another thread writes. What a
shard holds depends only on the listing of the source and on the settings, never on timing: an archive that is continued
after it was killed becomes the same, byte for byte, as one that was made in one go.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from aecodec.archive import manifest, storage
from aecodec.archive.fidelity import colour, psnr, signature
from aecodec.archive.flow import DECODE_AHEAD, READ_AHEAD, Report, ahead, batches, reason_of, through_codec
from aecodec.archive.manifest import FAILED, ORIGINAL, PICTURE, STORED, Record
from aecodec.archive.sources import Source, as_other, decode, decoded_bytes, pieces, read
from aecodec.archive.storage import Entry, Folder
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.options import EncodeOptions
from aecodec.picture import Picture
from aecodec.rate import OutOfReachError


@dataclass(frozen=True)
class Settings:
    """How sources are stored; see `create`."""

    options: EncodeOptions
    min_psnr: float | None
    others: str
    device: str
    model: str | Path | None
    workers: int

    def recorded(self, codec: Codec) -> dict[str, Any]:
        """What the manifest tells of them: all that the content depends on."""
        return {
            "quality": self.options.quality,
            "bpp": self.options.bpp,
            "psnr": self.options.psnr,
            "min_psnr": self.min_psnr,
            "others": self.others,
            "model": codec.model.id.hex(),
            # Archives older than this setting name none.
            **({"effort": self.options.effort} if self.options.effort else {}),
        }


@dataclass(frozen=True)
class Shard:
    """A shard to be made of these entries of the source. source, destination: paths or URLs of folders."""

    source: str
    destination: str
    name: str
    entries: tuple[Entry, ...]


@lru_cache(maxsize=1)
def codec_of(device: str, model: str | Path | None) -> Codec:
    return Codec(device, model)


class _NothingToStore(Exception):
    """None of the sources of a shard could be read."""


def make_shard(
    shard: Shard, settings: Settings, report: Report | None = None, advanced: Callable[[], None] | None = None
) -> Report:
    """Makes one shard, here or on another machine; there is none if none of its sources could be read.

    report: what is done is added to it. advanced: called after every file.
    Raises AecodecError if the shard cannot be written.
    """
    report = Report() if report is None else report
    codec = codec_of(settings.device, settings.model)
    source, destination = storage.folder(shard.source), storage.folder(shard.destination)
    records: list[Record] = []

    def fill(file: BinaryIO) -> None:
        with (
            ThreadPoolExecutor(settings.workers) as pool,
            ThreadPoolExecutor(1) as writer,
            zipfile.ZipFile(file, "w") as opened,
        ):
            store = _Store(opened, source, settings, frozenset(entry.name for entry in shard.entries))
            found = ahead(pool, partial(read, source, settings.others), shard.entries, lambda e: e.size, READ_AHEAD)
            decoded = ahead(pool, partial(decode, settings.others), found, decoded_bytes, DECODE_AHEAD)
            encoded = _encode(codec, decoded, settings, report)
            for record in ahead(writer, store, encoded, decoded_bytes, DECODE_AHEAD):
                records.append(record)
                _count(report, record)
                if advanced is not None:
                    advanced()
            if not any(record.kind in STORED for record in records):
                raise _NothingToStore
            manifest.write_manifest(opened, settings.recorded(codec), records)

    try:
        destination.write(shard.name, fill)
    except _NothingToStore:
        pass
    except OSError as error:
        raise AecodecError(
            f"{destination}/{shard.name}: {error.strerror or error}; finished shards stay, the same command continues"
        ) from error
    return report


def _count(report: Report, record: Record) -> None:
    report.counts[record.kind] += 1
    report.bytes_in += record.bytes
    report.bytes_out += record.stored
    if record.kind == PICTURE:
        report.pixels += record.width * record.height
    if record.kind == FAILED:
        report.problems.append((record.name, record.reason))


def _encode(codec: Codec, items: Iterable[Source], settings: Settings, report: Report) -> Iterator[Source]:
    """Pictures compressed, and decoded again for the record; other items pass."""

    def both(pictures: Sequence[Picture]) -> list[tuple[bytes, Image.Image]]:
        files = codec.encode(pictures, settings.options)
        return list(zip(files, codec.decompress_batch(files), strict=True))

    for batch in batches(items, lambda item: item.record):
        results = iter(through_codec(both, [item.picture for item in batch if item.picture is not None], report))
        for item in batch:
            if item.picture is not None:
                result = next(results)
                if isinstance(result, OutOfReachError):
                    item = replace(item, record=replace(item.record, kind=ORIGINAL, reason=reason_of(result)))
                elif isinstance(result, Exception):
                    item = replace(item, record=as_other(item.record, reason_of(result), settings.others))
                else:
                    item = replace(item, encoded=result)
            yield item


class _Store:
    """Adds sources to a shard that is being written, in the form that is the better one."""

    def __init__(self, opened: zipfile.ZipFile, source: Folder, settings: Settings, names: frozenset[str]):
        self._opened = opened
        self._source = source
        self._settings = settings
        self._taken = {manifest.MANIFEST, *names}

    def __call__(self, item: Source) -> Record:
        record, data = item.record, item.data
        if record.kind not in STORED:
            return record
        if item.encoded is not None and item.picture is not None:
            record, data = self._judge(record, item.data, item.picture, *item.encoded)
        record = replace(record, member=self._member(record))
        info = manifest.member_info(record.member, record.mtime_ns)
        if data is None:
            return self._copy(record, info)
        self._opened.writestr(info, data)
        return replace(record, stored=len(data))

    def _judge(
        self, record: Record, data: bytes | None, source: Picture, encoded: bytes, decoded: Image.Image
    ) -> tuple[Record, bytes | None]:
        """What is stored of a picture."""
        quality = psnr(source.colour, colour(decoded))
        if len(encoded) >= record.bytes:
            return replace(record, kind=ORIGINAL, reason=f"would be {len(encoded)} bytes"), data
        if self._settings.min_psnr is not None and quality < self._settings.min_psnr:
            return replace(record, kind=ORIGINAL, reason=f"would have {quality:.2f} dB"), data
        bpp = round(8 * len(encoded) / (record.width * record.height), 4)
        return replace(record, bpp=bpp, psnr=round(quality, 3), signature=signature(decoded).hex()), encoded

    def _member(self, record: Record) -> str:
        wanted = record.name
        if record.kind != PICTURE and wanted != manifest.MANIFEST:
            return wanted
        number = 0
        while (member := f"{wanted}.{number}.aec" if number else f"{wanted}.aec") in self._taken:
            number += 1
        self._taken.add(member)
        return member

    def _copy(self, record: Record, info: zipfile.ZipInfo) -> Record:
        """Stores a large file piece by piece."""
        digest = hashlib.sha256()
        info.file_size = record.bytes  # decides whether the member needs Zip64
        try:
            with self._opened.open(info, "w") as member:
                for piece in pieces(self._source, record):
                    digest.update(piece)
                    member.write(piece)
        except AecodecError as error:
            # What was written stays as a gap that nothing points to.
            self._opened.filelist.remove(info)
            del self._opened.NameToInfo[info.filename]
            return replace(record, kind=FAILED, member="", reason=str(error))
        return replace(record, stored=record.bytes, sha256=digest.hexdigest())
