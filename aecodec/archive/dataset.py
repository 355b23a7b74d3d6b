"""The pictures of an archive as a data set for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aecodec.archive.manifest import ORIGINAL, PICTURE
from aecodec.archive.reader import Archive, decode


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
        images = (image.convert("RGB") for image in decode(codec, batch))
        return [torch.from_numpy(np.array(image)).permute(2, 0, 1).to(codec.device) for image in images]
