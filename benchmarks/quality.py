"""What a quality means: writes the tables of docs/quality.md. python benchmarks/quality.py KODAK

The ladder of the benchmark is read from benchmarks/results; what lies beyond is measured, on every third picture.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

from aecodec import Codec
from aecodec.metrics import psnr
from aecodec.models import DEFAULT
from aecodec.perceptual import score

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quality.md"
MARK = "<!-- results of benchmarks/quality.py -->"
BEYOND = (90, 95, 98, 100)
HEAD = "| quality | bpp | PSNR, dB | worst to best | SSIMULACRA2 | worst to best |\n|---|---|---|---|---|---|"
Rows = dict[float, list[tuple[float, float, float]]]  # by quality: bits per pixel, PSNR, SSIMULACRA2 of each picture


def on_record() -> Rows:
    rows: Rows = {}
    with (ROOT / "benchmarks" / "results" / "kodak" / "results.csv").open() as file:
        for row in csv.DictReader(file):
            if row["codec"] == f"aecodec:{DEFAULT}":
                figures = float(row["bpp"]), float(row["psnr_rgb"]), float(row["ssimulacra2"])
                rows.setdefault(float(row["quality"]), []).append(figures)
    return rows


def beyond(pictures: list[Path]) -> Rows:
    codec, rows = Codec("cpu", DEFAULT), {}
    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for quality in BEYOND:
            data = codec.compress(pixels, quality)
            decoded = codec.decompress(data, as_array=True)
            figures = 8 * len(data) / (pixels.size / 3), psnr(pixels, decoded), score(pixels, decoded)
            rows.setdefault(float(quality), []).append(figures)
    return rows


def table(rows: Rows) -> str:
    lines = [HEAD]
    for quality, of in sorted(rows.items()):
        bits, decibels, scores = zip(*of, strict=True)
        figures = f"{mean(bits):.2f} | {mean(decibels):.1f} | {min(decibels):.1f} to {max(decibels):.1f}"
        lines.append(f"| {quality:g} | {figures} | {mean(scores):.0f} | {min(scores):.0f} to {max(scores):.0f} |")
    return "\n".join(lines)


def main() -> None:
    pictures = sorted(Path(sys.argv[1]).glob("*.png"))
    usual, some = on_record(), pictures[::3]
    count = len(next(iter(usual.values())))
    note = f"Model {DEFAULT}, {count} Kodak photographs, from `benchmarks/results/kodak/results.csv`."
    names = ", ".join(path.stem for path in some)
    more = f"Beyond {max(usual):g}, {len(some)} of these photographs ({names}):"
    before, _, after = PAGE.read_text().partition(MARK)
    parts = [f"{before}{MARK}\n{table(usual)}", note, more, table(beyond(some))]
    PAGE.write_text("\n\n".join(parts) + "\n" + after[after.index("\n## ") :])


if __name__ == "__main__":
    main()
