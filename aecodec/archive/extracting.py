"""Getting files out of an archive."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from aecodec import picture
from aecodec.archive import storage
from aecodec.archive.finding import select
from aecodec.archive.flow import Progress, Report, reason_of
from aecodec.archive.manifest import FOLDER, LINK, PICTURE, Record
from aecodec.archive.planning import is_plain
from aecodec.archive.reader import Archive, Item
from aecodec.archive.shards import sha256_of
from aecodec.archive.storage import Folder
from aecodec.archive.walk import Fetched, read_picture, restored, walk
from aecodec.errors import AecodecError, FormatError
from aecodec.files import as_bytes, spelt_out

MAX_NAME = 255  # bytes of one part of a path, of nearly all file systems
# What Windows does not allow in names, and names that are devices there.
_NOT_ON_WINDOWS = re.compile(
    r'[\x00-\x1f<>:"\\|?*%]|[ .](?=/|$)|(?:^|(?<=/))(?:con|prn|aux|nul|com\d|lpt\d)(?=[./]|$)', re.IGNORECASE
)


def extract(
    archive: str | Path | Archive,
    destination: str | Path,
    pattern: str = "*",
    *,
    suffix: str = ".png",
    force: bool = False,
    salvage: bool = False,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Writes what is in an archive below a folder, with the folders, times and permissions of the sources.

    Files that were kept as they are get their own names, as do JPEG files that were stored as JPEG XL. Pictures that
    were compressed are decoded to `suffix`: ".png", ".webp" (both lossless), ".jpg" or another format of Pillow, under
    the name of the source with the suffix appended unless it has it already; ".aec" writes the compressed files.
    destination: local, or a URL of fsspec. pattern: a name, or of names, as in a shell; "*" matches "/" too.
    force: overwrite. What an earlier run has extracted is recognised, and stays, without that.
    salvage: take out of damaged shards and pictures what is whole; pictures of which only a part is are problems still.
    device, model: as of `Codec`, unless the archive is open already. workers: threads that read and write.

    Nothing is written through links in the destination; links of the archive that lead out of it are not made.
    Files that fail are problems in the report, and so are shards that are missing or damaged, unless the pattern is the
    name of a file; what the format of a picture cannot hold is among its notes. Raises
    AecodecError if there is no archive, nothing in it has such a name, or the suffix is not known.
    """
    suffix = suffix if suffix.startswith(".") else f".{suffix}"
    if suffix != ".aec":
        picture.format_of(suffix)
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model, salvage=salvage)
    folder = storage.folder(destination)
    names = select(opened, pattern)
    if not names:
        raise AecodecError(f"{pattern}: nothing in the archive has such a name")
    # Links come last, so that nothing can be written through them; then it does not matter where they point.
    items = sorted((opened[name] for name in names), key=lambda item: item.record.kind == LINK)
    targets: dict[str, str] = {}  # of each name
    owners: dict[str, str] = {}
    written: set[str] = set()
    left_out: list[str] = []
    for item in items:
        compressed = item.record.kind == PICTURE and Path(item.name).suffix.lower() != suffix
        targets[item.name] = local_name(_with_suffix(item.name, suffix) if compressed else item.name)
        owners.setdefault(targets[item.name], item.name)

    def fetch(item: Item) -> Fetched:
        target, record = targets[item.name], item.record
        try:
            if not is_plain(target):
                raise AecodecError("its name leads out of the folder")
            if owners[target] != item.name:
                raise AecodecError(f"{target} is what {owners[target]} becomes")
            if record.kind != FOLDER and not force and folder.exists(target):
                if _is_finished(folder, target, record, suffix):
                    folder.tidy(target)
                    return Fetched(item, present=True)
                raise AecodecError(f"{folder}/{target} exists")
            return Fetched(item, read_picture(item) if record.kind == PICTURE else None)
        except FormatError as error:
            if salvage and record.kind == PICTURE:
                return _salvaged(item, suffix, error)
            return Fetched(item, error=reason_of(error))
        except (AecodecError, OSError) as error:
            return Fetched(item, error=reason_of(error))

    def save(one: Fetched) -> tuple[Fetched, int]:
        def write(file: BinaryIO) -> None:
            if one.image is not None:
                if phrases := picture.write(one.image, file, suffix):
                    left_out.append(f"{one.item.name}: left out of {suffix}: {', '.join(phrases)}")
            elif one.data is not None:
                file.write(one.data)
            else:
                for chunk in restored(one.item):
                    file.write(chunk)

        if one.present or (one.error and one.image is None):
            return one, 0
        target, record = targets[one.item.name], one.item.record
        try:
            size = 0
            if record.kind == FOLDER:
                folder.make_folder(target)
            elif record.kind == LINK:
                _make_link(folder, target, b"".join(one.item.chunks()).decode(errors="surrogateescape"), force)
            else:
                size = folder.write(target, write, record.mtime_ns, record.mode & 0o777, force)
            written.add(target)
            return one, size
        except (AecodecError, OSError, UnicodeDecodeError) as error:
            return replace(one, error=reason_of(error)), 0

    report = walk(opened, items, fetch, save, suffix != ".aec", workers, progress)
    report.notes += sorted(left_out)
    if names != [pattern]:  # what else matches may have been in these
        lost = [(shard, "missing") for shard in opened.absent] + list(opened.damaged)
        report.problems += [(shard, f"{reason}; not all that it held is extracted") for shard, reason in lost]
    try:
        if written:
            folder.sync(written)
    except OSError as error:
        report.problems.append((str(folder), reason_of(error)))
    return report


