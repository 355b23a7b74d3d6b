"""What coding drawn blocks without loss does to screens and drawings: python benchmarks/drawn.py [MODEL]

For each kind of benchmarks/pictures, at quality QUALITY: bytes of all files, and how many of them decode to the same
pixels. A BD-rate cannot judge files without loss; bytes can.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import aecodec

QUALITY = 55
PICTURES = Path(__file__).with_name("pictures")


def main() -> None:
    codec = aecodec.Codec(device="cpu", model=sys.argv[1] if len(sys.argv) > 1 else None, threads=1)
    for kind in ("screens", "drawings"):
        paths, size, same = sorted((PICTURES / kind).glob("*.png")), 0, 0
        for path in paths:
            image = Image.open(path).convert("RGB")
            data = codec.compress(image, QUALITY)
            decoded = np.asarray(codec.decompress(data).convert("RGB"))
            size += len(data)
            same += np.array_equal(np.asarray(image), decoded)
        print(f"{kind}: {size} bytes, {same} of {len(paths)} without loss")


if __name__ == "__main__":
    main()
