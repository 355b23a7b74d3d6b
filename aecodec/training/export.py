"""From a checkpoint to a weights file: averaged network, exact scale model, frequency tables fitted to real symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.codec import symbols_of_tiles
from aecodec.entropy import FREQUENCY_TOTAL
from aecodec.errors import ModelError
from aecodec.networks import SCALE_COUNT, Aec1, ModelConfig, network_input, scale_of_index
from aecodec.training.data import TILE, load_tiles
from aecodec.weights import Model, save_model

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
    """Frequencies and reach of the 64 tables, see `entropy.Tables`.

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


def count_symbols(model: Model, tiles: Tensor) -> list[Histograms]:
    """Histograms of the symbols of every scale index, over all qualities. tiles: (N, 3, 512, 512) uint8."""
    reach = [(len(prior) - 2) // 2 for prior in PRIORS]
    histograms = [np.zeros(len(prior), np.int64) for prior in PRIORS]
    whole = slice(0, CROP), slice(0, CROP)
    edge = (TILE - CROP) // 2
    for start in range(0, min(len(tiles), CROPS), 16):
        x = network_input(tiles[start : start + 16, :, edge : edge + CROP, edge : edge + CROP].to(model.device))
        for quality in QUALITIES:
            _, symbols, indices = symbols_of_tiles(model, x.to(memory_format=torch.channels_last), whole, quality)
            flat, order = symbols.ravel(), np.argsort(indices, axis=None, kind="stable")
            ends = np.cumsum(np.bincount(indices.ravel(), minlength=SCALE_COUNT))
            for index, group in enumerate(np.split(flat[order], ends[:-1])):
                outside = np.abs(group) > reach[index]
                places = np.where(outside, 2 * reach[index] + 1, group + reach[index])
                histograms[index] += np.bincount(places, minlength=2 * reach[index] + 2)
    return histograms


def export(checkpoint: Path, sources: Sequence[str | Path], path: Path, *, say: Callable[[str], None] = print) -> str:
    """Writes the averaged weights of a checkpoint as a weights file.

    sources: the training pictures; frequency tables are counted on some of them.
    Returns the SHA-256 in hexadecimal. Raises ModelError if the checkpoint is not one or cannot be exported exactly.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = Aec1(ModelConfig(**state["model_config"]))
        network.load_state_dict(state["average"])
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise ModelError(f"{checkpoint}: not a checkpoint of aecodec train ({error})") from error
    provenance = {"step": str(state["step"]), "training_minutes": f"{state['seconds'] / 60:.0f}"}
    training, _, _ = load_tiles(sources)
    # Every so-manieth tile, so that every source has its share.
    tiles = training[:: max(1, len(training) // CROPS)]
    digest = _save(path, network, None, provenance)
    for turn in range(2):  # rounding depends on the tables, so they are counted once more
        histograms = count_symbols(Model(path, torch.device("cpu")), tiles)
        digest = _save(path, network, histograms, provenance)
        say(f"tables {turn + 1} of 2 counted on {sum(int(h.sum()) for h in histograms):,} symbols")
    say(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}")
    return digest


def _save(path: Path, network: Aec1, histograms: Sequence[Histograms] | None, provenance: Mapping[str, str]) -> str:
    return save_model(path, network, *fit_tables(histograms), provenance)
