"""What a picture is, between files and the codec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """colour: (H, W, 3) uint8, or (H, W) if the picture is grey. alpha: (H, W) uint8 or None. Metadata as raw bytes."""

    colour: Pixels
    alpha: Pixels | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None

    @property
    def width(self) -> int:
        return int(self.colour.shape[1])

    @property
    def height(self) -> int:
        return int(self.colour.shape[0])


Source = str | Path | BinaryIO | Image.Image | Pixels | Picture
