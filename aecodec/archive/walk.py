"""Going through the items of an archive: fetched ahead, decoded in batches, finished in order."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from PIL import Image

from aecodec import container
from aecodec.archive import jpegs
from aecodec.archive.flow import (
    DECODE_PREFETCH,
    DEFAULT_WORKERS,
    PRESENT,
    READ_PREFETCH,
    Progress,
    Report,
    batches,
    prefetched,
    reason_of,
    through_codec,
)
from aecodec.archive.manifest import FAILED, JPEG, PICTURE
from aecodec.archive.reader import Archive, Item
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError


@dataclass(frozen=True)
class Fetched:
    """An item read from an archive. data: of a compressed picture, if it is to be decoded or written as it is.
    present: there is nothing to do. image: decoded; of a damaged picture, what of it could be, with the error."""

    item: Item
    data: bytes | None = None
    error: str = ""
    present: bool = False
    image: Image.Image | None = None


def _fetched_bytes(fetched: Fetched) -> int:
    width, height = fetched.item.size
    return len(fetched.data or b"") + (4 * width * height if fetched.image is not None else 0)


def _with_images(codec: Codec, fetched: Iterable[Fetched], report: Report) -> Iterator[Fetched]:
    """The same in the same order, with the pictures decoded."""
    for batch in batches(fetched, lambda one: one.item.size if one.data is not None else (0, 0), codec.device):
        files = [one.data for one in batch if one.data is not None]
        results = iter(through_codec(codec.decompress_batch, files, report))
        for one in batch:
            if one.data is None:
                yield one
            elif isinstance(result := next(results), Exception):
                yield replace(one, error=reason_of(result))
            else:
                yield replace(one, image=result)


def read_picture(item: Item) -> bytes:
    """The .aec file of a picture. Raises FormatError if its size is not what the archive says."""
    data = item.read()
    header = container.read_header(data)
    if (header.width, header.height) != item.size:
        raise FormatError(f"damaged: is {header.width}x{header.height}, not {item.size[0]}x{item.size[1]}")
    return data


def restored(item: Item) -> Iterator[bytes]:
    """The bytes of the source of what is no compressed picture. Raises AecodecError at their end if they are others."""
    if item.record.kind != JPEG:
        yield from item.chunks()  # which compares the hash
        return
    data = jpegs.restore(item.read())
    if hashlib.sha256(data).hexdigest() != item.record.sha256:
        raise AecodecError(
            "damaged: the JPEG that comes back is not the one that was archived (its SHA-256 is another)"
        )
    yield data


def walk(
    archive: Archive,
    items: Sequence[Item],
    fetch: Callable[[Item], Fetched],
    finish: Callable[[Fetched], tuple[Fetched, int]],
    decoding: bool,
    workers: int | None,
    progress: Progress | None,
) -> Report:
    """Fetches every item, decodes its picture if that is wanted, and finishes it; that returns the bytes written."""
    started = time.monotonic()
    report = Report(files_total=len(items), bytes_total=sum(item.record.stored for item in items))
    with ThreadPoolExecutor(workers or DEFAULT_WORKERS) as pool:
        fetched = prefetched(pool, fetch, items, lambda item: item.record.stored, READ_PREFETCH)
        if decoding and any(item.record.kind == PICTURE for item in items):
            fetched = _with_images(archive.codec, fetched, report)
        for one, written in prefetched(pool, finish, fetched, _fetched_bytes, DECODE_PREFETCH):
            record = one.item.record
            report.counts[FAILED if one.error else PRESENT if one.present else record.kind] += 1
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
