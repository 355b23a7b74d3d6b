"""How much noise a picture has."""

from __future__ import annotations

import numpy as np

from aecodec.errors import AecodecError
from aecodec.picture.types import Picture

LEAST = 0.01  # levels: what the format can say
MEDIAN = 0.6745  # of the absolute values of a normal distribution, in standard deviations


def estimated_noise(picture: Picture) -> float:
    """The standard deviation of white noise in a picture, in levels of 255, from its finest wavelets (Donoho and
    Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2); at least `LEAST`. Fine
    texture counts as noise.

    Raises AecodecError if PyWavelets is not installed.
    """
    try:
        from pywt import dwt2
    except ImportError as error:
        raise AecodecError(
            "estimating noise needs PyWavelets: pip install aecodec[denoise], or name its sigma"
        ) from error
    planes = picture.colour if picture.colour.ndim == 3 else picture.colour[:, :, None]
    found = []
    for plane in planes.transpose(2, 0, 1):
        levels = plane.astype(np.float32) * (255 / (2**picture.depth - 1))
        _, (_, _, diagonal) = dwt2(levels, "db2")
        found.append(float(np.median(np.abs(diagonal[diagonal != 0]))) if diagonal.any() else 0.0)
    return max(LEAST, min(found) / MEDIAN)  # of the channel that has least: texture is not in all