def _with_suffix(name: str, suffix: str) -> str:
    """A name with one more suffix, or with another one if file systems would not take so long a name."""
    longer = name + suffix
    if len(as_bytes(posixpath.basename(longer))) <= MAX_NAME:
        return longer
    return name.removesuffix(posixpath.splitext(name)[1]) + suffix


def local_name(name: str, windows: bool = os.name == "nt") -> str:
    """The name of a file on this machine: as it is, but on Windows with %XX for what cannot be in names there."""
    if not windows:
        return name
    name = spelt_out(name)
    return _NOT_ON_WINDOWS.sub(lambda match: "".join(f"%{ord(c):02X}" for c in match[0]), name)


def expected_bytes(items: Sequence[Item], suffix: str) -> int:
    """About how much extraction writes: bytes of kept files; of decoded pictures half of their samples."""
    return sum(
        item.record.width * item.record.height * 3 // 2
        if item.record.kind == PICTURE and suffix != ".aec"
        else item.record.stored
        if item.record.kind == PICTURE
        else item.record.bytes
        for item in items
    )


def _is_finished(folder: Folder, target: str, record: Record, suffix: str) -> bool:
    """Whether a file is what an earlier run has extracted: by hash, or, of decoded pictures, by time and size."""
    try:
        if record.kind == LINK:
            return folder.target(target) == record.target
        if folder.target(target) is not None:
            return False
        size, mtime_ns = folder.state(target)
        if record.kind != PICTURE:
            with folder.open(target) as file:
                return size == record.bytes and sha256_of(file).hexdigest() == record.sha256
        if mtime_ns is None or mtime_ns != record.mtime_ns:
            return False
        with folder.open(target) as file:
            if suffix == ".aec":
                return size == record.stored and hashlib.sha256(file.read()).hexdigest() == record.digest
            with Image.open(file, formats=[picture.format_of(suffix)]) as image:
                return image.size == (record.width, record.height)
    except (AecodecError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _salvaged(item: Item, suffix: str, error: FormatError) -> Fetched:
    """What can be had of a damaged picture."""
    if suffix == ".aec":
        return Fetched(item, error=reason_of(error))
    try:
        image, damage, filled = item.archive.codec.salvage(item.read(checked=False))
    except (AecodecError, OSError, MemoryError) as worse:
        return Fetched(item, error=reason_of(worse))
    if image.size != item.size:
        return Fetched(item, error=reason_of(error))
    how = ", what is lost filled from around it" if filled.any() else ""
    return Fetched(item, error=f"only partly salvaged{how}: " + "; ".join(damage or [str(error)]), image=image)


def _make_link(folder: Folder, name: str, target: str, force: bool) -> None:
    where = posixpath.normpath(posixpath.join(posixpath.dirname(name) or ".", target))
    if target.startswith("/") or where == ".." or where.startswith("../") or not target or "\0" in target:
        raise AecodecError(f"is a link that leads out of the folder, to {target}; it was not made")
    folder.make_link(name, target, force)
