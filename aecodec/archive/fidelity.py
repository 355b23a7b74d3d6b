"""How near a decoded picture is to its source, and how one is recognised."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aecodec import metrics
from aecodec.picture import Picture, Samples
from aecodec.picture.saving import DEEP

SIGNATURE_SIDE = 4


def psnr(source: Picture, image: Image.Image) -> float:
    """dB of a decoded image against its source, over the colour samples at the source's depth; at most 100, since JSON
    knows no infinity."""
    return min(metrics.psnr(source.colour, colour(image), 2**source.depth - 1), 100.0)


def score(source: Picture, image: Image.Image, device: str) -> float:
    """SSIMULACRA2 of a decoded image against its source. device: where it is computed."""
    from aecodec import perceptual  # which needs torch

    return perceptual.score(source.colour, colour(image), 2**source.depth - 1, device)


def colour(image: Image.Image) -> Samples:
    """The samples of a decoded picture without its alpha channel, of all of their bits."""
    samples: Samples = image.info.get(DEEP, np.asarray(image))
    return {"L": samples, "LA": samples[..., 0], "RGB": samples, "RGBA": samples[..., :3]}[image.mode]


def signature(image: Image.Image) -> bytes:
    """The decoded picture averaged to 4x4 RGB pixels."""
    return image.convert("RGB").resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()
