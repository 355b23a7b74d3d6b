"""Speed of CompressAI's models, for benchmarks/speed.py, which runs this in a Python of its own.

    python -m venv cai && cai/bin/pip install compressai==1.2.8 "numpy<2" torchvision
    cai/bin/python benchmarks/compressai_speed.py PICTURE.png --threads 2

The weights are random, as time does not depend on them much; the bits per pixel mean nothing. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from compressai.zoo import bmshj2018_hyperprior, cheng2020_anchor
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    torch.manual_seed(0)
    pixels = np.array(Image.open(args.picture).convert("RGB"))
    whole = (slice(0, pixels.shape[0] // 64 * 64), slice(0, pixels.shape[1] // 64 * 64))
    part = (slice(0, 256), slice(0, 384))  # of what takes minutes for a megapixel
    result = []
    for name, make, area, repetitions in (
        ("bmshj2018-hyperprior", bmshj2018_hyperprior, whole, 3),
        ("cheng2020-anchor", cheng2020_anchor, part, 1),
    ):
        x = torch.from_numpy(pixels[area]).permute(2, 0, 1)[None] / 255
        megapixels = x.shape[2] * x.shape[3] / 1e6
        model = make(quality=4, pretrained=False).eval()
        model.update()
        seconds = {"compress": [], "decompress": []}
        with torch.inference_mode():
            for _ in range(repetitions):
                started = clock()
                out = model.compress(x)
                compressed = clock()
                model.decompress(out["strings"], out["shape"])
                seconds["compress"].append(compressed - started)
                seconds["decompress"].append(clock() - compressed)
        bits = 8 * sum(len(part[0]) for part in out["strings"])
        rates = {direction: megapixels / min(times) for direction, times in seconds.items()}
        result.append({"codec": name, "megapixels": megapixels, "bpp": bits / megapixels / 1e6, **rates})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
