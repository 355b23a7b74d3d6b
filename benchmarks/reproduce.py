"""Measures everything that README and docs/benchmark.md say of the released models, anew, and fills in their tables.

    python benchmarks/reproduce.py KODAK PHOTOS [--sets heldout,kodak] [--seconds 110]

KODAK is a folder with the 24 Kodak pictures, PHOTOS one with the tar files of the training photographs. What the cache
holds is not measured again; without it, this takes about two and a half hours of one core. With --seconds it ends after
about so many, so that other work gets its turn; the same command goes on, and exits with 0 once all is measured.
With --only NAMES, as for a new model, only these codecs are measured; of the others the figures in the repository stay,
with the versions and the processor that they were measured with.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from heldout import PICTURES, crops, spread

from aecodec.benchmark import codecs, metrics, report, viewer
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import Measurement, Problem, cache_folder, find_photos, measure

HERE = Path(__file__).resolve().parent
OURS = "aecodec:aec1-visual-3,aecodec:aec1-11"
KODAK = f"{OURS},jpeg,avif,avif-444,avif-444-psnr,jxl,mozjpeg,jpegli,webp"
EVERY = f"{KODAK},aecodec:aec1-11@0,aecodec:aec1-11@8,heic,avif-slow"
DRAWN = f"{OURS},jpeg,webp,jxl,avif,avif-444-psnr"
CROPS = 12  # of those that training holds out, evenly spread
SIZES = (0.4, 3, 12)  # megapixels, for speed
SETS = ("heldout", "kodak", "drawn", "cvvdp", "generations", "speed", "sheet")


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
        "heldout": Set([photo.path for photo in spread(held_out, CROPS)], EVERY, four, f"{anchors},avif-slow"),
        "kodak": Set([kodak], KODAK, four, anchors),
        "drawn": Set([PICTURES / "screens", PICTURES / "drawings"], DRAWN, four, "avif,jpeg"),
        "cvvdp": Set([photo.path for photo in spread(held_out, CROPS)], f"{OURS},avif,avif-444", "cvvdp", "avif"),
    }


@dataclass(frozen=True)
class Known:
    """What the repository holds of some codecs: these with the versions that they were measured with, and on which
    processor each was."""

    peers: list[Peer]
    measured: list[Measurement]
    problems: list[Problem]
    machines: dict[str, str]


def in_repository(folder: Path, peers: list[Peer]) -> Known:
    """What the results in a folder hold of these codecs. Raises KeyError if it is nothing."""
    told = json.loads((folder / "results.json").read_text())
    of_codec = {codec["name"]: codec for codec in told["codecs"]}
    peers = [replace(peer, version=of_codec[peer.name]["version"]) for peer in peers]
    found = []
    with (folder / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if any(row["codec"] == peer.name for peer in peers):
                scores = {name: float(row[name]) if row[name] else None for name in told["metrics"]}
                figures = (float(row["quality"]), int(row["bytes"]), float(row["bpp"]), scores)
                seconds = (float(row["encode_seconds"]), float(row["decode_seconds"]))
                found.append(Measurement(row["image"], row["codec"], *figures, *seconds))
    names = [peer.name for peer in peers]
    problems = [problem for each in told["problems"] if (problem := Problem(**each)).codec in names]
    return Known(peers, found, problems, {name: of_codec[name]["machine"] for name in names})


def measured(wanted: Set, folder: Path, only: str | None, seconds: float, pages: Path | None) -> dict[str, Any] | None:
    """The results of a set, None if after measuring for so long not all is in the cache. folder: with the figures in
    the repository; only: see --only; pages: where a report page is to be."""
    chosen, missing = metrics.choose(wanted.metrics)
    if missing:
        sys.exit("; ".join(missing.values()))
    photos, problems = find_photos(wanted.pictures)
    if problems:
        sys.exit(f"{problems[0].image}: {problems[0].reason}")
    peers = [codecs.make(name) for name in wanted.codecs.split(",")]
    anew = [peer for peer in peers if only is None or peer.name in only.split(",")]
    found, failed = measure(photos, anew, chosen, seconds=seconds)
    machines: dict[str, str] = {}
    if others := [peer for peer in peers if peer not in anew]:
        pictures, names = [photo.name for photo in photos], [peer.name for peer in peers]
        known = in_repository(folder, others)
        machines = known.machines
        peers = sorted([*anew, *known.peers], key=lambda peer: names.index(peer.name))
        found = sorted(found + known.measured, key=lambda m: (pictures.index(m.image), names.index(m.codec), m.quality))
        failed += known.problems
    if len(found) + len(failed) < len(photos) * sum(len(peer.qualities) for peer in peers):
        return None
    results = report.build(
        photos,
        peers,
        chosen,
        found,
        failed,
        memory={},
        anchors=wanted.anchors.split(","),
        missing={},
        command="python benchmarks/reproduce.py",
        jobs=1,
    )
    for codec in results["codecs"]:
        codec["machine"] = machines.get(codec["name"], codec["machine"])
    if pages:
        comparisons, unseen = viewer.comparisons(results, photos, peers, found, cache_folder())
        told = results["problems"] + [asdict(problem) for problem in unseen]
        report.write(pages, {**results, "problems": told}, found, comparisons)
    return {"measured": found, **results}


def run(*command: str | Path) -> None:
    print("$", *command, flush=True)
    if code := subprocess.run([sys.executable, *map(str, command)]).returncode:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--only", metavar="NAMES", help="measure these codecs alone, such as aecodec:aec1-11")
    parser.add_argument("--seconds", type=float, help="measure for about so long, then end")
    parser.add_argument("--report", type=Path, help="make report pages, too, in this folder")
    options = parser.parse_args()

    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    known = sets(options.kodak, options.photos)
    scripts: dict[str, list[str | Path]] = {
        "generations": [HERE / "generations.py", options.photos],
        "speed": [HERE / "peer_speed.py", "--sizes", *map(str, SIZES)],
        "sheet": [HERE / "sheet.py", options.kodak, options.photos],
    }
    for name in options.sets.split(","):
        if name in scripts:
            # What the script has measured of this code so far; not what the repository holds, which may be of another.
            kept = cache_folder() / f"{name}-{codecs.code_checksum()}.json"
            left = ("--seconds", str(end - time.monotonic())) if options.seconds else ()
            run(*scripts[name], "--json", kept, *left)
            folder = HERE / "results" / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept, folder / f"{name}.json")
            continue
        wanted, folder = known[name], HERE / "results" / name
        pages = options.report / name if options.report else None
        results = measured(wanted, folder, options.only, end - time.monotonic(), pages)
        if results is None:
            sys.exit(f"{name}: not all is measured yet; the same command goes on")
        folder.mkdir(parents=True, exist_ok=True)
        report.write_csv(folder / "results.csv", results.pop("measured"))
        (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    run(HERE / "tables.py")


if __name__ == "__main__":
    main()
