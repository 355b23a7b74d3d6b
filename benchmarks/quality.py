"""What a quality means: writes the table of docs/quality.md from benchmarks/results. python benchmarks/quality.py"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

from aecodec.models import DEFAULT

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quality.md"
MARK = "<!-- results of benchmarks/quality.py -->"


def main() -> None:
    with (ROOT / "benchmarks" / "results" / "kodak" / "results.csv").open() as file:
        known = [row for row in csv.DictReader(file) if row["codec"] == f"aecodec:{DEFAULT}"]
    rows = []
    for quality in sorted({float(row["quality"]) for row in known}):
        of = [row for row in known if float(row["quality"]) == quality]
        bits, psnr, scores = ([float(row[name]) for row in of] for name in ("bpp", "psnr_rgb", "ssimulacra2"))
        figures = f"{mean(bits):.2f} | {mean(psnr):.1f} | {min(psnr):.1f} to {max(psnr):.1f}"
        rows.append(f"| {quality:g} | {figures} | {mean(scores):.0f} | {min(scores):.0f} to {max(scores):.0f} |")
    head = "| quality | bpp | PSNR, dB | worst to best | SSIMULACRA2 | worst to best |\n|---|---|---|---|---|---|"
    note = f"Model {DEFAULT}, {len(of)} Kodak photographs, from `benchmarks/results/kodak/results.csv`."
    before, _, after = PAGE.read_text().partition(MARK)
    PAGE.write_text(f"{before}{MARK}\n{head}\n" + "\n".join(rows) + f"\n\n{note}\n" + after[after.index("\n## ") :])


main()
