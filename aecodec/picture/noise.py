"""How much noise a picture has."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aecodec.errors import AecodecError
from aecodec.picture.types import Picture

LEAST = 0.01  # levels: what the format can say
MEDIAN = 0.6745  # of the absolute values of a normal distribution, in standard deviations
CALM = 0.2  # share of the blocks, the calmest, that noise is judged by
BLOCKS = 16, 8  # of each scale: wavelets a side
EXPOSED = 8, 247  # levels between which noise is not cut off

Floats = npt.NDArray[np.float32]


def estimated_noise(picture: Picture) -> float:
    """The standard deviation of noise in a picture, in levels of 255, at least `LEAST`.

    By diagonal wavelets, as Donoho and Johnstone do ("Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994,
    section 4.2), but of the calmest blocks, so that texture counts less, and of the two finest scales, the one that has
    more: demosaicing takes most of a camera's noise from the finest. Rather less than there is than more. Raises
    AecodecError if PyWavelets is not installed.
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
        means, of_scales = plane.astype(np.float32) * np.float32(255 / (2**picture.depth - 1)), []
        for number, side in enumerate(BLOCKS, 1):
            means, (_, _, diagonal) = dwt2(means, "db2")
            of_scales.append(_calm(diagonal, means / 2**number, side))
        found.append(max(of_scales))
    return max(LEAST, min(found))  # of the channel that has least: texture is not in all


def _calm(diagonal: Floats, means: Floats, side: int) -> float:
    """The deviation of diagonal wavelets in the calmest blocks; 0 if no block shows noise. means: of their pixels."""
    side = min(side, *diagonal.shape)
    medians = np.median(np.abs(_blocks(diagonal, side)), 1)
    exposed = _blocks((EXPOSED[0] < means) & (means < EXPOSED[1]), side).mean(1)
    medians = medians[(medians > 0) & (exposed > 0.75)]
    return float(np.quantile(medians, CALM)) / MEDIAN if len(medians) else 0.0


def _blocks(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """(H, W) to (N, side * side); what is left over at the borders is left out."""
    rows, columns = (size // side for size in values.shape)
    cut = values[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, side * side)
