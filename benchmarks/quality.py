"""What a quality means: writes the table of docs/quality.md. python benchmarks/quality.py PICTURES...

Rate and PSNR are those of benchmarks/results, on all of Kodak; SSIMULACRA2 is measured on PICTURES.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import aecodec
from aecodec.benchmark.metrics import METRICS

ROOT = Path(__file__).parents[1]
QUALITIES = (9, 27, 45, 63, 81, 90, 100)
PAGE = ROOT / "docs" / "quality.md"
MARK = "<!-- results of benchmarks/quality.py -->"


def main(paths: list[str]) -> None:
    codec = aecodec.Codec("cpu")
    with (ROOT / "benchmarks" / "results" / codec.model.name / "kodak.csv").open() as file:
        known = [row for row in csv.DictReader(file) if row["codec"] == "aecodec"]
    rows = []
    for quality in QUALITIES:
        scores = []
        for path in paths:
            original = np.asarray(Image.open(path).convert("RGB"))
            decoded = codec.decompress(codec.compress(original, quality), as_array=True)
            scores.append(METRICS["ssimulacra2"](original, decoded))
        bits = [float(row["bpp"]) for row in known if float(row["quality"]) == quality]
        psnr = [float(row["psnr_rgb"]) for row in known if float(row["quality"]) == quality]
        figures = f"{np.mean(bits):.2f} | {np.mean(psnr):.1f} | {min(psnr):.1f} to {max(psnr):.1f}"
        rows.append(f"| {quality} | {figures} | {np.mean(scores):.0f} | {min(scores):.0f} |")
    head = "| quality | bpp | PSNR, dB | worst to best | SSIMULACRA2 | worst |\n|---|---|---|---|---|---|"
    names = ", ".join(Path(path).name for path in paths)
    note = f"Model {codec.model.name}; rate and PSNR: means over the 24 Kodak photographs; SSIMULACRA2: of {names}."
    before, _, after = PAGE.read_text().partition(MARK)
    PAGE.write_text(f"{before}{MARK}\n{head}\n" + "\n".join(rows) + f"\n\n{note}\n" + after[after.index("\n## ") :])


main(sys.argv[1:])
