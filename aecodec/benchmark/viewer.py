"""Crops of the same picture by several codecs at equal size of the file, to look at."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import Measurement, Photo, Problem
from aecodec.benchmark.metrics import psnr_rgb
from aecodec.files import write_atomically
from aecodec.picture import load

SIDE = 256  # pixels of a crop
BPP = 0.4  # of the anchor's file, about: low enough to see what the codecs do
CODECS = ("avif", "aecodec")  # besides the anchor
ATTEMPTS = 5  # to meet the size; halves the interval of qualities each time


def choose(gains: Mapping[str, float | None], photos: Sequence[Photo]) -> list[tuple[Photo, str]]:
    """Up to three pictures and why these: with the largest, median and smallest gain (BD-rates in percent by picture,
    negative is a gain). The first three if there are no gains."""
    by_name = {photo.name: photo for photo in photos}
    order = sorted((percent, name) for name, percent in gains.items() if percent is not None)
    if not order:
        return [(photo, "") for photo in photos[:3]]
    places = {len(order) - 1: "smallest gain", len(order) // 2: "median gain", 0: "largest gain"}
    return [(by_name[order[place][1]], why) for place, why in sorted(places.items())]


def compare(
    chosen: Sequence[tuple[Photo, str]],
    peers: Sequence[Peer],
    measurements: Sequence[Measurement],
    anchor: str,
    cache: Path,
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """For each picture: title and crops, each with title, data (URL with a PNG inside), bytes of the whole file and its
    psnr_rgb. cache: folder in which results are kept."""
    shown = [p for name in dict.fromkeys([anchor, *CODECS]) for p in peers if p.name == name]
    comparisons: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for photo, why in chosen:
        sizes = {
            peer.name: {m.quality: m.bytes for m in measurements if m.codec == peer.name and m.image == photo.name}
            for peer in shown
        }
        if len(shown) < 2 or not all(sizes.values()):
            continue
        wanted = BPP * photo.width * photo.height / 8
        target = min(sizes[anchor].values(), key=lambda size: abs(size - wanted))
        image = Image.fromarray(load(photo.path).colour)
        crops: list[dict[str, Any]] = [{"title": "original", "data": _crop(image), "bytes": None, "psnr_rgb": None}]
        for peer in shown:
            identity = json.dumps([photo.checksum, peer.name, peer.version, peer.settings, target, SIDE])
            path = cache / "crops" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
            try:
                crops.append(json.loads(path.read_text()))
                continue
            except (OSError, ValueError):
                pass  # not there yet
            try:
                crop = _compressed(image, peer, target, sizes[peer.name])
            except Exception as error:  # as in measuring: whatever a peer raises
                problems.append(Problem(photo.name, peer.name, None, f"side by side: {type(error).__name__}: {error}"))
                continue
            text = json.dumps(crop)
            write_atomically(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
            crops.append(crop)
        comparisons.append({"title": f"{photo.name}, {why}" if why else photo.name, "crops": crops})
    return comparisons, problems


def _compressed(image: Image.Image, peer: Peer, target: int, sizes: Mapping[float, int]) -> dict[str, Any]:
    """At the quality whose file is nearest to `target` bytes. sizes: those that are known, by quality."""
    low = max((q for q, size in sizes.items() if size <= target), default=min(sizes))
    high = min((q for q, size in sizes.items() if size > target), default=low)
    best = peer.encode(image, min(sizes, key=lambda q: abs(sizes[q] - target)))
    for _ in range(ATTEMPTS if low < high and len(best) != target else 0):
        middle = (low + high) / 2
        data = peer.encode(image, middle)
        low, high = (middle, high) if len(data) <= target else (low, middle)
        best = min(best, data, key=lambda found: abs(len(found) - target))
    decoded = peer.decode(best)
    psnr = psnr_rgb(np.asarray(image.convert("RGB")), np.asarray(decoded.convert("RGB")))
    return {"title": peer.title, "data": _crop(decoded), "bytes": len(best), "psnr_rgb": psnr}


def _crop(image: Image.Image) -> str:
    left, top = max(0, (image.width - SIDE) // 2), max(0, (image.height - SIDE) // 2)
    buffer = io.BytesIO()
    image.crop((left, top, min(left + SIDE, image.width), min(top + SIDE, image.height))).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
