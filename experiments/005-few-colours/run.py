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
from screens import WithoutPatches  # noqa: E402

QUALITIES, MODEL = (10, 25, 40, 55, 70, 85, 98), "aec1-visual-1"


def main() -> None:
    kinds = {"without patches": WithoutPatches, "with patches": Codec}
    codecs = {name: kind("cpu", MODEL, threads=1) for name, kind in kinds.items()}
    result = HERE / "result.json"
    found: dict[str, dict[str, list[list[float]]]] = json.loads(result.read_text()) if result.exists() else {}
    for path in sorted((BENCHMARKS / "pictures").glob("*/*.png")):
        if path.stem in found:
            continue
        pixels = np.asarray(Image.open(path).convert("RGB"))
        found[path.stem] = {name: [] for name in codecs}
        for name, codec in codecs.items():
            for quality in QUALITIES:
                data = codec.compress(pixels, quality, effort=0)
                decoded = codec.decompress(data, as_array=True)
                patched = container.PATCHES in container.read(data).chunks
                exact = np.array_equal(decoded, pixels)
                seen = 100.0 if exact else round(score(pixels, decoded, 255), 1)
                found[path.stem][name].append([quality, len(data), seen, patched, exact])
        result.write_text(json.dumps(found).replace('}, "', '},\n"') + "\n")
        print(path.stem, found[path.stem], flush=True)


main()
