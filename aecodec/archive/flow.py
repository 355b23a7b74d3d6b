"""Work that flows: read ahead in threads, in batches through the codec, in order, within bounds of memory."""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from aecodec.archive.manifest import FAILED, ORIGINAL, OTHER, PICTURE, Record
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future  # takes longer to import than listing an archive

INSTALL = "pip install"  # in reasons
PRESENT = "present"  # counted in reports: the archive held it already
WORST = 5  # pictures that are named
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)
# Pixels, about, of the pictures that are handed to the codec together. An interruption loses them; a CPU gains nothing
# by more.
BATCH_OF_PICTURES = 2**24
BATCH_ON_CPU = 2**20
BATCH_OF_FILES = 256
READ_PREFETCH = 2**26  # bytes of files that are read and wait
DECODE_PREFETCH = 2**28  # bytes of decoded pictures that wait, before the network and after it
FILE_COST = 2**14  # bytes that every file counts at least, so that small ones do not wait by the thousand

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Report:
    """What was done, so far or in all.

    counts: files of each kind, see `manifest`, and "present", those that the archive, or the output folder, held
    already. problems: (name, reason). notes: phrases for what is odd, though nothing suffers from it. left_out: names
    of files that nobody wants in archives. wanting: how many pictures were kept for want of a package, by the reason.
    files_total, bytes_total: of all sources there are to do. bytes_in, bytes_out: of those done, and of what was made
    of them. pixels: that were compressed or decoded. psnr_sum, worst: of the compressed pictures, the sum of their
    PSNRs in dB, and the least ones with their names. seconds: in all; codec_seconds: in the codec.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    wanting: Counter[str] = field(default_factory=Counter)
    files_total: int = 0
    bytes_total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    psnr_sum: float = 0.0
    worst: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    codec_seconds: float = 0.0

    def count(self, record: Record) -> None:
        """Adds a file that was archived, or failed."""
        self.counts[record.kind] += 1
        self.bytes_in += record.bytes
        self.bytes_out += record.stored
        if record.kind == PICTURE:
            self.pixels += record.width * record.height
            self.psnr_sum += record.psnr
            self.worst = sorted([*self.worst, (record.psnr, record.name)])[:WORST]
        if is_wanting(record):
            self.wanting[record.reason] += 1
        if record.kind == FAILED:
            self.problems.append((record.name, record.reason))

    def add(self, other: Report) -> None:
        """Adds what was done elsewhere."""
        self.counts += other.counts
        self.wanting += other.wanting
        self.problems += other.problems
        self.notes += other.notes
        self.worst = sorted([*self.worst, *other.worst])[:WORST]
        for name in ("bytes_in", "bytes_out", "pixels", "psnr_sum", "codec_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


Progress = Callable[[Report], None]


def is_wanting(record: Record) -> bool:
    """Whether a file is kept as it is only because a package is not installed."""
    return record.kind in (ORIGINAL, OTHER) and INSTALL in record.reason


def prefetched(
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


def batches(items: Iterable[T], size_of: Callable[[T], tuple[int, int]], device: str) -> Iterator[list[T]]:
    """Items that go to the codec on a device together, in order. They follow from that and the items' sizes in pixels,
    not from timing, because the encoder's last bits may depend on the batch."""
    limit = BATCH_ON_CPU if device == "cpu" else BATCH_OF_PICTURES
    batch: list[T] = []
    pixels = 0
    for item in items:
        batch.append(item)
        pixels += math.prod(size_of(item))
        if pixels >= limit or len(batch) == BATCH_OF_FILES:
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


def reason_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
