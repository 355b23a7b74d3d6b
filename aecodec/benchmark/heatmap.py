"""A picture of where two pictures differ, and by how much."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

FULL = 32  # 8-bit levels of root mean square error that are drawn brightest; always the same, to compare heat maps
RADIUS = 2  # pixels over which errors are averaged
STOPS = ((0, 0, 0), (90, 0, 110), (220, 40, 40), (255, 170, 0), (255, 255, 200))  # from no error to FULL


def heatmap(a: Pixels, b: Pixels) -> Image.Image:
    """The root mean square error around each pixel in colours, black where nothing differs, over a faint grey A.

    a, b: (H, W, 3).
    """
    error = np.square(a.astype(np.float32) - b).mean(2)
    levels = np.sqrt(np.maximum(_averaged(_averaged(error).T).T, 0)) / FULL
    places = np.linspace(0, 1, len(STOPS))
    colour = np.stack([np.interp(levels, places, [stop[i] for stop in STOPS]) for i in range(3)], 2)
    grey = np.asarray(Image.fromarray(a).convert("L"), np.float32)[:, :, None]
    return Image.fromarray(np.clip(0.2 * grey + colour, 0, 255).astype(np.uint8))


def _averaged(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Means over neighbours in a column; beyond the borders is the last value."""
    summed = np.pad(np.pad(x, ((RADIUS, RADIUS), (0, 0)), mode="edge").cumsum(0, np.float64), ((1, 0), (0, 0)))
    width = 2 * RADIUS + 1
    return (summed[width:] - summed[:-width]) / width
