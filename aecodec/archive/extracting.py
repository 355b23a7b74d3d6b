"""Getting files out of an archive."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from aecodec import picture
from aecodec.archive import storage
from aecodec.archive.flow import Progress, Report, reason_of
from aecodec.archive.manifest import FOLDER, PICTURE, safe_name
from aecodec.archive.reader import Archive, Item
from aecodec.archive.walk import Fetched, verified, walk
from aecodec.errors import AecodecError


def extract(
    archive: str | Path | Archive,
    destination: str | Path,
    pattern: str = "*",
    *,
    suffix: str = ".png",
    force: bool = False,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Writes what is in an archive below a folder, with the folders and modification times of the sources.

    Files that were kept as they are get their own names. Pictures that were compressed are decoded to `suffix`: ".png",
    ".webp" (both lossless), ".jpg" or another format of Pillow, under the name of the source with the suffix appended
    unless it has it already; ".aec" writes the compressed files themselves.
    destination: local, or a URL of fsspec. pattern: of names, as in a shell; "*" matches "/" too. force: overwrite.
    device, model: as of `Codec`, unless the archive is open already. workers: threads that read and write.

    Files that fail are problems in the report. Raises AecodecError if there is no archive or the suffix is not known.
    """
    if suffix != ".aec":
        picture.format_of(suffix)
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model)
    folder = storage.folder(destination)
    items = [item for name, item in opened.items() if fnmatch.fnmatchcase(name, pattern)]
    targets: dict[str, str] = {}  # of each name
    owners: dict[str, str] = {}
    for item in items:
        compressed = item.record.kind == PICTURE and Path(item.name).suffix.lower() != suffix
        targets[item.name] = item.name + suffix if compressed else item.name
        owners.setdefault(targets[item.name], item.name)

    def fetch(item: Item) -> Fetched:
        target = targets[item.name]
        try:
            if not safe_name(item.name):
                raise AecodecError("its name leads out of the folder")
            if owners[target] != item.name:
                raise AecodecError(f"{target} is what {owners[target]} becomes")
            if item.record.kind != FOLDER and not force and folder.exists(target):
                raise AecodecError(f"{folder}/{target} exists")
            return Fetched(item, item.read() if item.record.kind == PICTURE else None)
        except (AecodecError, OSError) as error:
            return Fetched(item, error=reason_of(error))

    def save(one: Fetched) -> tuple[Fetched, int]:
        def write(file: BinaryIO) -> None:
            if one.image is not None:
                picture.save(one.image, file, suffix)
            elif one.data is not None:
                file.write(one.data)
            else:
                for chunk in verified(one.item):
                    file.write(chunk)

        if one.error:
            return one, 0
        target, record = targets[one.item.name], one.item.record
        try:
            if record.kind == FOLDER:
                folder.make_folder(target)
                return one, 0
            return one, folder.write(target, write, record.mtime_ns)
        except (AecodecError, OSError) as error:
            return replace(one, error=reason_of(error)), 0

    return walk(opened, items, fetch, save, suffix != ".aec", workers, progress)
