"""Checking archives."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import replace
from pathlib import Path

from aecodec import container, picture
from aecodec.archive import descriptions, index, shards, storage
from aecodec.archive.fidelity import psnr, signature
from aecodec.archive.flow import Progress, Report, reason_of
from aecodec.archive.manifest import FAILED, LINK, PICTURE
from aecodec.archive.reader import Archive, Item
from aecodec.archive.storage import Folder
from aecodec.archive.walk import Fetched, read_picture, restored, walk
from aecodec.errors import AecodecError, ArchiveWarning, FormatError
from aecodec.picture.inspect import inspect
from aecodec.picture.metadata import of_contents
from aecodec.picture.names import NAMES

SIGNATURE_TOLERANCE = 2  # levels; decoders on other machines may differ by one
PSNR_TOLERANCE = 0.1  # dB
CHUNKS = {"EXIF": container.EXIF, "ICC profile": container.ICC, "XMP": container.XMP}


def verify(
    archive: str | Path | Archive,
    *,
    deep: bool = False,
    source: str | Path | None = None,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Checks an archive: every bit of its files, and that everything is there that should be.

    deep: also decodes every compressed picture and compares it with the signature of what was decoded when the archive
    was made. source: the folder that it was made from; what is there must be, bit for bit, what was archived, and with
    deep, all that a picture's file holds, by its own bytes, must be in the archive, and the PSNR be the recorded one.
    device, model: as of `Codec`, unless the archive is open already. workers: threads that read.

    What is not as it should be is a problem in the report. Raises AecodecError if there is no archive.
    """
    opened = archive if isinstance(archive, Archive) else _open(archive, device, model)
    originals = None if source is None else storage.folder(source)

    def fetch(item: Item) -> Fetched:
        record = item.record
        try:
            if record.kind != PICTURE:
                if not record.same_as:
                    for _ in restored(item):
                        pass
                return Fetched(item)
            data = read_picture(item)
            container.read(data)  # checksums
            return Fetched(item, data)
        except (AecodecError, OSError) as error:
            return Fetched(item, error=reason_of(error))

    def compare(one: Fetched) -> tuple[Fetched, int]:
        if one.error:
            return one, 0
        record = one.item.record
        try:
            if one.image is not None and record.signature:
                now, then = signature(one.image), bytes.fromhex(record.signature)
                if any(abs(a - b) > SIGNATURE_TOLERANCE for a, b in zip(now, then, strict=True)):
                    raise AecodecError("decodes to another picture than when it was archived")
            if originals is not None and record.sha256:
                _compare(originals, one)
        except (AecodecError, OSError, ValueError) as error:  # a signature of another length, a source of another shape
            return replace(one, error=reason_of(error)), 0
        return one, 0

    items = list(opened.values())
    report = walk(opened, items, fetch, compare, deep, workers, progress)
    report.problems += opened.damaged
    report.problems += [(name, f"is missing, with the files in it; {_why(opened, name)}") for name in opened.absent]
    report.problems += opened.lost.items()
    report.counts[FAILED] += len(opened.lost)
    if opened.damaged_index:
        report.problems.append((index.INDEX, opened.damaged_index))
    report.problems += [(name, problem) for name, _, problem in descriptions.each(opened) if problem]
    report.notes += opened.notes
    suffering = {opened[name].shard for name, _ in report.problems if name in opened}
    for shard in opened.shards:
        if shard not in dict(opened.damaged):
            problem = _shard_problem(opened, shard)
            if problem and shard not in suffering:
                problem += "; every file in it is whole, aecodec archive repair mends it"
            report.problems += [(shard, problem)] if problem else []
    if opened.first_format:
        report.notes.append(
            f"shards of the first format have no seals ({', '.join(sorted(opened.first_format))}); damage of their "
            "directories may be found only if SHA256SUMS lists them"
        )
    return report


def _open(path: str | Path, device: str, model: str | Path | None) -> Archive:
    """The archive with all that is whole in damaged shards, too; what would be warned of becomes problems."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArchiveWarning)
        return Archive(path, device, model, salvage=True)


def _why(opened: Archive, name: str) -> str:
    return "there are shards with higher numbers" if name in index.gaps(opened.shards) else f"{index.INDEX} lists it"


def _shard_problem(opened: Archive, shard: str) -> str:
    """What is wrong with a shard beside its files; "" if nothing is."""
    with opened.folder.open(shard) as file:
        try:
            first = shard in opened.first_format
            digest = shards.sha256_of(file).hexdigest() if first else shards.check_seal(file)
        except (FormatError, OSError) as error:
            return reason_of(error)
    listed = (opened.index or {}).get(shard, digest)
    if listed != digest and (index.read_lines(opened.folder)[0] or {}).get(shard) == digest:
        return ""  # written anew, and listed, since the archive was opened
    if listed != digest and opened.folder.stopped([shard]).get(shard) == digest:
        opened.notes.append(
            f"{shard} was written anew by a run that was stopped before it could say so in {index.INDEX}"
        )
        return ""
    if opened.index is not None and shard not in opened.index:
        opened.notes.append(f"{shard} is not in {index.INDEX} yet: the run that made it was interrupted")
    if listed != digest:
        return f"is not the shard that {index.INDEX} lists, or that line is damaged"
    return ""


def _compare(originals: Folder, one: Fetched) -> None:
    """Raises AecodecError unless a source is what was archived, and the archive holds all that it holds."""
    record = one.item.record
    if record.kind == LINK:
        if originals.target(record.name) != record.target:
            raise AecodecError("the source is not the link that was archived")
        return
    try:
        with originals.open(record.name) as file:
            data = file.read()
    except FileNotFoundError:
        raise AecodecError("is not in the source") from None
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise AecodecError("the source is not the file that was archived")
    if one.image is None or one.data is None:
        return
    contents = inspect(data)
    if losses := [loss for loss in contents.losses if loss != contents.depth_phrase]:
        raise AecodecError(f"the source holds more than the archive: {', '.join(losses)}")
    chunks = container.read(one.data).chunks
    for part in contents.metadata:
        if part.name in CHUNKS and _plain(chunks.get(CHUNKS[part.name], b"")) != _plain(part.data):
            raise AecodecError(f"the {part.name} of the source is not in the archive byte for byte")
    for name, held in of_contents(contents).items():
        if chunks.get(name) != held:
            raise AecodecError(f"the {NAMES[name]} of the source is not in the archive byte for byte")
    found = psnr(picture.read(io.BytesIO(data)).picture, one.image)
    if abs(found - record.psnr) > PSNR_TOLERANCE:
        raise AecodecError(f"has {found:.2f} dB, not {record.psnr:.2f} dB")


def _plain(data: bytes) -> bytes:
    return data.removeprefix(b"Exif\0\0")


def summary(report: Report) -> str:
    """What a verification has found, in one sentence."""
    failed = report.counts[FAILED]
    files = report.counts.total()
    others = [name for name, _ in report.problems]
    if not others:
        return f"All {files:,} files are whole" if files != 1 else "The only file is whole"
    if not failed:
        return f"All {files:,} files that are there are whole, but the archive is not (see above)"
    what = (
        "damaged, lost or not as in the source"
        if any("the source" in why for _, why in report.problems)
        else "damaged or lost"
    )
    return f"{failed:,} of {files:,} files {'is' if failed == 1 else 'are'} {what} (see above)"
