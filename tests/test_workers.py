"""The promise: one codec serves many threads and processes, with the same results, and nothing waits forever."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from aecodec.codec import Codec

PATIENCE = 60  # seconds after which a process is held for deadlocked
forks = pytest.mark.skipif(sys.platform != "linux", reason="fork is safe on Linux only")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Intra-op threads: with one, OpenMP has no threads to lose in a fork."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_share_a_codec(codec: Codec, photo: np.ndarray, two_threads: None) -> None:
    pictures = [photo[y:, x:] for y in (0, 9, 30) for x in (0, 1, 40)]
    qualities = [5, 50.5, 99]

    def there_and_back(number: int) -> tuple[bytes, bytes]:
        data = codec.compress(pictures[number % len(pictures)], qualities[number % len(qualities)])
        return data, codec.decompress(data).tobytes()

    numbers = range(3 * len(pictures))
    alone = [there_and_back(number) for number in numbers]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(there_and_back, numbers))
    assert together == alone


def test_one_thread_or_two_make_the_same_file(codec: Codec, photo: np.ndarray, two_threads: None) -> None:
    large = np.tile(photo, (21, 14, 1))  # two equal strips of tiles
    batch = [photo[y : y + 64] for y in range(3)] + [large]
    shared = codec.compress_batch(batch)
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(3) as pool:  # each with workers of its own
        together = list(pool.map(codec.compress_batch, [batch] * 3))
    torch.set_num_threads(1)
    assert [codec.compress_batch(batch)] * 4 == [shared, *together]


class Pictures(Dataset):
    def __init__(self, codec: Codec, files: list[bytes]):
        self.codec, self.files = codec, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> np.ndarray:
        return np.array(self.codec.decompress(self.files[number]))


@pytest.mark.parametrize(("method", "workers"), [pytest.param("fork", 2, marks=forks), ("spawn", 1)])
def test_data_loader_workers(codec: Codec, photo: np.ndarray, two_threads: None, method: str, workers: int) -> None:
    files = [codec.compress(photo, quality) for quality in (10, 50, 90)]
    here = [np.asarray(codec.decompress(data)) for data in files]
    loader = DataLoader(
        Pictures(codec, files), None, num_workers=workers, multiprocessing_context=method, timeout=PATIENCE
    )
    for there, expected in zip(loader, here, strict=True):
        # Sums in another order, of one thread here and two there, may round to the neighbouring level.
        assert np.abs(there.numpy().astype(int) - expected).max() <= 1


def _answer(pipe: Connection, codec: Codec, data: bytes) -> None:
    pipe.send(np.asarray(codec.decompress(data)))


@forks
def test_a_forked_process_does_not_wait_for_the_threads_of_its_parent(
    codec: Codec, photo: np.ndarray, two_threads: None
) -> None:
    data = codec.compress(np.tile(photo, (3, 3, 1)), 50)
    expected = np.asarray(codec.decompress(data))  # enough work that OpenMP has made its threads
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_answer, args=(theirs, codec, data))
    child.start()
    try:
        assert ours.poll(PATIENCE), "the forked process does not answer"
        assert np.abs(ours.recv().astype(int) - expected).max() <= 1
    finally:
        child.kill()
        child.join()


def test_a_codec_can_be_pickled(codec: Codec, photo: np.ndarray) -> None:
    again = pickle.loads(pickle.dumps(codec))
    assert again.compress(photo, 33) == codec.compress(photo, 33)
    assert again.pixel_limit == codec.pixel_limit
