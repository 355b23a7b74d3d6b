"""What decoding a forged file costs: python tests/fuzz/bomb.py WEIGHTS WIDTH HEIGHT TILE [libaec]

The file claims that many pixels in tiles of that side (0: one tile) and holds nothing: empty payloads are decoded, too.
By torch, or by libaec. Memory is what the process takes at most, less what it took before, model included.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from aecodec import container
from aecodec.codec import Codec
from aecodec.native import Decoder


def main(weights: Path, width: int, height: int, tile: int, decoder: str) -> None:
    codec = Decoder(weights) if decoder == "libaec" else Codec("cpu", weights)
    header = container.Header(width, height, 3, codec.model.id, 5000, tile)
    rows, columns = header.tile_grid
    data = container.write(container.File(header, {}, [b""] * (rows * columns)))
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.process_time()
    codec.decompress(data)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss) / 1000
    seconds = time.process_time() - started
    print(f"{len(data)} bytes: {width}x{height} in tiles of {tile}: {memory:.0f} MB, {seconds:.1f} CPU seconds")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), (*sys.argv, "torch")[5])
