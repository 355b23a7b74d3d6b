"""How fast codecs are beside each other: pictures of three sizes, files of equal size, one thread, one run.

    python benchmarks/peer_speed.py [--sizes 0.4 3 12] [--codecs jpeg,webp,...] [--json OUT.json] [--seconds 110]

Time is that of the processor, so other work on the machine hardly changes it, and ratios even less; the fastest of some
calls counts. Every codec runs at the quality whose file of the smallest picture is nearest to BPP.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from speed import picture

from aecodec.benchmark import codecs
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import machine

ROOT = Path(__file__).resolve().parents[1]
CODECS = "jpeg,jpegli,webp,jxl,avif-fast,avif,aecodec:aec1-11@0,aecodec:aec1-11,aecodec:aec1-visual-2"
BPP = 0.8
Result = TypeVar("Result")
SECONDS, CALLS = 1.0, 2  # each measurement takes so long and so many calls at least


def quality_near(peer: Peer, image: Image.Image) -> float:
    """The quality whose file has about BPP bits per pixel, interpolated on the codec's ladder."""
    rates = [math.log(8 * len(peer.encode(image, q)) / (image.width * image.height)) for q in peer.qualities]
    return float(round(np.interp(math.log(BPP), rates, peer.qualities)))


def best(call: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns, and seconds of the processor of the fastest."""
    spent: list[float] = []
    while len(spent) < CALLS or sum(spent) < SECONDS:
        started = time.process_time()
        result = call()
        spent.append(time.process_time() - started)
    return result, min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.4, 3, 12], help="megapixels")
    parser.add_argument("--codecs", default=CODECS)
    parser.add_argument(
        "--image", type=Path, default=ROOT / "examples" / "coffee.png", help="what pictures are made of"
    )
    parser.add_argument("--json", type=Path, help="write the results; codecs that it holds are not measured again")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no other codec after so long")
    options = parser.parse_args()

    end = time.monotonic() + options.seconds
    images = {size: Image.fromarray(picture(size, options.image)) for size in sorted(options.sizes)}
    smallest = next(iter(images.values()))
    found: dict[str, Any] = {"machine": machine(), "threads": 1, "versions": {}, "rows": []}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text())
    for name in options.codecs.split(","):
        if name in found["versions"]:
            continue
        if time.monotonic() > end:
            sys.exit("not all is measured yet; the same command goes on")
        peer = codecs.make(name)
        quality = quality_near(peer, smallest)
        for size, image in images.items():
            data, encode_seconds = best(partial(peer.encode, image, quality))
            _, decode_seconds = best(partial(peer.decode, data))
            row = {
                "codec": peer.name,
                "title": peer.title,
                "megapixels": size,
                "quality": quality,
                "bpp": 8 * len(data) / (image.width * image.height),
                "encode_seconds": encode_seconds,
                "decode_seconds": decode_seconds,
            }
            found["rows"].append(row)
            print(
                f"{peer.name:22} {size:5g} MP {row['bpp']:.2f} bpp: "
                f"{row['encode_seconds']:.3f} s, {row['decode_seconds']:.3f} s",
                flush=True,
            )
        found["versions"][peer.name] = f"{peer.version}; {peer.settings}"
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
