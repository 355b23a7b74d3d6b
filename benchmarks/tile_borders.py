"""PSNR near the borders of tiles and elsewhere: python benchmarks/tile_borders.py MODEL PICTURE...

Pictures of equal size are laid side by side, four in a row, so that borders of 1024-pixel tiles go through them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from aecodec.codec import Codec
from aecodec.metrics import psnr
from aecodec.tiling import TILE

NEAR = 8  # pixels on either side of a border

if __name__ == "__main__":
    coder = Codec("cpu", Path(sys.argv[1]))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[2:]]
    whole = np.concatenate([np.concatenate(pictures[i : i + 4], 1) for i in range(0, len(pictures), 4)])
    rows, columns = ((np.arange(side) + NEAR) % TILE < 2 * NEAR for side in whole.shape[:2])
    rows[:NEAR] = columns[:NEAR] = False  # the picture's own border
    near = rows[:, None] | columns
    print(f"{whole.shape[1]}x{whole.shape[0]}, {near.mean():.1%} of the pixels near a border")
    print("quality  near: tiles, one tile, difference   elsewhere: tiles, one tile, difference")
    for quality in (10, 30, 50, 70, 90):
        line = f"{quality:7}"
        decoded = [np.asarray(coder.decompress(coder.compress(whole, quality, tile=tile))) for tile in (None, 0)]
        for place in (near, ~near):
            tiles, one = (psnr(whole[place], picture[place]) for picture in decoded)
            line += f"     {tiles:.3f} dB  {one:.3f} dB  {tiles - one:+.3f} dB"
        print(line)
