"""Measures everything that README and docs/benchmark.md say of a released model, anew, and fills in their tables.

    python benchmarks/reproduce.py KODAK PHOTOS [--model aec1-11] [--report REPORT]

KODAK is a folder with the 24 Kodak pictures, PHOTOS one with the tar files of the training photographs. What the cache
holds is not measured again; without it, this takes about half an hour of one core.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODECS = "jpeg,avif,avif-444-psnr,aecodec"
ANCHORS = "avif,jpeg,avif-444-psnr"
CROPS = 12  # of those that training holds out
SIZES = (0.4, 3)  # megapixels, for speed
README_PLOTS = ("kodak-psnr_rgb.png", "kodak-ssimulacra2.png")


def run(*command: str | Path) -> None:
    print("$", *command, flush=True)
    subprocess.run([sys.executable, *map(str, command)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="aec1-11")
    parser.add_argument("--report", type=Path, help="keep the report page in this folder")
    options = parser.parse_args()

    results = HERE / "results" / options.model
    results.mkdir(parents=True, exist_ok=True)
    model = ("--model", options.model)
    with tempfile.TemporaryDirectory() as folder:
        report = options.report or Path(folder) / "report"
        pictures = (options.kodak, HERE / "pictures" / "screens", HERE / "pictures" / "drawings")
        run("-m", "aecodec", "benchmark", *pictures, "-o", report, "--anchor", ANCHORS, "--codecs", CODECS, *model)
        for name in ("results.json", "results.csv", *README_PLOTS):
            shutil.copy(report / name, results / name)
    crops = ("--pictures", str(CROPS), "--codecs", "avif")
    run(HERE / "heldout.py", options.photos, *model, *crops, "--json", results / "heldout.json")
    run(HERE / "peer_speed.py", *model, "--sizes", *map(str, SIZES), "--json", results / "speed.json")
    run(HERE / "tables.py")


if __name__ == "__main__":
    main()
