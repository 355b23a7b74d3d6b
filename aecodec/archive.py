"""Archives of whole photo collections: create, append, extract, verify, and a data set for training."""

from __future__ import annotations

import fnmatch
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from aecodec import container, picture, shards, storage
from aecodec.archive_create import (
    DECODE_AHEAD,
    DEFAULT_WORKERS,
    READ_AHEAD,
    Progress,
    Report,
    ahead,
    append,
    batches,
    colour,
    create,
    psnr,
    reason_of,
    signature,
    through_codec,
)
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.shards import FAILED, FOLDER, ORIGINAL, PICTURE, Archive, Item

__all__ = ["Archive", "ArchiveDataset", "Item", "Report", "append", "create", "extract", "verify"]

SIGNATURE_TOLERANCE = 2  # levels; decoders on other machines may differ by one
PSNR_TOLERANCE = 0.1  # dB


@dataclass(frozen=True)
class _Fetched:
    """An item read from an archive. data: of a compressed picture, if it is to be decoded or written as it is."""

    item: Item
    data: bytes | None = None
    error: str = ""
    image: Image.Image | None = None


def _fetched_bytes(fetched: _Fetched) -> int:
    width, height = fetched.item.size
    return len(fetched.data or b"") + (4 * width * height if fetched.image is not None else 0)


def _with_images(codec: Codec, fetched: Iterable[_Fetched], report: Report) -> Iterator[_Fetched]:
    """The same in the same order, with the pictures decoded."""
    for batch in batches(fetched, lambda one: one.item.record):
        files = [one.data for one in batch if one.data is not None]
        results = iter(through_codec(codec.decompress_batch, files, report))
        for one in batch:
            if one.data is None:
                yield one
            elif isinstance(result := next(results), Exception):
                yield replace(one, error=reason_of(result))
            else:
                yield replace(one, image=result)


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

    def fetch(item: Item) -> _Fetched:
        target = targets[item.name]
        try:
            if not shards.safe_name(item.name):
                raise AecodecError("its name leads out of the folder")
            if owners[target] != item.name:
                raise AecodecError(f"{target} is what {owners[target]} becomes")
            if item.record.kind != FOLDER and not force and folder.exists(target):
                raise AecodecError(f"{folder}/{target} exists")
            return _Fetched(item, item.read() if item.record.kind == PICTURE else None)
        except (AecodecError, OSError) as error:
            return _Fetched(item, error=reason_of(error))

    def save(one: _Fetched) -> tuple[_Fetched, int]:
        def write(file: BinaryIO) -> None:
            if one.image is not None:
                picture.save(one.image, file, suffix)
            elif one.data is not None:
                file.write(one.data)
            else:
                for chunk in _verified(one.item):
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

    return _walk(opened, items, fetch, save, suffix != ".aec", workers, progress)


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
    """Checks an archive: every checksum, and that everything in the manifests is there.

    deep: also decodes every compressed picture and compares it with the signature of what was decoded when the archive
    was made. source: the folder that it was made from; with deep, the PSNR is compared with the recorded one too.
    device, model: as of `Codec`, unless the archive is open already. workers: threads that read.

    What is not as it should be is a problem in the report. Raises AecodecError if there is no archive.
    """
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model, tolerant=True)
    originals = None if source is None else storage.folder(source)

    def fetch(item: Item) -> _Fetched:
        record = item.record
        try:
            if record.kind != PICTURE:
                for _ in _verified(item):
                    pass
                return _Fetched(item)
            data = item.read()
            header = container.read(data).header
            if (header.width, header.height) != item.size:
                raise AecodecError(f"is {header.width}x{header.height}, not {record.width}x{record.height}")
            return _Fetched(item, data)
        except (AecodecError, OSError) as error:
            return _Fetched(item, error=reason_of(error))

    def compare(one: _Fetched) -> tuple[_Fetched, int]:
        if one.error or one.image is None:
            return one, 0
        record = one.item.record
        try:
            now, then = signature(one.image), bytes.fromhex(record.signature)
            if any(abs(a - b) > SIGNATURE_TOLERANCE for a, b in zip(now, then, strict=True)):
                raise AecodecError("decodes to another picture than when it was archived")
            if originals is not None:
                with originals.open(record.name) as file:
                    found = psnr(picture.load(file).colour, colour(one.image))
                if abs(found - record.psnr) > PSNR_TOLERANCE:
                    raise AecodecError(f"has {found:.2f} dB, not {record.psnr:.2f} dB")
        except (AecodecError, OSError, ValueError) as error:  # a signature of another length, a source of another shape
            return replace(one, error=reason_of(error)), 0
        return one, 0

    report = _walk(opened, list(opened.values()), fetch, compare, deep, workers, progress)
    report.problems += opened.damaged
    return report


