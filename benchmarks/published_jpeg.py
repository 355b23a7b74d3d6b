"""Compares JPEG as Pillow writes it by default with the published curve of CompressAI, measured with Pillow 7.1.2.

    python benchmarks/published_jpeg.py FOLDER_OF_KODAK

Needs Pillow only, so that it also runs with old ones (8.4.0 with Python 3.10, for instance).
"""

from __future__ import annotations

import io
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import PIL
from PIL import Image, ImageChops, ImageStat, features

PUBLISHED = Path(__file__).parents[1] / "aecodec" / "benchmark" / "published" / "kodak.json"


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = sum(ImageStat.Stat(ImageChops.difference(a, b)).sum2) / (3 * a.width * a.height)
    return 10 * math.log10(255**2 / error)


def curve(images: list[Image.Image], qualities: range, **options: bool) -> list[tuple[float, float]]:
    """Mean bpp and mean PSNR at each quality."""
    points = []
    for quality in qualities:
        rates, scores = [], []
        for image in images:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, **options)
            rates.append(8 * len(file.getvalue()) / (image.width * image.height))
            scores.append(psnr(image, Image.open(file)))
        points.append((sum(rates) / len(rates), sum(scores) / len(scores)))
    return points


def at(bpp: float, points: list[tuple[float, float]]) -> float | None:
    """PSNR of a curve at a rate, linear in the logarithm of the rate; None outside of the curve."""
    for (r0, s0), (r1, s1) in pairwise(points):
        if r0 <= bpp <= r1:
            return s0 + (s1 - s0) * math.log(bpp / r0) / math.log(r1 / r0)
    return None


def main() -> None:
    images = [Image.open(path).convert("RGB") for path in sorted(Path(sys.argv[1]).glob("*.png"))]
    (found,) = (c for c in json.loads(PUBLISHED.read_text())["curves"] if c["name"] == "published-jpeg")
    published = [(p["bpp"], p["psnr_rgb"]) for p in found["points"]]
    qualities = range(5, 96, 5)
    plain, optimized = curve(images, qualities), curve(images, qualities, optimize=True)
    turbo = features.version_feature("libjpeg_turbo") if features.check("libjpeg_turbo") else None
    print(f"Pillow {PIL.__version__}, {f'libjpeg-turbo {turbo}' if turbo else 'libjpeg ' + features.version('jpg')}")
    print("quality  published bpp, dB   here bpp, dB         at equal bpp, dB: here, with optimize=True")
    for quality, reference, own, other in zip(qualities, published, plain, optimized, strict=True):
        gaps = [f"{s - p:+8.3f}" if (p := at(b, published)) else f"{'-':>8}" for b, s in (own, other)]
        print(f"{quality:7} {reference[0]:9.4f} {reference[1]:8.3f} {own[0]:9.4f} {own[1]:8.3f}   {' '.join(gaps)}")


if __name__ == "__main__":
    main()
