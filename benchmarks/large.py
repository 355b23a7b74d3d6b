"""Peak memory and time of a large picture through the command line: python benchmarks/large.py MODEL [MEGAPIXELS]

The picture is the photograph in examples/, repeated and shaded, as PNG; it comes back as PPM.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def picture(megapixels: float) -> Image.Image:
    """4:3; every copy of the photograph is a little darker or brighter than the others."""
    photo = np.asarray(Image.open(Path(__file__).parent.parent / "examples" / "coffee.png").convert("RGB"))
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    whole = Image.new("RGB", (width, height))
    rng = np.random.default_rng(0)
    for top in range(0, height, photo.shape[0]):
        for left in range(0, width, photo.shape[1]):
            whole.paste(Image.fromarray((photo * rng.uniform(0.5, 1)).astype(np.uint8)), (left, top))
    return whole


def run(*words: str | Path) -> None:
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "aecodec", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    print(f"{words[0]:10}  {usage.ru_maxrss / 1e6:.2f} GB peak  {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    model, megapixels = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 200.0
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (Path(folder) / name for name in ("large.png", "large.aec", "back.ppm"))
        picture(megapixels).save(source, compress_level=1)
        options = ("--model", model, "--device", "cpu", "--pixel-limit", "1000000000")
        run("compress", source, *options)
        run("decompress", packed, "-o", back, *options)
        print(f"{source.stat().st_size / 1e6:.1f} MB PNG, {packed.stat().st_size / 1e6:.2f} MB aec")