def _verified(item: Item) -> Iterator[bytes]:
    """The bytes of a file that was kept as it is. Raises AecodecError at their end if they are not the source's."""
    digest = hashlib.sha256()
    for chunk in item.chunks():
        digest.update(chunk)
        yield chunk
    if item.record.kind != FOLDER and digest.hexdigest() != item.record.sha256:
        raise AecodecError("damaged: is not the file that was archived (its SHA-256 is another)")


def _walk(
    archive: Archive,
    items: Sequence[Item],
    fetch: Callable[[Item], _Fetched],
    finish: Callable[[_Fetched], tuple[_Fetched, int]],
    decoding: bool,
    workers: int | None,
    progress: Progress | None,
) -> Report:
    """Fetches every item, decodes its picture if that is wanted, and finishes it; that returns the bytes written."""
    started = time.monotonic()
    report = Report(bytes_total=sum(item.record.stored for item in items))
    with ThreadPoolExecutor(workers or DEFAULT_WORKERS) as pool:
        fetched = ahead(pool, fetch, items, lambda item: item.record.stored, READ_AHEAD)
        if decoding and any(item.record.kind == PICTURE for item in items):
            fetched = _with_images(archive.codec, fetched, report)
        for one, written in ahead(pool, finish, fetched, _fetched_bytes, DECODE_AHEAD):
            record = one.item.record
            report.counts[FAILED if one.error else record.kind] += 1
            if one.error:
                report.problems.append((record.name, one.error))
            report.bytes_in += record.stored
            report.bytes_out += written
            if one.image is not None:
                report.pixels += record.width * record.height
            report.seconds = time.monotonic() - started
            if progress is not None:
                progress(report)
    return report


class ArchiveDataset(torch.utils.data.Dataset[tuple[str, bytes]]):
    """The pictures of an archive as a map-style data set: workers read, and `decode` decodes whole batches on a device.

    >>> loader = DataLoader(dataset, batch_size=16, shuffle=True, num_workers=4, collate_fn=list)  # doctest: +SKIP
    >>> for batch in loader:                                                                       # doctest: +SKIP
    ...     pictures = dataset.decode(batch)

    path, device, model: as of `Archive`. names: of the pictures, in order.
    """

    def __init__(self, path: str | Path, device: str = "auto", model: str | Path | None = None):
        self._archive = Archive(path, device, model)
        self.names = sorted(name for name, item in self._archive.items() if item.record.kind in (PICTURE, ORIGINAL))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        """(kind, stored bytes), for `decode`."""
        item = self._archive[self.names[index]]
        return item.record.kind, item.read()

    def decode(self, batch: Sequence[tuple[str, bytes]]) -> list[torch.Tensor]:
        """(3, H, W) uint8 RGB of each, on the device."""
        codec = self._archive.codec
        images = (image.convert("RGB") for image in shards.decode(codec, batch))
        return [torch.from_numpy(np.array(image)).permute(2, 0, 1).to(codec.device) for image in images]
