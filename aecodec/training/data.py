"""Training patches, streamed: batch n is a function of the seed and n alone, however many processes read it.

So a run goes on exactly where it stopped without a state of its data, with another number of workers, too, and what
several processes see together is what one would see.
"""

from __future__ import annotations

import itertools
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.errors import AecodecError, PictureWarning
from aecodec.families.layouts import shuffle, unshuffle
from aecodec.training.sources import Pictures

TILE = 512  # pixels each way of the part of a picture that patches are taken from
VISITS = 16  # patches that a window gives before it is replaced, so that decoding it pays
LANES = 16  # batches until a window is visited again; workers up to this number share no windows
TRIES = 200  # pictures that may be unusable one after the other
BLOCK, STRIDE = 768, 16  # samples of a block of 16x16 pixels

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """Pictures, and their share of the patches."""

    pictures: Pictures
    share: float


def rng_of(*numbers: int) -> np.random.Generator:
    """Random numbers that depend on nothing but these."""
    return np.random.default_rng(numbers)


@dataclass(eq=False)
class Patches(torch.utils.data.Dataset[Tensor]):
    """Batches by their number. Windows of pictures are decoded where they are needed, visited a few times, and replaced
    a few at a time; epochs follow one another.

    kinds: shares add up to 1. batch: patches, of all processes. size: of patches, pixels each way. half: share of the
    pictures that are seen at half size, if they are large enough. part: of the batch, for one of several processes;
    None: all. visits, lanes: see `VISITS` and `LANES`.
    """

    kinds: Sequence[Kind]
    batch: int
    size: int
    seed: int
    half: float = 0.0
    part: slice | None = None
    visits: int = VISITS
    lanes: int = LANES
    _windows: dict[int, tuple[int, Levels]] = field(default_factory=dict)  # by slot: number of the picture's visit
    _unusable: set[tuple[int, int]] = field(default_factory=set)
    _told_of_small: bool = False

    def __getitem__(self, number: int) -> Tensor:
        """(B, 3, size, size) uint8 in channels_last memory, B patches of the batch's part; each flipped and transposed
        at random."""
        rng = rng_of(self.seed, 0, number)
        places, turns = rng.random((self.batch, 2)), rng.integers(8, size=self.batch)
        cycle, lane = divmod(number, self.lanes)
        patches = []
        for slot in range(self.batch)[self.part or slice(None)]:
            visit = (cycle + slot * self.visits // self.batch) // self.visits
            window = self._window(lane * self.batch + slot, (visit * self.lanes + lane) * self.batch + slot)
            row, column = (int(p * (side - self.size + 1)) for p, side in zip(places[slot], window.shape, strict=False))
            patch = window[row : row + self.size, column : column + self.size]
            turn = int(turns[slot])
            patch = patch[:: 1 - 2 * (turn & 1), :: 1 - 2 * (turn >> 1 & 1)]
            patches.append(patch.swapaxes(0, 1) if turn & 4 else patch)
        return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)

    def _window(self, slot: int, visit: int) -> Levels:
        if self._windows.get(slot, (None,))[0] != visit:
            self._windows[slot] = visit, self.window(visit)
        return self._windows[slot][1]

    def window(self, visit: int) -> Levels:
        """A part of a picture, (H, W, 3), sides of `size` to `TILE` pixels. Raises AecodecError if pictures one after
        the other are damaged or too small; a few of these only are warned of."""
        rng = rng_of(self.seed, 1, visit)
        kind = int(np.searchsorted(np.cumsum([k.share for k in self.kinds])[:-1], rng.random(), "right"))
        halved = rng.random() < self.half
        pictures = self.kinds[kind].pictures
        epoch, place = divmod(visit, len(pictures))
        index = int(_order(self.seed, epoch, kind, len(pictures))[place])
        for _ in range(TRIES):
            corner = rng.random(2)
            if (kind, index) not in self._unusable:
                window = self._cut(pictures, index, halved, corner)
                if window is not None:
                    return window
                self._unusable.add((kind, index))
            index = int(rng.integers(len(pictures)))
        raise AecodecError(
            f"{pictures.name(0)} and others: {TRIES} pictures one after the other are damaged, under {self.size} "
            "pixels a side, or held out; give more pictures"
        )

    def _cut(self, pictures: Pictures, index: int, halved: bool, corner: npt.NDArray[np.float64]) -> Levels | None:
        """The window whose corner is at these parts of what there is room for; None if the picture is unusable."""
        try:
            data = pictures.read(index)
            if pictures.is_held_out(index, data):
                return None
            image = pictures.image(index, data)
        except (AecodecError, OSError) as error:
            warnings.warn(f"{pictures.name(index)}: {error}; goes on without it", PictureWarning, stacklevel=2)
            return None
        smallest = min(image.size)
        if smallest < self.size:
            if not self._told_of_small:
                text = f"{pictures.name(index)}: under {self.size} pixels a side; goes on without such pictures"
                warnings.warn(text, PictureWarning, stacklevel=2)
            self._told_of_small = True
            return None
        scale = 2 if halved and smallest >= 2 * self.size else 1
        width, height = (min(side, scale * max(TILE, self.size)) for side in image.size)
        left, top = int(corner[0] * (image.width - width + 1)), int(corner[1] * (image.height - height + 1))
        image = image.crop((left, top, left + width, top + height))
        return np.asarray(image.reduce(2) if scale == 2 else image)


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, kind: int, count: int) -> npt.NDArray[np.int64]:
    return rng_of(seed, 2, epoch, kind).permutation(count)


