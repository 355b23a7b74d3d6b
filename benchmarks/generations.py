"""What ten times compressing and decompressing does to photographs, and where the range of qualities ends.

    python benchmarks/generations.py PHOTOS --json OUT.json [--seconds 110]

PHOTOS is the folder with the tar files of the training photographs, of which the crops of heldout.json are used.
Generations: PICTURES crops, each as it is and without colour, at qualities 50 and 80 of each codec's own scale, which
mean other things for each; so look at how much changes from the first file to the tenth. Brightness and colour are of
BT.601, in levels of 255. The end: every crop at quality 100. What OUT.json holds is not measured again; with --seconds
the script ends after about so long, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from heldout import crops, spread
from PIL import Image

from aecodec.benchmark import codecs, metrics
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import Photo

OURS = ("aecodec:aec1-visual-3", "aecodec:aec1-11")
CODECS = (*OURS, "avif", "webp", "jpeg")
QUALITIES = (50, 80)
GENERATIONS, PICTURES = 10, 6
Pixels = npt.NDArray[np.uint8]


def colours(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Means over the picture of luma, Cb and Cr, in levels."""
    red, green, blue = (pixels[..., i].mean() for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.array([luma, (blue - luma) / 1.772, (red - luma) / 1.402])


def changed(original: Pixels, decoded: Pixels) -> dict[str, float | None]:
    """What a file has done to a picture. chroma: the largest distance from grey of one pixel, in levels."""
    drift = colours(decoded) - colours(original)
    return {
        "brightness": float(drift[0]),
        "colour": float(np.hypot(drift[1], drift[2])),
        "chroma": float(np.ptp(decoded.astype(int), axis=2).max()),
        "ssimulacra2": metrics.ssimulacra2(original, decoded),
    }


def repeated(peer: Peer, image: Image.Image, quality: float) -> dict[str, Any]:
    """The first and the last of GENERATIONS files of a picture."""
    original, current = np.asarray(image), image
    found: dict[str, Any] = {}
    for generation in range(1, GENERATIONS + 1):
        data = peer.encode(current, quality)
        current = peer.decode(data).convert("RGB")
        if generation in (1, GENERATIONS):
            found[f"{generation}"] = {"bytes": len(data), **changed(original, np.asarray(current))}
    return found


def at_the_end(peer: Peer, image: Image.Image) -> dict[str, Any]:
    """A picture at quality 100."""
    data = peer.encode(image, 100)
    decoded = np.asarray(peer.decode(data).convert("RGB"))
    original = np.asarray(image)
    scores = {name: metrics.METRICS[name](original, decoded) for name in ("psnr_rgb", "ssimulacra2", "butteraugli")}
    return {"bpp": 8 * len(data) / (image.width * image.height), **scores}


def picture(photo: Photo, grey: bool) -> Image.Image:
    with Image.open(photo.path) as image:
        return image.convert("L").convert("RGB") if grey else image.convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="write the results, after each picture")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    found: dict[str, Any] = {"codecs": {}, "generations": {}, "end": {}}
    if options.json.exists():
        found = json.loads(options.json.read_text())
    every = crops(options.photos, "photographs")
    few = spread(every, PICTURES)
    jobs = [
        (name, "generations", p, kind, q) for name in CODECS for q in QUALITIES for kind in ("", "grey") for p in few
    ]
    jobs += [(name, "end", photo, "", 100) for name in OURS for photo in every]
    peers: dict[str, Peer] = {}
    for name, what, photo, kind, quality in jobs:
        key = " ".join(filter(None, (photo.name, kind, f"{quality}")))
        of_codec = found[what].setdefault(name, {})
        if key in of_codec:
            continue
        if time.monotonic() > end:
            sys.exit("not all is measured yet; the same command goes on")
        peer = peers.setdefault(name, codecs.make(name))
        found["codecs"][name] = {"title": peer.title, "version": peer.version, "settings": peer.settings}
        image = picture(photo, kind == "grey")
        of_codec[key] = repeated(peer, image, quality) if what == "generations" else at_the_end(peer, image)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
