"""Making archives: from a folder to shards.

Sources are read and decoded ahead in threads, the network runs in the calling thread, another thread writes. What a
shard holds depends only on the listing of the source and on the settings, never on timing: an archive that is continued
after it was killed becomes the same, byte for byte, as one that was made in one go.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import time
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from aecodec import picture, rate, shards, storage
from aecodec.codec import Codec, check_effort
from aecodec.container import DEFAULT_PIXEL_LIMIT
from aecodec.errors import AecodecError
from aecodec.picture import Picture, Pixels
from aecodec.rate import DEFAULT_EFFORT, DEFAULT_QUALITY, Goal, OutOfReachError
from aecodec.shards import FAILED, FOLDER, ORIGINAL, OTHER, PICTURE, SKIPPED, STORED, Archive, Record
from aecodec.storage import Entry, Folder

OTHERS = {"keep": OTHER, "skip": SKIPPED, "fail": FAILED}  # what becomes of files that are not pictures
PRESENT = "present"  # counted in reports: the archive held it already
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)
SHARD_BYTES = 10**9  # source files of a shard
SHARD_FILES = 10_000
BATCH_PIXELS = 2**24  # pictures that are handed to the codec together have about so many pixels
BATCH_FILES = 256
READ_AHEAD = 2**26  # bytes of files that are read and wait
DECODE_AHEAD = 2**28  # bytes of decoded pictures that wait, before the network and after it
FILE_COST = 2**14  # bytes that every file counts at least, so that small ones do not wait by the thousand
STREAMED = 2**26  # bytes from which a file that is not compressed is copied piece by piece
RETRIES = 3  # of a shard that failed on a cluster
SIGNATURE_SIDE = 4
WHOLE_MODES = frozenset(["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa"])  # .aec holds them without conversion

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Report:
    """What was done, so far or in all.

    counts: files of each kind, see `shards`, and "present", those that the archive held already. problems: (name,
    reason). bytes_total: of all sources there are to do. bytes_in, bytes_out: of those done, and of what was made of
    them. pixels: that were compressed or decoded. seconds: in all; codec_seconds: in the codec.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    bytes_total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    codec_seconds: float = 0.0


Progress = Callable[[Report], None]


@dataclass(frozen=True)
class Settings:
    """How sources are stored; see `create`."""

    goal: Goal
    min_psnr: float | None
    effort: int
    others: str
    device: str
    model: str | Path | None
    workers: int

    def recorded(self, codec: Codec) -> dict[str, Any]:
        """What the manifest tells of them: all that the content depends on."""
        return {
            "quality": self.goal.quality,
            "bpp": self.goal.bpp,
            "psnr": self.goal.psnr,
            "min_psnr": self.min_psnr,
            "others": self.others,
            "model": codec.model.id.hex(),
            **({"effort": self.effort} if self.effort else {}),  # archives older than this setting name none
        }


@dataclass(frozen=True)
class Shard:
    """A shard to be made of these entries of the source. source, destination: paths or URLs of folders."""

    source: str
    destination: str
    name: str
    entries: tuple[Entry, ...]


