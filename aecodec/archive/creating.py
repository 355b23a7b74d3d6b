"""Making archives out of folders."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec.archive import index, storage
from aecodec.archive.cluster import make_shards
from aecodec.archive.flow import Progress, Report
from aecodec.archive.manifest import DUPLICATE, STORED, Record
from aecodec.archive.planning import SHARD_BYTES, Naming, alone, parts, plan
from aecodec.archive.reader import Archive
from aecodec.archive.settings import DEFAULT_SAVING, Settings
from aecodec.archive.sources import Planned
from aecodec.archive.storage import Folder
from aecodec.archive.writer import Shard, codec_of, make_shard
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from aecodec.options import EncodeArguments


def create(
    source: str | Path,
    destination: str | Path,
    quality: float | None = None,
    *,
    min_saving: float = DEFAULT_SAVING,
    jpeg: str = "lossy",
    others: str = "keep",
    prefix: str = "",
    by_date: bool = False,
    exclude: Sequence[str] = (),
    shard_size: float = SHARD_BYTES,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    same_settings: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Unpack[EncodeArguments],
) -> Report:
    """Archives a folder with everything in it; continues what an earlier run of the same call has begun.

    source: a folder, local or a URL of fsspec; it is only read. destination: a folder, which gets a shard for every
    `shard_size` bytes of source files, or a name that ends in .zip, for a single shard.
    quality: 1..100, 85 if nothing else is asked for (with tune psnr 98), which hardly anyone can tell from the
    original. options: of every picture, see `EncodeOptions`; of min_psnr the default is 30 dB: the quality of a picture
    that would fall below, or below an SSIMULACRA2 of 50, is raised, and if that is not enough it is kept; None: no
    floor. min_saving: a picture that would not become smaller by this part is kept. Pictures that an .aec file cannot
    hold whole are kept, too.
    jpeg: what becomes of JPEG files: "lossy", as of other pictures; "lossless", JPEG XL from which the same bytes come
    back; "keep".
    others: what becomes of files that are not pictures, or damaged: "keep" them as they are, "skip" or "fail".
    prefix: a folder in the archive that names begin with. by_date: folders by the day that pictures were taken.
    exclude: patterns of names that are left out, beside what systems leave in folders (`planning.IGNORED`).
    device, model: as of `Codec`. workers: threads that read and decode sources.
    engine: "local", or "ray": shards are made by tasks of a Ray cluster, the one at `address` or one on this machine.
    same_settings: whether an archive that exists must have been made with the same settings.
    dry_run: only find out what there is to do: counts of "new" and "duplicate" files, and bytes_total.
    progress: called after every file.

    Files that have the same bytes are stored once. Files that cannot be read are problems in the report; the rest is
    archived, and the next call tries them again. An archive is never changed but by adding shards.
    Raises AecodecError if source, destination or a setting is unusable, another run writes to the archive, or a shard
    cannot be written.
    """
    started = time.monotonic()
    wanted = {"quality": quality, **options}
    settings = Settings.parse(wanted, min_saving, jpeg, others, device, model, workers)
    if engine not in ("local", "ray"):
        raise AecodecError(f"engine {engine!r}; expected local or ray")
    naming = Naming(prefix, by_date)
    source_folder = storage.folder(source)
    folder, single = storage.resolve(destination)
    _check_apart(source_folder, folder, destination)
    entries = source_folder.entries()
    if not entries:
        raise AecodecError(f"{source}: nothing to archive in this folder")
    codec_of(settings.device, settings.model)  # before anything is written
    report = Report()

    def advanced() -> None:
        report.seconds = time.monotonic() - started
        if progress is not None:
            progress(report)

    with nullcontext() if dry_run else folder.lock(single):
        there = folder.exists(single) if single else folder.zips() or folder.exists(index.INDEX)
        existing = Archive(destination) if there else None
        if existing is not None:
            _check_continues(existing, None if not same_settings else settings, destination)
        runs = plan(source_folder, entries, existing, naming, exclude, others, settings.workers, report)
        if single is None:
            cut = [part for run in runs for part in parts(run, shard_size)]
        else:
            cut = [part] if (part := tuple(planned for run in runs for planned in run)) else []
            if existing is not None and cut:
                raise AecodecError(
                    f"{destination}: is a single shard, which cannot grow; archive into a folder instead"
                )
        report.files_total = sum(map(len, cut))
        report.bytes_total = sum(planned.entry.size for part in cut for planned in part if not planned.same_as)
        if dry_run:
            report.counts["new"] = sum(not planned.same_as for part in cut for planned in part)
            report.counts[DUPLICATE] = sum(bool(planned.same_as) for part in cut for planned in part)
            return report
        held = {} if existing is None else {n: i.record for n, i in existing.items() if not i.record.same_as}
        names = iter([single]) if single else _names(existing, same_settings)
        jobs = []
        for part in cut:
            part = alone(part, held) if engine == "ray" else part
            targets = {planned.same_as for planned in part if planned.same_as}
            known = {name: held[name] for name in sorted(targets & held.keys())}
            jobs.append(Shard(str(source_folder), str(folder), next(names), part, known))
        advanced()  # nothing is done yet, but what there is to do is known
        finished = _finisher(folder, existing, report) if single is None else lambda name, digest: None
        folder.discard_drafts(frozenset(job.name for job in jobs))
        if engine == "ray":
            make_shards(jobs, settings, address, report, advanced, finished)
        else:
            _make_here(jobs, settings, report, advanced, finished)
    advanced()
    return report


def append(source: str | Path, archive: str | Path, quality: float | None = None, **options: Any) -> Report:
    """Adds what is new in a folder to an archive that exists; the settings may differ from the archive's. See `create`.

    What the archive holds stays as it is; a source that has changed since is a problem in the report.
    """
    Archive(archive)  # raises if there is none
    return create(source, archive, quality, same_settings=False, **options)


def _check_apart(source: Folder, folder: Folder, destination: str | Path) -> None:
    if isinstance(folder, storage.LocalFolder) and isinstance(source, storage.LocalFolder):
        root = source.root.resolve()
        if root in (folder.root.resolve(), *folder.root.resolve().parents):
            raise AecodecError(f"{destination}: is inside the folder that it would archive")


def _check_continues(existing: Archive, settings: Settings | None, destination: str | Path) -> None:
    """Raises AecodecError if shards are damaged, or made with other settings than these."""
    if existing.damaged:
        names = ", ".join(name for name, _ in existing.damaged)
        raise AecodecError(
            f"{destination}: {names} cannot be read; aecodec archive repair rescues what is whole in it, "
            "after that the same command archives again what is lost"
        )
    if existing.damaged_index:
        raise AecodecError(f"{destination}: {index.INDEX}: {existing.damaged_index}")
    if settings is None:
        return
    now = settings.recorded(codec_of(settings.device, settings.model))
    for made in existing.settings:
        if made != now:
            others = [name for name in {**made, **now} if made.get(name) != now.get(name)]
            then, wanted = (_listed({name: one.get(name) for name in others}) for one in (made, now))
            raise AecodecError(f"{destination}: was made with {then}, not {wanted}; append takes other settings")


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )


def _names(existing: Archive | None, again: bool) -> Iterator[str]:
    """Names for new shards. again: shards that are missing are made again, under their names."""
    taken = set() if existing is None else {*existing.shards, *([] if again else existing.absent)}
    return (name for number in itertools.count() if (name := f"{number:05}.zip") not in taken)


def _finisher(folder: Folder, existing: Archive | None, report: Report) -> Callable[[str, str], None]:
    """What lists each new shard."""
    listed = index.Listed(folder, *([], None) if existing is None else (existing.shards, existing.index))

    def finished(name: str, digest: str) -> None:
        if listed.digests.get(name, digest) != digest:
            report.notes.append(f"{name} was missing and has become another; what only it held is lost")
        listed.put(name, digest)

    return finished


def _make_here(
    jobs: Sequence[Shard],
    settings: Settings,
    report: Report,
    advanced: Callable[[], None],
    finished: Callable[[str, str], None],
) -> None:
    """One after the other, so that each can point to files in those before."""
    targets = {planned.same_as for job in jobs for planned in job.files}
    known: dict[str, Record] = {}
    for job in jobs:
        files: tuple[Planned, ...] = job.files
        job = Shard(job.source, job.destination, job.name, files, {**job.held, **known})
        _, digest, records = make_shard(job, settings, report, advanced)
        known.update({r.name: r for r in records if r.name in targets and r.kind in STORED and r.kind != DUPLICATE})
        if digest is not None:
            finished(job.name, digest)
