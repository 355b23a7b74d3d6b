"""Making archives out of folders: what there is to do, cut into shards."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aecodec.archive import storage
from aecodec.archive.cluster import make_shards
from aecodec.archive.flow import DEFAULT_WORKERS, PRESENT, Progress, Report
from aecodec.archive.manifest import FAILED, SKIPPED
from aecodec.archive.reader import Archive, locate
from aecodec.archive.sources import OTHERS
from aecodec.archive.storage import Entry
from aecodec.archive.writer import Settings, Shard, codec_of, make_shard
from aecodec.errors import AecodecError
from aecodec.options import DEFAULT_EFFORT, DEFAULT_QUALITY, EncodeOptions

SHARD_BYTES = 10**9  # source files of a shard
SHARD_FILES = 10_000


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
    options = EncodeOptions(quality, bpp, None, psnr, effort=effort)
    if others not in OTHERS:
        raise AecodecError(f"others {others!r}; expected {', '.join(OTHERS)}")
    if engine not in ("local", "ray"):
        raise AecodecError(f"engine {engine!r}; expected local or ray")
    if isinstance(model, Path) or (model or "").endswith(".safetensors"):
        model = Path(str(model)).absolute()  # a worker of Ray has another working directory
    settings = Settings(options, min_psnr, others, device, model, workers or DEFAULT_WORKERS)
    codec = codec_of(device, model)
    source_folder = storage.folder(source)
    folder, single = locate(destination)
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
        make_shards(jobs, settings, address, report, advanced)
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
