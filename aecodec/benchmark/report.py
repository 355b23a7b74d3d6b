"""The report: what was measured as one dictionary, written as a page for people and as tables and plots for papers."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aecodec
from aecodec.benchmark import curves, plots, reach
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.curves import Curve, Point
from aecodec.benchmark.measure import Measurement, Photo, Problem, machine
from aecodec.benchmark.metrics import PACKAGES as METRIC_PACKAGES
from aecodec.benchmark.metrics import SMALLEST_SIDES
from aecodec.files import write_atomically

HERE = Path(__file__).parent
PACKAGES = ("numpy", "torch", "pillow", "bjontegaard")
BY_IMAGE = dict[str, list[Measurement]]


def build(
    photos: Sequence[Photo],
    peers: Sequence[Peer],
    metrics: Sequence[str],
    measurements: Sequence[Measurement],
    problems: Sequence[Problem],
    *,
    memory: Mapping[str, Any],
    anchors: Sequence[str],
    missing: Mapping[str, str],
    command: str,
    jobs: int,
) -> dict[str, Any]:
    """What results.json holds, and the page shows but for the crops of its viewer ("comparisons").

    memory: name and size in pixels of a picture, and its "peaks" in bytes by codec, see `memory.peaks`. anchors: the
    codecs that the others are compared to, of the peers. missing: codecs and metrics that could not be used, and why.
    command: by which all this was measured. Kinds of content are never averaged together.
    """
    by_kind: dict[str, list[Photo]] = {}
    for photo in photos:
        by_kind.setdefault(photo.kind, []).append(photo)
    kinds = {kind: _kind(own, peers, metrics, measurements, anchors) for kind, own in by_kind.items()}
    troubles = [
        Problem("", name, None, f"mean curve of {metric}, {kind}: {trouble}")
        for kind, found in kinds.items()
        for metric, of_metric in found["curves"].items()
        if len(found["excluded"][metric]) < len(found["photos"])
        for name, points in of_metric.items()
        if (trouble := curves.trouble([Point(**point) for point in points]))
    ]
    return {
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "machine": machine(),
        "jobs": jobs,
        "versions": {
            "aecodec": aecodec.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
            **{package: version(package) for metric, package in METRIC_PACKAGES.items() if metric in metrics},
        },
        "metrics": list(metrics),
        "anchors": list(anchors),
        "interpolation": curves.INTERPOLATION,
        "measurements": len(measurements),
        "codecs": [
            {key: getattr(peer, key) for key in ("name", "title", "version", "settings", "reason", "qualities")}
            | {"machine": machine()}
            for peer in peers
        ],
        "kinds": kinds,
        "memory": dict(memory),
        "missing": dict(missing),
        "problems": [asdict(problem) for problem in [*problems, *troubles]],
    }


def _kind(
    photos: Sequence[Photo],
    peers: Sequence[Peer],
    metrics: Sequence[str],
    measurements: Sequence[Measurement],
    anchors: Sequence[str],
) -> dict[str, Any]:
    """What is known of pictures of one kind."""
    names = {photo.name for photo in photos}
    by_codec: dict[str, list[Measurement]] = {peer.name: [] for peer in peers}
    for measurement in measurements:
        if measurement.image in names:
            by_codec[measurement.codec].append(measurement)
    own = [measurement for of_codec in by_codec.values() for measurement in of_codec]
    excluded = {metric: _excluded(photos, own, metric) for metric in metrics}
    used = {metric: [p.name for p in photos if p.name not in excluded[metric]] for metric in metrics}
    lossless = _lossless(own)
    lossy = {metric: _rarely_lossless(lossless, used[metric]) for metric in metrics}
    means = {m: {name: curves.curve(of, name, m, lossy[m]) for name, of in by_codec.items()} for m in metrics}
    data_set = data_set_of(photos)
    return {
        "data_set": data_set.get("title"),
        "photos": [
            {"name": p.name, "width": p.width, "height": p.height, "note": p.note, "checksum": p.checksum}
            for p in photos
        ],
        "excluded": excluded,
        "lossless": lossless,
        "reach": {
            anchor: {
                f"{target:g}": {
                    name: reach.against(by_codec[anchor], of_codec, target, used[reach.METRIC])
                    for name, of_codec in by_codec.items()
                }
                for target in reach.TARGETS
            }
            for anchor in anchors
            if reach.METRIC in metrics
        },
        "curves": {m: {name: [asdict(p) for p in points] for name, points in means[m].items()} for m in metrics},
        "bd_rates": {
            anchor: {
                metric: {
                    peer.name: _bd_rate(means[metric], by_codec, anchor, peer.name, metric, used[metric])
                    for peer in peers
                    if peer.name != anchor
                }
                for metric in metrics
            }
            for anchor in anchors
        },
        "speed": {name: _speed(of_codec) for name, of_codec in by_codec.items()},
        "published": data_set.get("curves", []),
        "against_published": _against_published(means, data_set.get("curves", [])),
    }


def write(
    folder: Path,
    results: Mapping[str, Any],
    measurements: Sequence[Measurement],
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Writes report.html, results.json, results.csv and a plot for each kind and metric. comparisons: by kind, see
    `viewer`. Raises OSError.
    """
    from plotly.offline import get_plotlyjs

    text = json.dumps(results, indent=1, allow_nan=False)
    write_atomically(folder / "results.json", lambda file: file.write(text.encode() + b"\n"))
    write_csv(folder / "results.csv", measurements)
    titles = {codec["name"]: codec["title"] for codec in results["codecs"]}
    for kind, found in results["kinds"].items():
        about = found["data_set"] or f"{kind}, {len(found['photos'])} pictures"
        for metric, of_metric in found["curves"].items():
            own = {name: [Point(**p) for p in points] for name, points in of_metric.items() if points}
            published = {c["title"]: published_curve(c, metric) for c in found["published"] if c["shown"]}
            if own:
                published = {title: points for title, points in published.items() if points}
                plots.draw(folder / f"{kind}-{metric}.png", own, titles, metric, about, published)
    # A script element ends at "</" whatever it is part of.
    data = json.dumps({**results, "comparisons": comparisons}, allow_nan=False).replace("<", "\\u003c")
    page = (HERE / "report.html").read_text(encoding="utf-8")
    for place, content in (
        ("__STYLE__", (HERE / "report.css").read_text(encoding="utf-8")),
        ("__SCRIPT__", (HERE / "report.js").read_text(encoding="utf-8")),
        ("__RESULTS__", data),
        ("__PLOTLY__", get_plotlyjs()),
    ):
        page = page.replace(place, content)
    write_atomically(folder / "report.html", lambda file: file.write(page.encode()))


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """One line for each picture, codec and quality. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = list(measurements[0].scores) if measurements else []
    writer.writerow(["image", "codec", "quality", "bytes", "bpp", *scores, "encode_seconds", "decode_seconds"])
    for m in measurements:
        values = ["" if (score := m.scores[name]) is None else f"{score:.6g}" for name in scores]
        times = (f"{m.encode_seconds:.4f}", f"{m.decode_seconds:.4f}")
        writer.writerow([m.image, m.codec, f"{m.quality:g}", m.bytes, f"{m.bpp:.5f}", *values, *times])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _excluded(photos: Sequence[Photo], measurements: Sequence[Measurement], metric: str) -> dict[str, str]:
    """Pictures that cannot be part of the means, and why.

    All points of all curves are means over the same pictures. Where most pictures have a score, those without it are
    left out; where most have none, `curves.curve` leaves out the point. Without loss is a score, too.
    """
    excluded: dict[str, str] = {}
    for photo in photos:
        if min(photo.width, photo.height) < curves.SMALLEST:
            excluded[photo.name] = f"a side of less than {curves.SMALLEST} pixels: headers decide the size of the file"
        elif min(photo.width, photo.height) < (least := SMALLEST_SIDES.get(metric, 0)):
            excluded[photo.name] = f"a side of less than {least} pixels: the scales of {metric} do not fit"
    rest = [photo.name for photo in photos if photo.name not in excluded]
    scored: dict[tuple[str, float], set[str]] = defaultdict(set)
    for m in measurements:
        if m.scores[metric] is not None or m.lossless:
            scored[m.codec, m.quality].add(m.image)
    for (codec, quality), have in scored.items():
        lacking = [name for name in rest if name not in have]
        if 2 * len(lacking) <= len(rest):
            for name in lacking:
                excluded.setdefault(name, f"no score of {codec} at quality {quality:g}: it failed")
    return excluded


def _lossless(measurements: Sequence[Measurement]) -> dict[str, dict[str, list[str]]]:
    """By codec and quality, the pictures that came back without loss."""
    found: dict[str, dict[str, list[str]]] = {}
    for m in measurements:
        if m.lossless:
            found.setdefault(m.codec, {}).setdefault(f"{m.quality:g}", []).append(m.image)
    return found


def _rarely_lossless(lossless: Mapping[str, Mapping[str, Sequence[str]]], names: Sequence[str]) -> list[str]:
    """Those of the pictures that mean curves can be of: without the few that a codec kept without loss at a quality
    where it did not so with most, where it is the point that has to go."""
    few = {
        name
        for of_codec in lossless.values()
        for images in of_codec.values()
        if 2 * len(images) <= len(names)
        for name in images
    }
    return [name for name in names if name not in few]


def _bd_rate(
    means: Mapping[str, Curve],
    by_codec: Mapping[str, Sequence[Measurement]],
    anchor: str,
    test: str,
    metric: str,
    images: Sequence[str],
) -> dict[str, Any]:
    """One cell of the table: percentages, None where there is none, with the trouble that is the reason."""
    whole = curves.bd_rate(means[anchor], means[test])
    each = curves.bd_rates_of_images([*by_codec[anchor], *by_codec[test]], anchor, test, metric, images)
    summary = curves.summary(each)
    trouble = ""
    if not whole:
        causes = [f"{name}: {why}" for name in (anchor, test) if (why := curves.trouble(means[name]))]
        trouble = "; ".join(causes) or "no range in common"
    return {
        "mean_curves": whole.percent if whole else None,
        "low": whole.low if whole else None,
        "high": whole.high if whole else None,
        "trouble": trouble,
        "summary": asdict(summary) if summary else None,
        "images": {name: bd.percent if bd else None for name, bd in each.items()},
    }


def _speed(measurements: Sequence[Measurement]) -> dict[str, float | None]:
    """Megapixels per second, all files together."""
    pixels = math.fsum(8 * m.bytes / m.bpp for m in measurements) / 1e6
    encode = math.fsum(m.encode_seconds for m in measurements)
    decode = math.fsum(m.decode_seconds for m in measurements)
    return {"encode": pixels / encode if encode else None, "decode": pixels / decode if decode else None}


def _against_published(
    means: Mapping[str, Mapping[str, Curve]], published: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, float]]]:
    """By metric, codec of ours and title of a published curve: BD-rate of the mean curves in percent."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for metric, of_metric in means.items():
        for name in of_metric:
            if not name.startswith("aecodec"):
                continue
            rates = {c["title"]: curves.bd_rate(published_curve(c, metric), of_metric[name]) for c in published}
            known = {title: rate.percent for title, rate in rates.items() if rate}
            if known:
                found.setdefault(metric, {})[name] = known
    return found


def data_set_of(photos: Sequence[Photo]) -> dict[str, Any]:
    """Title and published curves of the data set that these pictures are, by their pixels; empty if none is known."""
    checksums = sorted(photo.checksum for photo in photos)
    for path in sorted((HERE / "published").glob("*.json")):
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["checksums"] == checksums:
            return data
    return {}


def published_curve(published: Mapping[str, Any], metric: str) -> Curve:
    """One of the `curves` of a data set, see `data_set_of`."""
    known = [(p["bpp"], p[metric]) for p in published["points"] if metric in p]
    return [Point(0, bpp, curves.decibels(score) if metric == "ms_ssim" else score) for bpp, score in known]
