"""What patches of few colours bring to benchmarks/pictures: python run.py. Goes on where it was stopped.

Bytes, SSIMULACRA2, whether patched, whether exact; without a search.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from aecodec import Codec, container
from aecodec.perceptual import score

HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from screens import by_the_network_alone  # noqa: E402

QUALITIES, MODEL = (25, 55, 85), "aec1-visual-2"


def main() -> None:
    codec = Codec("cpu", MODEL, threads=1)
    kinds = {"without patches": by_the_network_alone, "with patches": Codec.compress}
    result = HERE / "result.json"
    found: dict[str, dict[str, list[list[float]]]] = json.loads(result.read_text()) if result.exists() else {}
    for path in sorted((BENCHMARKS / "pictures").glob("*/*.png")):
        if path.stem in found:
            continue
        pixels = np.asarray(Image.open(path).convert("RGB"))
        found[path.stem] = {name: [] for name in kinds}
        for name, compress in kinds.items():
            for quality in QUALITIES:
                data = compress(codec, pixels, quality, effort=0)
                decoded = codec.decompress(data, as_array=True)
                patched = container.PATCHES in container.read(data).chunks
                exact = np.array_equal(decoded, pixels)
                seen = 100.0 if exact else round(score(pixels, decoded, 255), 1)
                found[path.stem][name].append([quality, len(data), seen, patched, exact])
        result.write_text(json.dumps(found).replace('}, "', '},\n"') + "\n")
        print(path.stem, found[path.stem], flush=True)


main()
