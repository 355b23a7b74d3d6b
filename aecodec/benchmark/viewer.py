"""Crops of the same picture by several codecs at equal size of the file, to look at."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import Measurement, Photo, Problem
from aecodec.benchmark.metrics import METRICS
from aecodec.files import write_atomically
from aecodec.picture import load

SIDE = 256  # pixels of a crop
STEP = 32  # pixels between places that are tried for it
LOOKS = 16  # pictures of a kind: each adds half a megabyte to the page
SHOWN = ("jpeg", "webp", "jxl", "avif", "avif-444-psnr")  # besides ours
SCORE, MEDIUM = "ssimulacra2", 50  # files are as large as the anchor's of medium quality,
BPP = 0.4  # or, where that is not measured, of so many bits per pixel
CLOSE = 0.01  # sizes that differ by less are equal


def comparisons(
    results: Mapping[str, Any],
    photos: Sequence[Photo],
    peers: Sequence[Peer],
    measurements: Sequence[Measurement],
    cache: Path,
) -> tuple[dict[str, list[dict[str, Any]]], list[Problem]]:
    """By kind of content, what `compare` has to show of the pictures that `choose` picks. results: of `report.build`.
    cache: folder in which results are kept."""
    anchor = results["anchors"][0]
    judge = SCORE if SCORE in results["metrics"] else results["metrics"][-1]
    titles = {peer.name: peer.title for peer in peers}
    shown: dict[str, list[dict[str, Any]]] = {}
    problems: list[Problem] = []
    for kind, found in results["kinds"].items():
        rates = {name: bd["images"] for name, bd in found["bd_rates"][anchor][judge].items()}
        ours_first = {name: rates[name] for name in sorted(rates, key=lambda name: not name.startswith("aecodec"))}
        usable = [p for p in photos if p.kind == kind and p.name not in found["excluded"][results["metrics"][0]]]
        shown[kind], failed = compare(choose(ours_first, titles, usable, judge), peers, measurements, anchor, cache)
        problems += failed
    return shown, problems


def choose(
    rates: Mapping[str, Mapping[str, float | None]], titles: Mapping[str, str], photos: Sequence[Photo], metric: str
) -> list[tuple[Photo, str]]:
    """Up to LOOKS pictures and why these: the worst of every codec first, then by the first codec's loss.

    rates: by codec, BD-rates of a metric in percent by picture (negative is a gain), ours first.
    """
    by_name = {photo.name: photo for photo in photos}
    told = metric.removesuffix("_rgb").replace("_", "-").upper()
    why: dict[str, list[str]] = {}
    for codec, of_codec in rates.items():
        known = {name: percent for name, percent in of_codec.items() if percent is not None and name in by_name}
        if known:
            worst = max(known, key=known.__getitem__)
            why.setdefault(worst, []).append(f"worst of {titles[codec]}, {known[worst]:+.0f} % by {told}")
    first = next(iter(rates.values()), {})
    rest = sorted(by_name, key=lambda name: -(value if (value := first.get(name)) is not None else -math.inf))
    order = dict.fromkeys([*why, *rest])
    return [(by_name[name], "; ".join(why.get(name, []))) for name in order][:LOOKS]


def compare(
    chosen: Sequence[tuple[Photo, str]],
    peers: Sequence[Peer],
    measurements: Sequence[Measurement],
    anchor: str,
    cache: Path,
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """For each picture: title and crops, each with name, title, data (URL with a lossless picture inside), bytes of the
    whole file and its scores. cache: folder in which results are kept."""
    wanted = dict.fromkeys([anchor, *SHOWN])
    shown = [p for name in wanted for p in peers if p.name == name]
    shown += [p for p in peers if p.name.startswith("aecodec") and p not in shown]
    comparisons: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for photo, why in chosen:
        own = [m for m in measurements if m.image == photo.name]
        sizes = {peer.name: {m.quality: m.bytes for m in own if m.codec == peer.name} for peer in shown}
        if len(shown) < 2 or not all(sizes.values()):
            continue
        target = _target(photo, [m for m in own if m.codec == anchor])
        image = Image.fromarray(load(photo.path).colour)
        original = np.asarray(image.convert("RGB"))
        files: dict[str, bytes] = {}
        decoded: dict[str, npt.NDArray[np.uint8]] = {}
        for peer in shown:
            try:
                files[peer.name] = _file(photo, image, peer, target, sizes[peer.name], cache)
                decoded[peer.name] = np.asarray(peer.decode(files[peer.name]).convert("RGB"))
            except Exception as error:  # as in measuring: whatever a peer raises
                problems.append(Problem(photo.name, peer.name, None, f"side by side: {type(error).__name__}: {error}"))
        ours = next((name for name in decoded if name.startswith("aecodec")), None)
        left, top = _place(original, decoded[ours]) if ours else ((photo.width - SIDE) // 2, (photo.height - SIDE) // 2)
        box = (max(0, left), max(0, top), min(photo.width, left + SIDE), min(photo.height, top + SIDE))
        crops: list[dict[str, Any]] = [
            {"name": "original", "title": "original", "data": _crop(original, box), "bytes": None, "scores": {}}
        ]
        for peer in shown:
            if peer.name in decoded:
                pixels = decoded[peer.name]
                scores = {
                    name: METRICS[name](original, pixels) for name in ("psnr_rgb", SCORE) if name in own[0].scores
                }
                crops.append(
                    {
                        "name": peer.name,
                        "title": peer.title,
                        "data": _crop(pixels, box),
                        "bytes": len(files[peer.name]),
                        "scores": scores,
                    }
                )
        comparisons.append({"title": photo.name, "why": why, "crops": crops})
    return comparisons, problems


def _target(photo: Photo, anchor: Sequence[Measurement]) -> int:
    """How many bytes every file should have."""
    if all(m.scores.get(SCORE) is not None for m in anchor):
        return min(anchor, key=lambda m: abs((m.scores[SCORE] or 0) - MEDIUM)).bytes
    return min((m.bytes for m in anchor), key=lambda size: abs(size - BPP * photo.width * photo.height / 8))


def _file(photo: Photo, image: Image.Image, peer: Peer, target: int, sizes: Mapping[float, int], cache: Path) -> bytes:
    """Of the quality whose file is nearest to `target` bytes. sizes: those that are known, by quality."""
    identity = json.dumps([photo.checksum, peer.name, peer.version, peer.settings, target])
    path = cache / "files" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    try:
        return path.read_bytes()
    except OSError:
        pass  # not there yet
    known = dict(sizes)
    best, tried = b"", set()
    for _ in range(3):
        quality = _quality_for(target, known, peer)
        if quality in tried:
            break
        tried.add(quality)
        data = peer.encode(image, quality)
        known[quality] = len(data)
        best = min((best, data), key=lambda found: abs(len(found) - target) if found else math.inf)
        if abs(len(best) / target - 1) < CLOSE:
            break
    write_atomically(path, lambda file: file.write(best))
    return best


def _quality_for(target: int, sizes: Mapping[float, int], peer: Peer) -> float:
    """By linear interpolation of the logarithm of the size."""
    order = sorted((size, quality) for quality, size in sizes.items())
    qualities = [quality for _, quality in order]
    found = float(np.interp(math.log(target), [math.log(size) for size, _ in order], qualities))
    whole = all(float(quality).is_integer() for quality in peer.qualities)
    return round(found) if whole else found


def _place(original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Left and top of the crop with the largest squared error: where it shows."""
    error = np.square(original.astype(np.float32) - decoded).sum(2)
    height, width = error.shape
    summed = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    places = [
        (left, top)
        for top in range(0, max(1, height - SIDE + 1), STEP)
        for left in range(0, max(1, width - SIDE + 1), STEP)
    ]

    def inside(place: tuple[int, int]) -> float:
        left, top = place
        right, bottom = min(width, left + SIDE), min(height, top + SIDE)
        return float(summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left])

    return max(places, key=inside)


def _crop(pixels: npt.NDArray[np.uint8], box: tuple[int, int, int, int]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).crop(box).save(buffer, "WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
