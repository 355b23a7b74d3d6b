"""The pictures of an archive as a data set for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aecodec.archive.manifest import ORIGINAL, PICTURE
from aecodec.archive.reader import Archive, decode


class ArchiveDataset(torch.utils.data.Dataset[tuple[str, bytes]]):
    """The pictures of an archive as a map-style data set: workers read, and `decode` decodes whole batches on a device.

    >>> loader = DataLoader(dataset, batch_size=16, shuffle=True, num_workers=4, collate_fn=list)  # doctest: +SKIP
    >>> for batch in loader:                                                                       # doctest: +SKIP
    ...     pictures = dataset.decode(batch)

    path, device, model: as of `Archive`. transform: of each picture that `decode` gives, a (3, H, W) uint8 tensor on
    the device, such as a crop. names: of the pictures, in order.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        model: str | Path | None = None,
        transform: Callable[[torch.Tensor], Any] | None = None,
    ):
        self._archive, self._transform = Archive(path, device, model), transform
        self.names = sorted(name for name, item in self._archive.items() if item.record.kind in (PICTURE, ORIGINAL))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        """(kind, stored bytes), for `decode`."""
        item = self._archive[self.names[index]]
        return item.record.kind, item.read()

    def decode(self, batch: Sequence[tuple[str, bytes]]) -> list[Any]:
        """(3, H, W) uint8 RGB of each, on the device; or what `transform` makes of it."""
        codec = self._archive.codec
        images = (image.convert("RGB") for image in decode(codec, batch))
        pictures = (torch.from_numpy(np.array(image)).permute(2, 0, 1).to(codec.device) for image in images)
        return [picture if self._transform is None else self._transform(picture) for picture in pictures]