def create(
    source: str | Path,
    destination: str | Path,
    quality: float | None = None,
    *,
    bpp: float | None = None,
    psnr: float | None = None,
    min_psnr: float | None = None,
    effort: int = DEFAULT_EFFORT,
    others: str = "keep",
    shard_size: float = SHARD_BYTES,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    same_settings: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Archives a folder with everything in it; continues what an earlier run of the same call has begun.

    source: a folder, local or a URL of fsspec; it is only read. destination: a folder, which gets a shard for every
    `shard_size` bytes of source files, or a name that ends in .zip, for a single shard.
    quality: 1..100, 50 if nothing else is asked for. bpp, psnr: of every picture, see `Codec.compress`. min_psnr: dB.
    Pictures for which these cannot be had are kept as they are, as are those that would grow and those that an .aec
    file cannot hold whole (several frames, more than 8 bits, CMYK).
    effort: steps of a search for smaller files, see `Codec.compress`.
    others: what becomes of files that are not pictures, or damaged: "keep" them as they are, "skip" or "fail".
    device, model: as of `Codec`. workers: threads that read and decode sources.
    engine: "local", or "ray": shards are made by tasks of a Ray cluster, the one at `address` or one on this machine.
    same_settings: whether an archive that exists must have been made with the same settings.
    progress: called after every file.

    Files that cannot be read are problems in the report; the rest is archived, and the next call tries them again. An
    archive is never changed but by adding shards.
    Raises AecodecError if source, destination or a setting is unusable, or if a shard cannot be written.
    """
    started = time.monotonic()
    if quality is None and bpp is None and psnr is None:
        quality = DEFAULT_QUALITY
    goal = Goal(quality, bpp, None, psnr)
    check_effort(effort)
    if others not in OTHERS:
        raise AecodecError(f"others {others!r}; expected {', '.join(OTHERS)}")
    if engine not in ("local", "ray"):
        raise AecodecError(f"engine {engine!r}; expected local or ray")
    if isinstance(model, Path) or (model or "").endswith(".safetensors"):
        model = Path(str(model)).absolute()  # a worker of Ray has another working directory
    settings = Settings(goal, min_psnr, effort, others, device, model, workers or DEFAULT_WORKERS)
    codec = _codec(device, model)
    source_folder = storage.folder(source)
    folder, single = shards.locate(destination)
    if isinstance(folder, storage.LocalFolder) and isinstance(source_folder, storage.LocalFolder):
        root = source_folder.root.resolve()
        if root in (folder.root.resolve(), *folder.root.resolve().parents):
            raise AecodecError(f"{destination}: is inside the folder that it would archive")
    entries = source_folder.entries()
    if not entries:
        raise AecodecError(f"{source}: nothing to archive in this folder")

    existing = Archive(destination) if (folder.exists(single) if single else folder.zips()) else None
    if existing is not None and same_settings:
        for made in existing.settings:
            if made != settings.recorded(codec):
                raise AecodecError(
                    f"{destination}: was made with {_listed(made)}, not {_listed(settings.recorded(codec))}; "
                    "append takes other settings"
                )
    report = Report()
    runs = _missing_runs(entries, existing, others, report)
    if single is None:
        parts = [part for run in runs for part in _parts(run, shard_size)]
    else:
        parts = [part] if (part := tuple(entry for run in runs for entry in run)) else []
        if existing is not None and parts:
            raise AecodecError(f"{destination}: is a single shard, which cannot grow; archive into a folder instead")
    taken = frozenset(existing.shards if existing is not None else ())
    names = iter([single]) if single else (name for i in itertools.count() if (name := f"{i:05}.zip") not in taken)
    jobs = [Shard(str(source_folder), str(folder), next(names), part) for part in parts]
    report.bytes_total = sum(entry.size for part in parts for entry in part)
    for job in jobs:
        folder.discard_temporaries(job.name)

    def advanced() -> None:
        report.seconds = time.monotonic() - started
        if progress is not None:
            progress(report)

    if engine == "ray":
        _with_ray(jobs, settings, address, report, advanced)
    else:
        for job in jobs:
            make_shard(job, settings, report, advanced)
    advanced()
    return report


def append(source: str | Path, archive: str | Path, quality: float | None = None, **options: Any) -> Report:
    """Adds what is new in a folder to an archive that exists; the settings may differ from the archive's. See `create`.

    What the archive holds stays as it is; a source that has changed since is a problem in the report.
    """
    Archive(archive)  # raises if there is none
    return create(source, archive, quality, same_settings=False, **options)


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _missing_runs(entries: Sequence[Entry], existing: Archive | None, others: str, report: Report) -> list[list[Entry]]:
    """What is still to be archived, cut wherever a finished shard holds what is between; what failed before comes last.

    Cut this way, the shards that a killed run has left undone are planned with the same borders again.
    """
    if existing is None:
        return [list(entries)]
    runs: list[list[Entry]] = [[]]
    again: list[Entry] = []
    for entry in entries:
        held = existing.get(entry.name)
        record = held.record if held else existing.missing.get(entry.name)
        if record is None:
            runs[-1].append(entry)
            continue
        same = (record.bytes, record.mtime_ns) == (entry.size, entry.mtime_ns)
        if held:
            runs.append([])
        if same and (held or (record.kind == SKIPPED and others == "skip")):
            report.counts[PRESENT] += 1
        elif held and not entry.problem:
            report.counts[FAILED] += 1
            report.problems.append((entry.name, "has changed since it was archived; the archive keeps what it holds"))
        else:
            again.append(entry)
    return [*runs, again]


def _parts(run: Iterable[Entry], shard_size: float) -> Iterator[tuple[Entry, ...]]:
    """A run cut into shards."""
    part: list[Entry] = []
    size = 0
    for entry in run:
        if part and (size + entry.size > shard_size or len(part) == SHARD_FILES):
            yield tuple(part)
            part, size = [], 0
        part.append(entry)
        size += entry.size
    if part:
        yield tuple(part)


def _with_ray(
    jobs: Sequence[Shard], settings: Settings, address: str | None, report: Report, advanced: Callable[[], None]
) -> None:
    """One task for each shard; the reports of the tasks are added to the report."""
    try:
        import ray
    except ImportError as error:
        raise AecodecError("engine ray needs Ray: pip install 'aecodec[archive]'") from error
    ours = not ray.is_initialized()
    if ours:
        options = {"address": address} if address else {"address": "local", "include_dashboard": False}
        ray.init(**options, log_to_driver=False)
    try:
        resources = ray.cluster_resources()
        task = ray.remote(make_shard).options(
            num_cpus=min(settings.workers, int(resources["CPU"])),
            num_gpus=1 if settings.device != "cpu" and resources.get("GPU") else 0,
            max_retries=RETRIES,
            retry_exceptions=True,
        )
        waiting = {task.remote(job, settings): job for job in jobs}
        while waiting:
            done = ray.wait(list(waiting))[0][0]
            job = waiting.pop(done)
            try:
                part = ray.get(done)
            except ray.exceptions.RayError as error:
                report.counts[FAILED] += len(job.entries)
                report.problems.append((job.name, f"shard failed {RETRIES + 1} times: {str(error).splitlines()[-1]}"))
            else:
                report.counts += part.counts
                report.problems += part.problems
                report.bytes_in += part.bytes_in
                report.bytes_out += part.bytes_out
                report.pixels += part.pixels
                report.codec_seconds += part.codec_seconds
            advanced()
    finally:
        if ours:
            ray.shutdown()


@lru_cache(maxsize=1)
def _codec(device: str, model: str | Path | None) -> Codec:
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
    codec = _codec(settings.device, settings.model)
    source, destination = storage.folder(shard.source), storage.folder(shard.destination)
    records: list[Record] = []

    def fill(file: BinaryIO) -> None:
        with (
            ThreadPoolExecutor(settings.workers) as pool,
            ThreadPoolExecutor(1) as writer,
            zipfile.ZipFile(file, "w") as opened,
        ):
            store = _Store(opened, source, settings, frozenset(entry.name for entry in shard.entries))
            read = ahead(pool, partial(_read, source, settings.others), shard.entries, lambda e: e.size, READ_AHEAD)
            decoded = ahead(pool, partial(_decode, settings.others), read, _decoded_bytes, DECODE_AHEAD)
            encoded = _encode(codec, decoded, settings, report)
            for record in ahead(writer, store, encoded, _decoded_bytes, DECODE_AHEAD):
                records.append(record)
                _count(report, record)
                if advanced is not None:
                    advanced()
            if not any(record.kind in STORED for record in records):
                raise _NothingToStore
            shards.write_manifest(opened, settings.recorded(codec), records)

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


def ahead(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], cost: Callable[[T], int], limit: int
) -> Iterator[R]:
    """function(item) of every item, in order, computed ahead by the pool.

    As long as what is ahead costs less than the limit, two items are begun for each that is taken: the first result
    does not have to wait for the others, and the pool soon has enough to do.
    """
    remaining = iter(items)
    waiting: deque[tuple[int, Future[R]]] = deque()
    total = 0
    while True:
        for _ in range(2):
            if total < limit and (item := next(remaining, None)) is not None:
                price = cost(item) + FILE_COST
                waiting.append((price, pool.submit(function, item)))
                total += price
        if not waiting:
            return
        price, future = waiting.popleft()
        yield future.result()
        total -= price


@dataclass(frozen=True)
class _Source:
    """A source file on its way into a shard. data: its bytes, None if they are to be copied when it is stored.
    encoded: the .aec file and what it decodes to."""

    record: Record
    data: bytes | None = None
    picture: Picture | None = None
    encoded: tuple[bytes, Image.Image] | None = None


def _decoded_bytes(item: _Source) -> int:
    return len(item.data or b"") + 4 * item.record.width * item.record.height


def _read(source: Folder, others: str, entry: Entry) -> _Source:
    record = Record(entry.name, FAILED, entry.size, entry.mtime_ns)
    if entry.problem:
        return _Source(replace(record, reason=entry.problem))
    if entry.name.endswith("/"):
        return _Source(replace(record, kind=FOLDER), b"")
    data = None
    try:
        with source.open(entry.name) as file:
            kind, width, height, reason = _look(file)
            if kind == PICTURE or entry.size < STREAMED:
                file.seek(0)
                data = file.read()
        _check_unchanged(source, entry, None if data is None else len(data))
    except Exception as error:  # remote file systems raise whatever they like
        return _Source(replace(record, reason=reason_of(error)))
    record = replace(record, kind=kind, width=width, height=height, reason=reason)
    if data is not None:
        record = replace(record, sha256=hashlib.sha256(data).hexdigest())
    return _Source(_other(record, reason, others) if kind == OTHER else record, data)


def _check_unchanged(source: Folder, entry: Entry, read: int | None) -> None:
    if source.state(entry.name) != (entry.size, entry.mtime_ns) or read not in (None, entry.size):
        raise AecodecError("changed while it was being archived")


def _look(file: BinaryIO) -> tuple[str, int, int, str]:
    """(kind, width, height, why it is not compressed) by the header of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
        width, height = image.size
        if image.format == "AEC":  # aecodec has taught Pillow to read it
            reason = "an .aec file already"
        elif getattr(image, "is_animated", False):
            reason = "several frames"
        elif ";16" in str(image.tile) or image.mode not in WHOLE_MODES:  # 16-bit RGB calls itself RGB
            reason = f"more than 8 bits, or not RGB or grey ({image.mode})"
        else:
            reason = f"more than {DEFAULT_PIXEL_LIMIT} pixels" if width * height > DEFAULT_PIXEL_LIMIT else ""
        return (ORIGINAL if reason else PICTURE), width, height, reason
    except Image.DecompressionBombError:
        return ORIGINAL, 0, 0, f"more than {DEFAULT_PIXEL_LIMIT} pixels"
    except UnidentifiedImageError:
        return OTHER, 0, 0, "not a picture that Pillow can read"
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return OTHER, 0, 0, f"damaged picture ({reason_of(error)})"


def _other(record: Record, reason: str, others: str) -> Record:
    """The record of a file that is not a picture, or a damaged one."""
    return replace(record, kind=OTHERS[others], width=0, height=0, reason=reason)


def reason_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def _decode(others: str, item: _Source) -> _Source:
    if item.record.kind != PICTURE or item.data is None:
        return item
    try:
        return replace(item, picture=picture.load(io.BytesIO(item.data)))
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        return replace(item, record=_other(item.record, f"damaged picture ({reason_of(error)})", others))


def _encode(codec: Codec, items: Iterable[_Source], settings: Settings, report: Report) -> Iterator[_Source]:
    """Pictures compressed, and decoded again for the record; other items pass."""

    def both(pictures: Sequence[Picture]) -> list[tuple[bytes, Image.Image]]:
        goal = settings.goal
        if goal.quality is not None:
            files = codec.compress_batch(pictures, goal.quality, settings.effort)
        else:
            files = [
                codec.compress(picture, bpp=goal.bpp, psnr=goal.psnr, effort=settings.effort) for picture in pictures
            ]
        return list(zip(files, codec.decompress_batch(files), strict=True))

    for batch in batches(items, lambda item: item.record):
        results = iter(through_codec(both, [item.picture for item in batch if item.picture is not None], report))
        for item in batch:
            if item.picture is not None:
                result = next(results)
                if isinstance(result, OutOfReachError):
                    item = replace(item, record=replace(item.record, kind=ORIGINAL, reason=reason_of(result)))
                elif isinstance(result, Exception):
                    item = replace(item, record=_other(item.record, reason_of(result), settings.others))
                else:
                    item = replace(item, encoded=result)
            yield item


def batches(items: Iterable[T], record_of: Callable[[T], Record]) -> Iterator[list[T]]:
    """Items that go to the codec together, in order. They follow from the items alone, not from timing, because the
    encoder's last bits may depend on the batch."""
    batch: list[T] = []
    pixels = 0
    for item in items:
        batch.append(item)
        pixels += record_of(item).width * record_of(item).height
        if pixels >= BATCH_PIXELS or len(batch) == BATCH_FILES:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def through_codec(
    function: Callable[[Sequence[T]], Sequence[R]], inputs: Sequence[T], report: Report
) -> list[R | Exception]:
    """The results of a batch; if it fails, those of one after the other, so that only the culprit fails."""
    started = time.monotonic()
    try:
        results: list[R | Exception] = [*function(inputs)] if inputs else []
    except (AecodecError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):  # so torch reports a lack of memory
            raise
        results = [error] if len(inputs) == 1 else []
    report.codec_seconds += time.monotonic() - started
    if len(results) < len(inputs):
        return [result for one in inputs for result in through_codec(function, [one], report)]
    return results


class _Store:
    """Adds sources to a shard that is being written, in the form that is the better one."""

    def __init__(self, opened: zipfile.ZipFile, source: Folder, settings: Settings, names: frozenset[str]):
        self._opened = opened
        self._source = source
        self._settings = settings
        self._taken = {shards.MANIFEST, *names}

    def __call__(self, item: _Source) -> Record:
        record, data = item.record, item.data
        if record.kind not in STORED:
            return record
        if item.encoded is not None and item.picture is not None:
            record, data = self._judge(record, item.data, item.picture, *item.encoded)
        record = replace(record, member=self._member(record))
        info = shards.member_info(record.member, record.mtime_ns)
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
        if record.kind != PICTURE and wanted != shards.MANIFEST:
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
                for piece in _pieces(self._source, record):
                    digest.update(piece)
                    member.write(piece)
        except AecodecError as error:
            # What was written stays as a gap that nothing points to.
            self._opened.filelist.remove(info)
            del self._opened.NameToInfo[info.filename]
            return replace(record, kind=FAILED, member="", reason=str(error))
        return replace(record, stored=record.bytes, sha256=digest.hexdigest())


def _pieces(source: Folder, record: Record) -> Iterator[bytes]:
    """The bytes of a source. Raises AecodecError if it cannot be read or has changed."""
    size = 0
    try:
        with source.open(record.name) as file:
            while size <= record.bytes and (piece := file.read(shards.CHUNK)):
                size += len(piece)
                yield piece
        _check_unchanged(source, Entry(record.name, record.bytes, record.mtime_ns), size)
    except Exception as error:  # remote file systems raise whatever they like
        raise AecodecError(reason_of(error)) from error


def psnr(a: Pixels, b: Pixels) -> float:
    """dB, of uint8 arrays of equal shape; at most 100, since JSON knows no infinity."""
    return min(rate.psnr(a, b), 100.0)


def colour(image: Image.Image) -> Pixels:
    """The samples of a decoded picture without its alpha channel."""
    samples: Pixels = np.asarray(image)
    return {"L": samples, "LA": samples[..., 0], "RGB": samples, "RGBA": samples[..., :3]}[image.mode]


def signature(image: Image.Image) -> bytes:
    """The decoded picture averaged to 4x4 RGB pixels."""
    return image.convert("RGB").resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()
