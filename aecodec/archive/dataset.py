"""The pictures of an archive for training: a data set, and a loader that goes on where it stopped.

>>> loader = ArchiveLoader("archive", batch_size=16, crop=256, workers=4)  # doctest: +SKIP
>>> for batch in loader:                                                   # doctest: +SKIP
...     train(batch)                            # (16, 3, 256, 256) uint8, on the device
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aecodec.archive.manifest import ORIGINAL, PICTURE
from aecodec.archive.reader import Archive, decode
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from aecodec.canvas import Region

WINDOW = 4  # shards whose pictures are mixed with each other: as many files are read at about the same time


class Stored(NamedTuple):
    """A picture that is read and not decoded. region: the part that is wanted, see `Codec.decompress`."""

    kind: str
    data: bytes
    region: Region | None = None


class ArchiveDataset(torch.utils.data.Dataset[Stored]):
    """The pictures of an archive as a map-style data set: workers read, and `decode` decodes whole batches on a device.

    >>> loader = DataLoader(dataset, batch_size=16, num_workers=4, collate_fn=list)  # doctest: +SKIP
    >>> for batch in loader:                                                         # doctest: +SKIP
    ...     pictures = dataset.decode(batch)

    path, device, model: as of `Archive`. transform: of each picture that `decode` gives, a (3, H, W) uint8 tensor on
    the device. crop: only a random square of so many pixels of each picture, of which only the tiles are decoded that
    it needs; smaller pictures are left out. names: of the pictures, in order; shards: where each is.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        model: str | Path | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        crop: int | None = None,
    ):
        self._archive, self._transform, self.crop = Archive(path, device, model), transform, crop
        items = sorted(
            (name, item)
            for name, item in self._archive.items()
            if item.record.kind in (PICTURE, ORIGINAL) and min(item.size) >= (crop or 0)
        )
        self.names = [name for name, _ in items]
        self.shards = [item.shard for _, item in items]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> str:
        """Where pictures are decoded, as torch names it."""
        return self._archive.codec.device

    def __getitem__(self, index: int | tuple[int, int]) -> Stored:
        """What `decode` takes. index: of the picture, and if it is cropped the seed that chooses where, if there is."""
        number, seed = index if isinstance(index, tuple) else (index, None)
        item = self._archive[self.names[number]]
        region = None
        if self.crop:
            places = random.Random(seed)
            left, top = (places.randint(0, side - self.crop) for side in item.size)
            region = left, top, self.crop, self.crop
        return Stored(item.record.kind, item.read(), region)

    def decode(self, batch: Sequence[Stored]) -> list[Any]:
        """(3, H, W) uint8 RGB of each, on the device; or what `transform` makes of it."""
        codec = self._archive.codec
        ours = [one for one in batch if one.kind == PICTURE]
        regions = [one.region for one in ours]
        found = iter(codec.decode_tensor([one.data for one in ours], regions=regions, rgb=True))
        pictures = [next(found) if one.kind == PICTURE else self._original(one, codec.device) for one in batch]
        return [picture if self._transform is None else self._transform(picture) for picture in pictures]

    def _original(self, one: Stored, device: str) -> Tensor:
        """What the archive keeps as it was."""
        import numpy as np

        (image,) = decode(self._archive.codec, [(one.kind, one.data)])
        if one.region is not None:
            left, top, width, height = one.region
            image = image.crop((left, top, left + width, top + height))
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).to(device)


class ArchiveLoader:
    """Batches of an archive's pictures, in an order that follows from the seed and the epoch alone.

    Shards are shuffled, and pictures among those of a few shards: disks and networks are read in long runs. On the CPU,
    workers decode; for a GPU they read, and it decodes.

    path, device, model, transform, crop: see `ArchiveDataset`. batch_size: pictures; what is left at the end of an
    epoch is left out. workers: processes, 0 for none. seed: of order and crops. rank, world: which part of each epoch
    this process takes, of how many.
    Iterating goes through the rest of an epoch, then the next begins. A batch is (B, 3, crop, crop) uint8 if there is a
    crop and no transform, otherwise a list.

    Attributes: dataset; epoch, and batch, the number of batches that are done in it.
    """

    def __init__(
        self,
        path: str | Path,
        batch_size: int,
        *,
        device: str = "auto",
        model: str | Path | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        crop: int | None = None,
        workers: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.dataset = ArchiveDataset(path, device, model, transform, crop)
        self._stacked = crop is not None and transform is None
        self.batch_size, self.workers, self.seed, self.rank, self.world = batch_size, workers, seed, rank, world
        self.epoch = self.batch = 0
        if len(self) == 0:
            raise AecodecError(
                f"{path}: {len(self.dataset)} pictures of the size are no batch of {batch_size} for each of {world}"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.dataset) // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[Any]:
        decoded = self.dataset.device == "cpu"  # loads the model once, before workers are forked
        loader = torch.utils.data.DataLoader(
            self.dataset,
            batch_sampler=self._batches(),
            num_workers=self.workers,
            collate_fn=self._collate if decoded else list,
        )
        for batch in loader:
            self.batch += 1  # before it is handed out: who saves the state in the loop's body has seen it
            yield batch if decoded else self._collate(batch)
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where it is: after the batch that was handed out last."""
        return {"seed": self.seed, "epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on there, whatever the number of workers was."""
        self.seed, self.epoch, self.batch = state["seed"], state["epoch"], state["batch"]

    def order(self) -> list[int]:
        """The pictures of this epoch, all processes together."""
        chance = random.Random(f"{self.seed} {self.epoch}")
        shards: dict[str, list[int]] = {}
        for number, shard in enumerate(self.dataset.shards):
            shards.setdefault(shard, []).append(number)
        groups = list(shards.values())
        chance.shuffle(groups)
        order = []
        for start in range(0, len(groups), WINDOW):
            mixed = [number for group in groups[start : start + WINDOW] for number in group]
            chance.shuffle(mixed)
            order += mixed
        return order

    def _batches(self) -> list[list[tuple[int, int]]]:
        """Of each batch that is left the pictures, and the seeds of their crops."""
        order = self.order()
        first = (self.epoch * len(order)) ^ (self.seed << 40)
        own = [(number, first + place) for place, number in enumerate(order)][self.rank :: self.world]
        starts = range(self.batch * self.batch_size, len(self) * self.batch_size, self.batch_size)
        return [own[start : start + self.batch_size] for start in starts]

    def _collate(self, batch: Sequence[Stored]) -> Any:
        pictures = self.dataset.decode(batch)
        return torch.stack(pictures) if self._stacked else pictures
