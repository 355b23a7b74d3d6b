"""From single measurements to rate-distortion curves and BD-rates, and what is wrong with them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aecodec.benchmark.measure import Measurement
from aecodec.benchmark.metrics import DISTANCES

SMALLEST = 64  # pictures with a side below so many pixels stay out of the means: file headers decide their rate
INTERPOLATION = "pchip"  # of log10(rate) over quality: monotone between monotone points, however few there are


@dataclass(frozen=True)
class Point:
    """Means over pictures of bpp and a score at one quality."""

    quality: float
    bpp: float
    score: float


Curve = Sequence[Point]


@dataclass(frozen=True)
class BdRate:
    """Mean difference in rate at equal score, in percent (negative: smaller files). low, high: the common range of
    scores over which the mean is taken."""

    percent: float
    low: float
    high: float


def curve(measurements: Sequence[Measurement], codec: str, metric: str, images: Sequence[str]) -> Curve:
    """The mean curve of a codec. Qualities that failed for one of the images are left out, so that all points are
    means over the same images; so are those at which one came back without loss. MS-SSIM becomes dB, see `decibels`,
    and distances become negative: more is better."""
    points = []
    wanted = set(images)
    chosen = [m for m in measurements if m.codec == codec and m.image in wanted]
    for quality in sorted({m.quality for m in chosen}):
        here = [m for m in chosen if m.quality == quality]
        scores = [value for m in here if (value := m.scores.get(metric)) is not None and not m.lossless]
        if len(scores) == len(wanted):
            score = math.fsum(scores) / len(scores)
            if metric == "ms_ssim":
                if score >= 1:
                    continue  # rounded from what lies just below
                score = decibels(score)
            elif metric in DISTANCES:
                score = -score
            points.append(Point(quality, math.fsum(m.bpp for m in here) / len(here), score))
    return points


def decibels(ms_ssim: float) -> float:
    """MS-SSIM below 1 in dB, because it crowds against 1."""
    return -10 * math.log10(1 - ms_ssim)


def trouble(points: Curve) -> str:
    """What makes a curve unfit for a BD-rate; empty if nothing does."""
    if len(points) < 4:
        return f"only {len(points)} points"
    ordered = sorted(points, key=lambda p: p.bpp)
    for a, b in pairwise(ordered):
        if b.score <= a.score or b.bpp <= a.bpp:
            return f"not monotone: {a.score:.2f} at {a.bpp:.3f} bpp, {b.score:.2f} at {b.bpp:.3f} bpp"
    return ""


def bd_rate(anchor: Curve, test: Curve) -> BdRate | None:
    """None if a curve is in trouble or they have no range in common. See `trouble`."""
    import bjontegaard

    if trouble(anchor) or trouble(test):
        return None
    low = max(min(p.score for p in points) for points in (anchor, test))
    high = min(max(p.score for p in points) for points in (anchor, test))
    if high <= low:
        return None
    a, t = (sorted(points, key=lambda p: p.score) for points in (anchor, test))
    percent = bjontegaard.bd_rate(
        [p.bpp for p in a],
        [p.score for p in a],
        [p.bpp for p in t],
        [p.score for p in t],
        method=INTERPOLATION,
        require_matching_points=False,
        min_overlap=0,
    )
    return BdRate(float(percent), low, high) if math.isfinite(percent) else None


def bd_rates_of_images(
    measurements: Sequence[Measurement], anchor: str, test: str, metric: str, images: Sequence[str]
) -> Mapping[str, BdRate | None]:
    """The BD-rate of each image by itself. Points that cost more and are no better than another are left out: metrics
    of the eye are noisy on single images."""
    own: dict[str, list[Measurement]] = {image: [] for image in images}
    for measurement in measurements:
        if measurement.image in own:
            own[measurement.image].append(measurement)
    return {
        image: bd_rate(
            _improving(curve(of_image, anchor, metric, [image])), _improving(curve(of_image, test, metric, [image]))
        )
        for image, of_image in own.items()
    }


def _improving(points: Curve) -> Curve:
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: p.bpp):
        if not kept or (point.bpp > kept[-1].bpp and point.score > kept[-1].score):
            kept.append(point)
    return kept


@dataclass(frozen=True)
class Summary:
    """BD-rates of pictures of one kind, in percent. error: standard error of the mean, None of a single picture.
    worst: the picture with the highest, and its percent. pictures: how many have one, of `total`."""

    mean: float
    error: float | None
    median: float
    worst: tuple[str, float]
    best: tuple[str, float]
    pictures: int
    total: int


def summary(rates: Mapping[str, BdRate | None]) -> Summary | None:
    """None if no picture has a BD-rate."""
    found = {image: rate.percent for image, rate in rates.items() if rate}
    if not found:
        return None
    percents = list(found.values())
    worst, best = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
    return Summary(
        statistics.fmean(percents),
        statistics.stdev(percents) / math.sqrt(len(percents)) if len(percents) > 1 else None,
        statistics.median(percents),
        (worst, found[worst]),
        (best, found[best]),
        len(percents),
        len(rates),
    )
