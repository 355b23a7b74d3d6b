"""The family "toy": a whole codec on one page, as a package of somebody else's would bring it. It knows no torch.

Latents are means of blocks of 4x4 pixels, coded by zlib; pixels are the means, smoothed with those of the neighbours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aecodec.errors import FormatError, ModelError
from aecodec.families.base import Geometry, Mosaic, Weights
from aecodec.options import EncodeOptions
from aecodec.tiling import Box, Size

BLOCK = 4  # pixels, each way

Array = npt.NDArray[Any]


def load(weights: Weights, device: str, precision: str) -> Toy:
    if "coarsest" not in weights.tensors:
        raise ModelError("no toy: there is no tensor 'coarsest'")
    return Toy(float(weights.tensors["coarsest"]))


class Toy:
    """coarsest: the quantisation step at quality 1, in levels."""

    geometry = Geometry(padding=16, stride=BLOCK, analysis_halo=BLOCK, synthesis_halo=BLOCK)
    portable = True

    def __init__(self, coarsest: float):
        self.coarsest = coarsest

    def analyse(self, pixels: Array, inside: Sequence[Box]) -> list[Array]:
        batch, height, width, _ = pixels.shape
        blocks = pixels.reshape(batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).astype(np.float64)
        means = blocks.mean((2, 4))
        sharpened = 1.2 * means - 0.2 * _smoothed(means)
        return [sharpened[(slice(None), *box.in_units(BLOCK).slices)] for box in inside]

    def encode(self, latents: Array, pixels: Callable[[], Array], quality: int, options: EncodeOptions) -> list[bytes]:
        symbols = np.round(latents / self._step(quality)).astype("<i2")
        return [zlib.compress(one.tobytes(), 9) for one in symbols]

    def encoders(self, options: EncodeOptions) -> int:
        return 2

    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Array]:
        shape = size[0] // BLOCK, size[1] // BLOCK, 3
        states = []
        for payload in payloads:
            stream = zlib.decompressobj()
            try:
                data = stream.decompress(payload, 2 * shape[0] * shape[1] * 3 + 1)
            except zlib.error as error:
                raise FormatError(f"not a payload of a toy ({error})") from error
            if len(data) != 2 * shape[0] * shape[1] * 3 or not stream.eof or stream.unused_data:
                raise FormatError("a payload of another length")
            states.append(np.frombuffer(data, "<i2").reshape(shape) * self._step(quality))
        return states

    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Array:
        blocks = inside.in_units(BLOCK).slices
        levels = []
        for window, tiles in mosaics:
            means = np.empty((window.height // BLOCK, window.width // BLOCK, 3))
            for box, state in tiles:
                shared = box.overlap(window)
                there, here = (shared.within(place).in_units(BLOCK).slices for place in (window, box))
                means[there] = state[here]
            smooth = 0.9 * means + 0.1 * _smoothed(means[None])[0]
            levels.append(smooth[blocks].repeat(BLOCK, 0).repeat(BLOCK, 1))
        white = 2**depth - 1
        rounded = np.round(np.stack(levels) * (white / 255)).clip(0, white)
        return rounded.astype(np.uint8 if depth == 8 else np.uint16)

    def lost(self, size: Size) -> Array:
        return np.zeros((size[0] // BLOCK, size[1] // BLOCK, 3))

    def _step(self, quality: int) -> float:
        return self.coarsest * 2.0 ** (-(quality - 100) / 1500)


def _smoothed(means: Array) -> Array:
    """(B, h, w, 3): means of each block and its four neighbours; beyond the border they are repeated."""
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    centre = slice(1, -1)
    return (
        padded[:, centre, centre]
        + padded[:, :-2, centre]
        + padded[:, 2:, centre]
        + padded[:, centre, :-2]
        + padded[:, centre, 2:]
    ) / 5
