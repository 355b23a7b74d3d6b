"""How good a model is on the pictures that training holds out, by four metrics, against JPEG and every kind of AVIF.

    python benchmarks/heldout.py PHOTOS [--model NAME_OR_FILE] [--effort N] [--kind photographs] [--json OUT.json]

PHOTOS is the folder with the tar files of the training photographs; which crops count is in heldout.json, with the
SHA-256 of their pixels. --kind screens and drawings are those of benchmarks/pictures. Everything goes through the bytes
of files. What was measured once is kept in the cache of `aecodec benchmark`, so a model costs about three minutes of
one core once its anchors are there. BD-rates are means over pictures with standard errors, negative where the model
needs fewer bytes; kinds of content are never averaged together. Two models are compared most sharply with each other:
--codecs aecodec:aec1-11@1. The score is 100 times the mean of ln J, J = bpp + lambda * 255^2 * MSE, with the lambda
that aec1 was trained for at each quality (one point is 1 % of J, lower is better).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import statistics
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aecodec.benchmark import codecs, curves, metrics
from aecodec.benchmark.measure import Measurement, Photo, cache_folder, find_photos, measure

MANIFEST = Path(__file__).with_suffix(".json")
PICTURES = Path(__file__).with_name("pictures")
QUALITIES = (10, 25, 40, 55, 70, 85)
ANCHORS = ("jpeg", "avif", "avif-444-psnr")
SIDE = 512  # pixels of a crop
HELD_OUT = (
    32  # one picture in this many never trains (aecodec.training.sources); which, is decided by a hash of its name
)
LAMBDA_MIN, LAMBDA_MAX = 0.0005, 0.3  # aec1's at qualities 1 and 100, geometric between


def checksum(pixels: np.ndarray) -> str:
    """SHA-256 of the bytes of (H, W, 3) uint8 pixels."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def held_out(photos: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels of the pictures in tar files that training holds out and a crop fits in."""
    for path in sorted(photos.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if not member.isfile() or hashlib.sha256(member.name.encode()).digest()[0] % HELD_OUT:
                    continue
                file = tar.extractfile(member)
                assert file is not None  # isfile() said so
                with Image.open(io.BytesIO(file.read())) as image:
                    if min(image.size) >= SIDE:
                        yield f"{path.name}/{member.name}", np.asarray(image.convert("RGB"))


def write_manifest(photos: Path) -> None:
    """Makes heldout.json anew: crops of the upper left corner, as training cuts them."""
    crops = [
        {"file": name, "box": [0, 0, SIDE, SIDE], "kind": "photographs", "sha256": checksum(pixels[:SIDE, :SIDE])}
        for name, pixels in held_out(photos)
    ]
    lines = ",\n".join(json.dumps(crop) for crop in crops)
    MANIFEST.write_text(f"[\n{lines}\n]\n")


def crop_name(crop: dict[str, Any]) -> str:
    """A file name that tells the picture to people and its pixels to programs."""
    tar, _, member = crop["file"].partition(".tar/")
    return f"{tar}-{Path(member).stem}-{crop['sha256'][:8]}.png"


def spread(photos: Sequence[Photo], count: int) -> list[Photo]:
    """So many of them, evenly spread."""
    return [photos[i * len(photos) // count] for i in range(count)]


def crops(photos: Path, kind: str) -> list[Photo]:
    """The crops of one kind as PNG files in the cache, or all of a folder of PICTURES. Exits where the pictures are not
    those of the manifest."""
    if (PICTURES / kind).is_dir():
        return find_photos([PICTURES / kind])[0]
    folder = cache_folder() / "heldout" / kind
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [crop for crop in json.loads(MANIFEST.read_text()) if crop["kind"] == kind]
    paths = {crop["file"]: folder / crop_name(crop) for crop in wanted}
    if not all(path.exists() for path in paths.values()):
        pictures = dict(held_out(photos))
        for crop in wanted:
            left, top, right, bottom = crop["box"]
            pixels = pictures.get(crop["file"], np.zeros((0, 0, 3), np.uint8))[top:bottom, left:right]
            if checksum(pixels) != crop["sha256"]:
                sys.exit(f"{photos}: {crop['file']} is missing or not the picture of {MANIFEST.name}")
            Image.fromarray(pixels).save(paths[crop["file"]])
    names = {str(path): name for name, path in paths.items()}
    found, problems = find_photos(list(paths.values()))
    assert not problems
    return [replace(photo, name=names[str(photo.path)]) for photo in found]


def score(measurements: Sequence[Measurement]) -> float | None:
    """100 times the mean of ln J over pictures and QUALITIES, None unless all of these were measured."""
    found: dict[float, list[float]] = {quality: [] for quality in QUALITIES}
    for m in measurements:
        psnr = m.scores["psnr_rgb"]
        if m.quality in found and psnr is not None:
            weight = LAMBDA_MIN * (LAMBDA_MAX / LAMBDA_MIN) ** ((m.quality - 1) / 99)
            found[m.quality].append(100 * math.log(m.bpp + weight * 255**2 * 10 ** (-psnr / 10)))
    return statistics.fmean(map(statistics.fmean, found.values())) if all(found.values()) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of the tar files")
    parser.add_argument("--model", help="a released model or a weights file; default: the default model")
    parser.add_argument("--effort", type=int, help="of the search; default: the encoder's")
    parser.add_argument("--kind", default="photographs", help="photographs, screens or drawings")
    parser.add_argument("--pictures", type=int, help="only so many, evenly spread: standard errors say what that costs")
    parser.add_argument("--codecs", default=",".join(ANCHORS), help="to compare with")
    parser.add_argument("--metrics", help="of psnr, psnr-y, ms-ssim, ssimulacra2, butteraugli; default: all but psnr-y")
    parser.add_argument("--qualities", default=",".join(map(str, QUALITIES)), help="of the model; four at least")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="write everything that was found, without single measurements")
    parser.add_argument("--write-manifest", action="store_true", help="make heldout.json from PHOTOS and end")
    options = parser.parse_args()
    if options.write_manifest:
        write_manifest(options.photos)
        return

    chosen, missing = metrics.choose(options.metrics)
    if missing:
        sys.exit("; ".join(missing.values()))
    photos = crops(options.photos, options.kind)
    if not photos:
        sys.exit(f"{MANIFEST.name} has no {options.kind}")
    if options.pictures:
        photos = spread(photos, options.pictures)
    names = [photo.name for photo in photos]
    anchors = [codecs.make(name) for name in options.codecs.split(",")]
    test = codecs.make("aecodec" + (f"@{options.effort}" if options.effort is not None else ""), options.model)
    test = replace(test, qualities=tuple(float(q) for q in options.qualities.split(",")))
    measured, problems = measure(photos, [*anchors, test], chosen, options.model, options.jobs)
    for problem in problems:
        print(f"{problem.image} {problem.codec} {problem.quality}: {problem.reason}", file=sys.stderr)

    result: dict[str, Any] = {
        "model": test.title,
        "version": test.version,
        "kind": options.kind,
        "pictures": len(photos),
        "qualities": list(test.qualities),
        "anchors": {peer.name: f"{peer.title}: {peer.version}; {peer.settings}" for peer in anchors},
        "bd_rates": {},
    }
    print(f"{test.title}, {len(photos)} {options.kind}: BD-rate in percent, mean over pictures +- standard error")
    print(f"{'against':14}" + "".join(f"{name:>28}" for name in chosen))
    for peer in anchors:
        row: dict[str, Any] = {}
        text = ""
        for metric in chosen:
            found = curves.summary(curves.bd_rates_of_images(measured, peer.name, test.name, metric, names))
            row[metric] = asdict(found) if found else None
            if not found:
                text += f"{'none':>28}"
                continue
            error = f"{found.error:.1f}" if found.error is not None else "-"
            few = f" ({found.pictures})" if found.pictures < found.total else ""
            text += f"{found.mean:+.1f} +-{error} med {found.median:+.0f}{few}".rjust(28)
        result["bd_rates"][peer.name] = row
        print(f"{peer.name:14}{text}")
    if "avif" in result["bd_rates"]:
        for metric in chosen:
            if of_metric := result["bd_rates"]["avif"][metric]:
                print(f"worst against avif by {metric}: {of_metric['worst'][0]} {of_metric['worst'][1]:+.1f} %")
    own = [m for m in measured if m.codec == test.name]
    result["points"] = [
        {"quality": q, "bpp": statistics.fmean(m.bpp for m in own if m.quality == q)}
        | {
            name: statistics.fmean(v for m in own if m.quality == q and (v := m.scores[name]) is not None)
            for name in chosen
        }
        for q in test.qualities
    ]
    for point in result["points"]:
        print("  ".join(f"{key} {value:.4g}" for key, value in point.items()))
    if "psnr_rgb" in chosen and (of_j := score(own)) is not None:
        result["score"] = of_j
        print(f"score {of_j:.2f}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
