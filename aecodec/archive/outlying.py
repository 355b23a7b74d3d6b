"""Pictures of an archive that are unlike the others, and why, in words: a list to look at, no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aecodec.archive.descriptions import Described, Rows
from aecodec.archive.manifest import Record
from aecodec.description import HUES, SATURATIONS, VALUES, expanded
from aecodec.errors import AecodecError

LEAST = 10  # pictures without which nothing is usual
TREES = 100
TOLD = 2.5  # robust deviations from which a property is a reason
ONE_COLOUR = 0.6  # share of the histogram's most frequent bin, from which on a picture may be of text
WITHOUT = "needs scikit-learn: pip install 'aecodec[browse]'"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outlier:
    """A picture that is unlike the others. score: how far from them, 1 is usual. reasons: in words."""

    record: Record
    score: float
    reasons: Sequence[str]


def outliers(described: Described, count: int = 50) -> list[Outlier]:
    """The pictures that are least like the others, the strangest first.

    Only pictures of the model and quality that most have are compared. Raises AecodecError if there are fewer than
    LEAST, or without scikit-learn.
    """
    described = described.of_same_coding()
    if len(described.items) < LEAST:
        raise AecodecError(
            f"{len(described.items)} pictures of one model and quality are described; among fewer than {LEAST} none is "
            "strange"
        )
    scores = strangeness(described.rows)
    reasons = _reasons(described.rows)
    order = np.argsort(-scores, kind="stable")[:count]
    return [Outlier(described.items[k].record, round(float(scores[k]), 2), reasons[k]) for k in order]


def numbers(rows: Rows) -> Floats:
    """(N, 384): what strangeness is a matter of: hyper latents, features, and bits as logarithms."""
    hyper = [expanded(rows["hyper"][:, 0], signed=True), expanded(rows["hyper"][:, 1])]
    bits = np.log(expanded(rows["bits"]) + 1e-3)
    return np.concatenate([*hyper, bits, rows["features"].astype(np.float32)], 1).astype(np.float64)


def strangeness(rows: Rows) -> Floats:
    """(N,): how few cuts at random set a picture apart from the others, by an isolation forest; its median is 1.

    A Mahalanobis distance finds less: benchmarks/describe.py compares them.
    """
    try:
        from sklearn.ensemble import IsolationForest
    except ImportError as error:
        raise AecodecError(f"finding outliers {WITHOUT}") from error
    values = numbers(rows)
    scores = -IsolationForest(n_estimators=TREES, random_state=0).fit(values).score_samples(values)
    return scores / np.median(scores)


def _reasons(rows: Rows) -> list[list[str]]:
    """Properties of each picture that are far from those of most, the farthest first."""
    luma = rows["luma"].reshape(len(rows), -1).astype(float)
    chroma = np.abs(rows["chroma"].astype(float) - 128).mean((1, 2, 3))
    shares = (rows["histogram"] / 255.0) ** 2
    grey = shares.reshape(-1, HUES, SATURATIONS, VALUES)[:, :, 0].sum((1, 2))
    bits = expanded(rows["bits"])
    fine = np.log(bits[:, bits.shape[1] // 3 :].sum(1) + 1e-2)
    coarse = np.log(bits[:, : bits.shape[1] // 8].sum(1) + 1e-2)
    exact = bits.sum(1) == 0
    told = [  # property, words for more of it, for less
        (fine, "noisier or more detailed than the others", "smoother than the others"),
        (coarse, "stronger contrasts than the others", "hardly any contrast"),
        (luma.mean(1), "bright", "dark"),
        (chroma, "strong colours", ""),
        (grey, "no colours", ""),
        (-(shares > 1e-3).sum(1).astype(float), "few colours", "many colours"),
        (fine - coarse, "fine texture without shapes, as noise has", "blurred: shapes without texture"),
    ]
    found: list[list[tuple[float, str]]] = [[] for _ in rows]
    for values, more, less in told:
        middle = np.median(values)
        spread = 1.4826 * np.median(np.abs(values - middle)) + 0.02 * np.abs(values).max() + 1e-9
        of_bits = values is fine or values is coarse or less.startswith("blurred")
        for k, deviation in enumerate((values - middle) / spread):
            words = more if deviation > 0 else less
            if words and not (of_bits and exact[k]):
                found[k].append((abs(float(deviation)), words))
    text = (shares.max(1) > ONE_COLOUR) & (exact | ((fine > np.median(fine) - 1) & (coarse > np.median(coarse) - 1)))
    result = []
    for k, own in enumerate(found):
        own.sort(reverse=True)
        reasons = ["drawn: coded without loss"] * bool(exact[k]) + ["few colours, text-like"] * bool(text[k])
        reasons += [reason for far, reason in own if far > TOLD and not (text[k] and reason == "few colours")]
        result.append(reasons[:3] or [f"an unusual mixture of textures, most of all {own[0][1]}"])
    return result
