"""What a picture is, between files and the codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]  # uint8, or uint16 if there are more than 8 bits


@dataclass(frozen=True)
class Picture:
    """colour: (H, W, 3) uint8, or (H, W) if the picture is grey; uint16 if `depth` is 9 to 16, 0 to 2^depth - 1.
    alpha: (H, W) of the same dtype and range, or None. exif, icc, xmp: raw bytes. more: what else an .aec file holds
    byte for byte, by the type of its chunk, see `names.NAMES`."""

    colour: Samples
    alpha: Samples | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    more: Mapping[str, bytes] = field(default_factory=dict)
    depth: int = 8

    @property
    def width(self) -> int:
        return int(self.colour.shape[1])

    @property
    def height(self) -> int:
        return int(self.colour.shape[0])

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def samples(self) -> Samples:
        """Colour, and alpha if there is any: (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)."""
        return self.colour if self.alpha is None else np.dstack([self.colour, self.alpha])


Source = str | Path | BinaryIO | Image.Image | Samples | Picture
