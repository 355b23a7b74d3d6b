"""What 16 bits cost and bring: python benchmarks/depth.py PICTURE...

Deep originals are pictures averaged over 2x2 pixels, and a synthetic sky, whose bands are counted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from aecodec import Codec
from aecodec.metrics import psnr

WHITE = 65535


def deep_original(path: Path) -> np.ndarray:
    """(H/2, W/2, 3) uint16."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(float)
    mean = (pixels[0::2, 0::2] + pixels[1::2, 0::2] + pixels[0::2, 1::2] + pixels[1::2, 1::2]) / 4
    noise = np.random.default_rng(0).uniform(-32, 32, mean.shape)  # what is below the step of the mean
    return np.clip(mean * 257 + noise, 0, WHITE).round().astype(np.uint16)


def sky() -> np.ndarray:
    """(512, 768, 3) uint16."""
    y, x = np.mgrid[0:512, 0:768]
    ramps = (30000 + 3000 * x / 768 + 500 * y / 512, 36000 + 2000 * x / 768 + 900 * y / 512)
    return np.stack([*ramps, 46000 - 1500 * x / 768 + 1200 * y / 512], 2).round().astype(np.uint16)


def longest_run(row: np.ndarray) -> int:
    """Most neighbours of one value."""
    borders = np.flatnonzero(np.concatenate([[True], np.diff(row) != 0, [True]]))
    return int(np.diff(borders).max())


def main(paths: list[Path]) -> None:
    codec = Codec("cpu")
    for quality in (50, 80, 100):
        rows = []
        for path in paths:
            whole = deep_original(path)
            eight = np.round(whole / 257).astype(np.uint8)
            files = codec.compress(whole, quality), codec.compress(eight, quality)
            deep, plain = (codec.decompress(data, as_array=True) for data in files)
            errors = psnr(deep, whole, WHITE), psnr(plain.astype(np.uint16) * 257, whole, WHITE)
            rows.append([len(files[0]), errors[0], len(files[1]), errors[1]])
        means = np.mean(rows, 0)
        print("quality {}: 16 bits {:.0f} bytes {:.2f} dB, 8 bits {:.0f} bytes {:.2f} dB".format(quality, *means))
    original = sky()
    rounded = (np.round(original / 257) * 257).astype(np.uint16)
    print(f"sky rounded to 8 bits: {psnr(rounded, original, WHITE):.2f} dB, runs of {longest_run(rounded[256, :, 0])}")
    for quality in (50, 80, 95):
        data = codec.compress(original, quality)
        shown = codec.decompress(data, as_array=True)
        levels, run = len(np.unique(shown[..., 0])), longest_run(shown[256, :, 0])
        print(
            f"sky {quality}: {len(data)} bytes, {psnr(shown, original, WHITE):.2f} dB, {levels} levels, runs of {run}"
        )


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
