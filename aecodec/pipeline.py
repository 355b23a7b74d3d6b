"""What is done together and at the same time: batches, one pool of workers, threads of torch, lack of memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from aecodec.tiling import Size

BATCH_OF_TILES = 2**20  # tiles that go through the network together have at most so many pixels
WORKERS = 2  # parts of pictures that are done at the same time: the network works on one, the coder on another
MAX_IMBALANCE = 1.1  # the longest of the workers' times over their mean; with more, working one by one is faster
OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a")  # in messages of torch, C++ and oneDNN
PROCESS = os.getpid()  # that imported this; another one has been forked from it

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")


@dataclass(frozen=True)
class Job(Generic[T]):
    """Something to do, and how much it is, in pixels."""

    size: int
    run: Callable[[], T]


def batches(
    run: Callable[[list[I]], T], items: Sequence[I], kind: Callable[[I], tuple[Hashable, Size]]
) -> list[Job[T]]:
    """What there is to do to run items in batches: such of equal kind, and few enough.

    kind: a key, and (height, width) in pixels.
    """
    groups: dict[tuple[Hashable, Size], list[I]] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    jobs = []
    for (_, (height, width)), group in groups.items():
        count = max(1, BATCH_OF_TILES // (height * width))
        for start in range(0, len(group), count):
            batch = group[start : start + count]
            jobs.append(Job(len(batch) * height * width, partial(run, batch)))
    return jobs


def in_parallel(jobs: Sequence[Job[T]], workers: int = WORKERS) -> list[T]:
    """Results of jobs, larger ones first, computed by workers which share the threads of torch. Where jobs are so few
    or so unequal that a worker would wait, they run one after the other with all threads."""
    jobs = sorted(jobs, key=lambda job: -job.size)
    threads = _threads()
    workers = min(workers, threads)
    loads = [0] * workers
    for job in jobs:  # as they will be taken: each by the worker that is free first
        loads[loads.index(min(loads))] += job.size
    if workers < 2 or workers * max(loads) > MAX_IMBALANCE * sum(loads):
        return [job.run() for job in jobs]
    try:
        with ThreadPoolExecutor(workers, initializer=_set_threads, initargs=(threads // workers,)) as pool:
            return list(pool.map(lambda job: job.run(), jobs))
    finally:
        _set_threads(threads)  # what a worker sets is also the default of threads begun later


@contextmanager
def session(threads: int | None = None) -> Iterator[None]:
    """Work of a codec: with so many threads of torch, None: as many as it has; as many as before afterwards.

    In a forked process it is one: the OpenMP of torch would wait forever for threads that only the parent has.
    Torch reports a lack of memory as a RuntimeError: that becomes a MemoryError, as numpy's is.
    """
    before = _threads()
    wanted = 1 if os.getpid() != PROCESS else threads or before
    if wanted != before:
        _set_threads(wanted)
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in OUT_OF_MEMORY):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise
    finally:
        if wanted != before:
            _set_threads(before)


def _torch() -> Any:
    """The module, if anything has needed it."""
    return sys.modules.get("torch")


def _threads() -> int:
    return int(_torch().get_num_threads()) if _torch() else os.cpu_count() or 1


def _set_threads(count: int) -> None:
    if _torch():
        _torch().set_num_threads(count)
