"""Frequency tables, fitted to real symbols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.coding.ans import FREQUENCY_TOTAL
from aecodec.families.hyperprior.constants import SCALE_COUNT, scale_of_index
from aecodec.families.hyperprior.family import HyperpriorFamily
from aecodec.tiling import Box

Histograms = npt.NDArray[np.int64]

TAIL = 2.0**-20  # probability beyond the table
PRIOR_COUNT = 1000  # the Laplace distribution weighs as much as so many symbols seen
RARE = 2e-4  # an index with fewer symbols other than 0 is not coded
CROP = 256
CROPS = 192
QUALITIES = range(400, 10001, 1200)  # hundredths; as in training, uniform


def laplace_probabilities(scale: float) -> npt.NDArray[np.float64]:
    """Probabilities of -reach..reach and of the escape, of an integer-binned Laplace distribution."""
    spread = scale * np.sqrt(0.5)
    reach = max(1, int(np.ceil(-spread * np.log(TAIL) - 0.5)))
    magnitude = np.abs(np.arange(-reach, reach + 1))
    near, far = np.exp(-np.abs(magnitude - 0.5) / spread) / 2, np.exp(-(magnitude + 0.5) / spread) / 2
    inside = np.where(magnitude > 0, near, 1 - near) - far
    return np.append(inside, np.exp(-(reach + 0.5) / spread))


PRIORS = [laplace_probabilities(float(scale_of_index(torch.tensor(float(i))))) for i in range(SCALE_COUNT)]


def frequencies_of(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Integer frequencies of at least 1 that sum to 2^24."""
    frequencies = 1 + np.floor(probabilities * (FREQUENCY_TOTAL - len(probabilities))).astype(np.int64)
    frequencies[np.argmax(frequencies)] += FREQUENCY_TOTAL - frequencies.sum()
    return frequencies.astype(np.int32)


def fit_tables(histograms: Sequence[Histograms] | None) -> tuple[Tensor, Tensor]:
    """Frequencies and reach of the 64 tables, see `coding.tables.Tables`.

    histograms: per index, counts of -reach..reach and of what is outside; None for pure Laplace tables.
    """
    tables, reaches = [], []
    for index in range(SCALE_COUNT):
        prior = PRIORS[index]
        reach = (len(prior) - 2) // 2
        if histograms is not None:
            counts = histograms[index]
            total = counts.sum()
            if total > PRIOR_COUNT and 1 - counts[reach] / total < RARE:
                reaches.append(0)
                continue
            both = counts.copy()  # positive and negative residuals are alike
            both[:-1] += counts[-2::-1]
            both[-1] *= 2
            prior = (both + 2 * PRIOR_COUNT * prior) / (2 * total + 2 * PRIOR_COUNT)
        reaches.append(reach)
        tables.append(frequencies_of(prior))
    return torch.from_numpy(np.concatenate(tables)), torch.tensor(reaches, dtype=torch.int32)


def count_symbols(family: HyperpriorFamily, tiles: Tensor) -> list[Histograms]:
    """Histograms of the symbols of every scale index, over all qualities. tiles: (N, 3, T, T) uint8, T at least 256."""
    reach = [(len(prior) - 2) // 2 for prior in PRIORS]
    histograms = [np.zeros(len(prior), np.int64) for prior in PRIORS]
    edge = (tiles.shape[-1] - CROP) // 2
    for start in range(0, min(len(tiles), CROPS), 16):
        middle = tiles[start : start + 16, :, edge : edge + CROP, edge : edge + CROP]
        (latents,) = family.analyse(middle.permute(0, 2, 3, 1).contiguous().numpy(), [Box.whole((CROP, CROP))])
        for quality in QUALITIES:
            _, symbols, indices = family.symbol_arrays(latents, quality)
            flat, order = symbols.ravel(), np.argsort(indices, axis=None, kind="stable")
            ends = np.cumsum(np.bincount(indices.ravel(), minlength=SCALE_COUNT))
            for index, group in enumerate(np.split(flat[order], ends[:-1])):
                outside = np.abs(group) > reach[index]
                places = np.where(outside, 2 * reach[index] + 1, group + reach[index])
                histograms[index] += np.bincount(places, minlength=2 * reach[index] + 2)
    return histograms