def stream(patches: Patches, first: int, workers: int, pinned: bool = False) -> Iterable[Tensor]:
    """Batches from number `first` on, without end. workers: processes that read ahead; 0: this one reads. pinned: for
    copies to a GPU."""
    numbers = itertools.count(first)
    if not workers:
        return map(patches.__getitem__, numbers)
    return torch.utils.data.DataLoader(
        patches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_leave_signals_to_the_run,
        pin_memory=pinned,
    )


def _leave_signals_to_the_run(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def held_out_crops(pictures: Pictures, count: int, size: int, seed: int = 0) -> Tensor:
    """The middle (N, 3, size, size) uint8 of at most `count` pictures that do not train, those that are found first.

    Raises AecodecError if there is none.
    """
    crops: list[Levels] = []
    for index in _order(seed, 0, 0, len(pictures)):
        try:
            data = pictures.read(index)
            image = pictures.image(index, data) if pictures.is_held_out(index, data) else None
        except (AecodecError, OSError):
            continue  # who trains on others is told of those that are damaged
        if image is not None and min(image.size) >= size:
            left, top = ((side - size) // 2 for side in image.size)
            crops.append(np.asarray(image.crop((left, top, left + size, top + size))))
        if len(crops) == count:
            break
    if not crops:
        raise AecodecError(
            f"{pictures.name(0)} and others: none of {len(pictures)} pictures is held out, whole and of {size} pixels "
            "a side at least; give more pictures"
        )
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def block_covariance(batches: Iterator[Tensor], count: int = 300_000) -> Tensor:
    """Covariance of 16x16 blocks, made symmetric under flips and transposition.

    batches: (B, 3, S, S) uint8. count: of blocks. Returns (768, 768) float64 about the grey level 0.5, samples in 0..1,
    in the order of unshuffle(unshuffle(., 8), 2).
    """
    total = torch.zeros(BLOCK, BLOCK, dtype=torch.float64)
    seen = 0
    while seen < count:
        x = unshuffle(unshuffle(next(batches).float() / 255 - 0.5, 8), 2)
        blocks = x.permute(0, 2, 3, 1).reshape(-1, BLOCK)
        total += (blocks.T @ blocks).double()
        seen += len(blocks)
    places = shuffle(shuffle(torch.arange(BLOCK).view(1, -1, 1, 1), 2), 8)  # of the samples, (1, 3, 16, 16)
    symmetric = torch.zeros_like(total)
    for turned in (places, places.transpose(2, 3)):
        for flip in ((), (2,), (3,), (2, 3)):
            order = unshuffle(unshuffle(turned.flip(flip), 8), 2).flatten()
            symmetric += total[order][:, order]
    return symmetric / (8 * seen)
