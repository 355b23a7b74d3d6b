"""What looks drawn in a picture: text, charts, screenshots; and the same with fewer colours.

Drawn are hard edges between even colours. Of the colours of an edge, made by antialiasing, a few are enough: the
picture looks the same and costs a lossless code a third to a half less. Even and smooth areas keep every level, so that
there are no bands.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.patches import BAND, BLOCK, Mask, of_pixels, sums
from aecodec.picture import Pixels

SMOOTH = 2  # levels: neighbours that differ by no more are of one colour, or of a gradient
EDGE = 12  # levels: those that differ by more have an edge between them
EVEN = 0.5  # part of a drawn block's pixels that are smooth
HARD = 0.6  # part of its other pixels that are edges: in photographs most are neither
COMMON = 0.005  # part of a picture's pixels from which a colour is never replaced
SAMPLE = 2**18  # pixels from which colours are chosen
REFINEMENTS = 3  # rounds of k-means


def steps(colour: Pixels) -> Pixels:
    """(2, H, W) uint8: by how many levels a pixel differs from its neighbours at the right and below, at most."""
    planes = colour if colour.ndim == 3 else colour[:, :, None]
    result = np.zeros((2, *planes.shape[:2]), np.uint8)
    for top in range(0, len(planes), BAND * BLOCK):
        band = planes[top : top + BAND * BLOCK + 1].astype(np.int16)
        across, down = (np.abs(np.diff(band, axis=axis)).max(2) for axis in (1, 0))
        result[0, top : top + BAND * BLOCK, :-1] = across[: BAND * BLOCK]
        result[1, top : top + len(down)] = down
    return result


def drawn(differences: Pixels) -> Mask:
    """Which blocks look drawn. differences: see `steps`."""
    across, down = (sums(each <= SMOOTH) for each in differences)
    either = differences.max(0)
    even = np.maximum(across, down) > EVEN * sums(np.ones(either.shape, bool))
    return even & (sums(either > EDGE) > HARD * sums(either > SMOOTH))


def with_fewer_colours(colour: Pixels, differences: Pixels, count: int, blocks: Mask) -> Pixels:
    """The picture with so many colours along the edges in these blocks, beside those that are common."""
    shown = colour if colour.ndim == 3 else np.repeat(colour[:, :, None], 3, 2)
    edges = _beside(differences > EDGE) & of_pixels(blocks, shown.shape[:2]) & ~_common(shown)
    if not edges.any():
        return colour
    pixels = shown[edges]
    sample = Image.fromarray(pixels[None, :: -(-len(pixels) // SAMPLE)])
    palette = sample.quantize(count, Image.Quantize.MEDIANCUT, kmeans=REFINEMENTS, dither=Image.Dither.NONE)
    if sample.width < len(pixels):
        palette = Image.fromarray(pixels[None]).quantize(palette=palette, dither=Image.Dither.NONE)
    result = shown.copy()
    result[edges] = np.asarray(palette.convert("RGB"))[0]
    return result if colour.ndim == 3 else result[:, :, 1]


def _beside(edge: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(H, W): the pixels on both sides of edges, which (2, H, W) marks at the pixel on the left, or above."""
    result = edge[0] | edge[1]
    result[:, 1:] |= edge[0, :, :-1]
    result[1:] |= edge[1, :-1]
    return result


def _common(shown: Pixels) -> npt.NDArray[np.bool_]:
    """(H, W): whether a pixel has a colour that many have."""
    packed = shown.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    sample = packed.ravel()[:: -(-packed.size // SAMPLE)]
    colours, counts = np.unique(sample, return_counts=True)
    found: npt.NDArray[np.bool_] = np.isin(packed, colours[counts > COMMON * sample.size])
    return found
