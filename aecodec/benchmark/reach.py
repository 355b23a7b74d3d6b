"""How many bytes a picture takes until it scores at least so much: what can be said of files without loss, too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aecodec.benchmark.measure import Measurement

METRIC = "ssimulacra2"
TARGETS = (50, 70, 80, 90)  # medium, high, very high, hard to tell from the original, by the metric's authors


def size(measurements: Sequence[Measurement], target: float) -> float | None:
    """Bytes of the smallest file of one picture by one codec that scores `target` by METRIC, None if none does.

    Between two lossy files the logarithm of the size is interpolated; towards one without loss nothing is in between.
    """
    scored = [(m, score) for m in measurements if (score := m.scores[METRIC]) is not None]
    sizes = [float(m.bytes) for m, score in scored if score >= target]
    lossy = sorted(((m.bytes, score) for m, score in scored if not m.lossless), key=lambda pair: pair[0])
    for (small, low), (large, high) in pairwise(lossy):
        if low < target <= high:
            share = (target - low) / (high - low)
            sizes.append(math.exp((1 - share) * math.log(small) + share * math.log(large)))
    return min(sizes, default=None)


def against(
    anchor: Sequence[Measurement], test: Sequence[Measurement], target: float, images: Sequence[str]
) -> dict[str, Any]:
    """By how many percent the codec's files are larger at `target` than the anchor's: mean (of the logarithms) over the
    pictures at which both get there, with its standard error, None without pictures. reached: at how many of `total`
    the codec gets there, lossless: at how many of them by its file without loss."""
    logarithms: list[float] = []
    reached = without_loss = 0
    for image in images:
        own = [m for m in test if m.image == image]
        found, other = size(own, target), size([m for m in anchor if m.image == image], target)
        if found is None:
            continue
        reached += 1
        without_loss += any(m.lossless and m.bytes == found for m in own)
        if other is not None:
            logarithms.append(math.log(found / other))
    mean = math.exp(statistics.fmean(logarithms)) if logarithms else None
    error = statistics.stdev(logarithms) / math.sqrt(len(logarithms)) if len(logarithms) > 1 else None
    return {
        "mean": 100 * (mean - 1) if mean is not None else None,
        "error": 100 * mean * error if mean is not None and error is not None else None,
        "pictures": len(logarithms),
        "reached": reached,
        "lossless": without_loss,
        "total": len(images),
    }
