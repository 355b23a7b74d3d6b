"""How near a decoded picture is to its source, and how one is recognised."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aecodec import metrics
from aecodec.picture import Pixels

SIGNATURE_SIDE = 4


def psnr(a: Pixels, b: Pixels) -> float:
    """dB, of uint8 arrays of equal shape; at most 100, since JSON knows no infinity."""
    return min(metrics.psnr(a, b), 100.0)


def colour(image: Image.Image) -> Pixels:
    """The samples of a decoded picture without its alpha channel."""
    samples: Pixels = np.asarray(image)
    return {"L": samples, "LA": samples[..., 0], "RGB": samples, "RGBA": samples[..., :3]}[image.mode]


def signature(image: Image.Image) -> bytes:
    """The decoded picture averaged to 4x4 RGB pixels."""
    return image.convert("RGB").resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()
