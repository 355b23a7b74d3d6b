"""How fast codecs are beside each other: pictures of three sizes, files of equal size, one thread, one run.

    python benchmarks/peer_speed.py [--sizes 0.4 3 12] [--codecs jpeg,webp,...] [--model FILE] [--json OUT.json]

Time is that of the processor, so other work on the machine hardly changes it, and ratios even less; the fastest of some
calls counts. Every codec runs at the quality whose file of the smallest picture is nearest to BPP.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from speed import picture

from aecodec.benchmark import codecs
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import machine

ROOT = Path(__file__).resolve().parents[1]
CODECS = "jpeg,jpegli,webp,jxl,avif-fast,avif,aecodec@0,aecodec"
BPP = 0.8
SECONDS, CALLS = 1.0, 2  # each measurement takes so long and so many calls at least


def quality_near(peer: Peer, image: Image.Image) -> float:
    """The quality whose file has about BPP bits per pixel, interpolated on the codec's ladder."""
    rates = [math.log(8 * len(peer.encode(image, q)) / (image.width * image.height)) for q in peer.qualities]
    return float(round(np.interp(math.log(BPP), rates, peer.qualities)))


def best(call: Callable[[], object]) -> float:
    """Seconds of the processor of the fastest call."""
    spent: list[float] = []
    while len(spent) < CALLS or sum(spent) < SECONDS:
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.4, 3, 12], help="megapixels")
    parser.add_argument("--codecs", default=CODECS)
    parser.add_argument("--model", help="a released model or a weights file")
    parser.add_argument(
        "--image", type=Path, default=ROOT / "examples" / "coffee.png", help="what pictures are made of"
    )
    parser.add_argument("--json", type=Path, help="write the results")
    options = parser.parse_args()

    peers = [codecs.make(name, options.model) for name in options.codecs.split(",")]
    images = {size: Image.fromarray(picture(size, options.image)) for size in sorted(options.sizes)}
    smallest = next(iter(images.values()))
    rows: list[dict[str, Any]] = []
    for peer in peers:
        quality = quality_near(peer, smallest)
        for size, image in images.items():
            data = peer.encode(image, quality)
            peer.decode(data)
            pixels = image.width * image.height
            row = {
                "codec": peer.name,
                "title": peer.title,
                "megapixels": size,
                "quality": quality,
                "bpp": 8 * len(data) / pixels,
                "encode_seconds": best(lambda peer=peer, image=image, quality=quality: peer.encode(image, quality)),
                "decode_seconds": best(lambda peer=peer, data=data: peer.decode(data)),
            }
            rows.append(row)
            print(
                f"{peer.name:12} {size:5g} MP {row['bpp']:.2f} bpp: "
                f"{row['encode_seconds']:.3f} s, {row['decode_seconds']:.3f} s",
                flush=True,
            )
    if options.json:
        versions = {peer.name: f"{peer.version}; {peer.settings}" for peer in peers}
        found = {"machine": machine(), "threads": 1, "versions": versions, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
