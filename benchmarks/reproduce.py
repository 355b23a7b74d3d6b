"""Measures everything that README and docs/benchmark.md say of the released models, anew, and fills in their tables.

    python benchmarks/reproduce.py KODAK PHOTOS [--sets heldout,kodak] [--seconds 110]

KODAK is a folder with the 24 Kodak pictures, PHOTOS one with the tar files of the training photographs. What the cache
holds is not measured again; without it, this takes about an hour and a half of one core. With --seconds it ends after
about so many, so that other work gets its turn; the same command goes on, and exits with 0 once all is measured.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from heldout import PICTURES, crops, spread

from aecodec.benchmark import codecs, metrics
from aecodec.benchmark.measure import find_photos, measure

HERE = Path(__file__).resolve().parent
OURS = "aecodec:aec1-visual-1,aecodec:aec1-11"
MAIN = f"{OURS},jpeg,jxl,avif,avif-444,avif-444-psnr"
EVERY = f"{MAIN},aecodec:aec1-11@0,aecodec:aec1-11@8,mozjpeg,jpegli,webp,heic,avif-slow"
CROPS, CVVDP_CROPS = 12, 6  # of those that training holds out, evenly spread; CVVDP takes four seconds for a picture
SIZES = (0.4, 3, 12)  # megapixels, for speed
SETS = ("heldout", "kodak", "drawn", "cvvdp", "speed")


@dataclass(frozen=True)
class Set:
    """What one folder of results is made of. pictures: files, or folders that are kinds of content."""

    pictures: list[Path]
    codecs: str
    metrics: str
    anchors: str


def sets(kodak: Path, photos: Path) -> dict[str, Set]:
    held_out = crops(photos, "photographs")
    four = "psnr,ms-ssim,ssimulacra2,butteraugli"
    anchors = "avif,jpeg,avif-444,avif-444-psnr"
    return {
        "heldout": Set([photo.path for photo in spread(held_out, CROPS)], EVERY, four, anchors),
        "kodak": Set([kodak], MAIN, four, anchors),
        "drawn": Set([PICTURES / "screens", PICTURES / "drawings"], f"{MAIN},webp", four, "avif,jpeg"),
        "cvvdp": Set(
            [photo.path for photo in spread(held_out, CVVDP_CROPS)], f"{OURS},jpeg,avif,avif-444", "cvvdp", "avif"
        ),
    }


def measured(wanted: Set, seconds: float) -> bool:
    """Whether all of it is in the cache, after measuring for so long at most."""
    chosen, missing = metrics.choose(wanted.metrics)
    if missing:
        sys.exit("; ".join(missing.values()))
    photos, problems = find_photos(wanted.pictures)
    if problems:
        sys.exit(f"{problems[0].image}: {problems[0].reason}")
    peers = [codecs.make(name) for name in wanted.codecs.split(",")]
    found, failed = measure(photos, peers, chosen, seconds=seconds)
    total = len(photos) * sum(len(peer.qualities) for peer in peers)
    return len(found) + len(failed) == total


def run(*command: str | Path) -> None:
    print("$", *command, flush=True)
    subprocess.run([sys.executable, *map(str, command)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--seconds", type=float, help="measure for about so long, then end")
    parser.add_argument("--report", type=Path, help="keep the report pages in this folder")
    options = parser.parse_args()

    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    known = sets(options.kodak, options.photos)
    for name in options.sets.split(","):
        if name == "speed":
            run(
                HERE / "peer_speed.py", "--sizes", *map(str, SIZES), "--json", HERE / "results" / "peers" / "speed.json"
            )
            continue
        wanted = known[name]
        if not measured(wanted, end - time.monotonic()):
            sys.exit(f"{name}: not all is measured yet; the same command goes on")
        results = HERE / "results" / name
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            report = (options.report or Path(folder)) / name
            chosen = ("--codecs", wanted.codecs, "--metrics", wanted.metrics, "--anchor", wanted.anchors)
            run("-m", "aecodec", "benchmark", *wanted.pictures, "-o", report, *chosen)
            for file in ("results.json", "results.csv"):
                shutil.copy(report / file, results / file)
    run(HERE / "tables.py")


if __name__ == "__main__":
    main()
