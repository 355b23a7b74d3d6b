"""How many photographs the archive's quality keeps without loss, and what that costs: python run.py PHOTOS

PHOTOS: folder of the tar files of the training photographs, whose 44 held-out crops are coded at QUALITY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

from aecodec import Codec, container

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))
from heldout import crops  # noqa: E402
from screens import WithoutPatches  # noqa: E402

QUALITY, MODEL = 98, "aec1-visual-1"


def main() -> None:
    codec, plain = Codec("cpu", MODEL, threads=1), WithoutPatches("cpu", MODEL, threads=1)
    total = without = 0
    patched = {}
    for photo in crops(Path(sys.argv[1]), "photographs"):
        image = Image.open(photo.path).convert("RGB")
        data = other = codec.compress(image, QUALITY, effort=0)
        if container.PATCHES in container.read(data).chunks:
            other = plain.compress(image, QUALITY, effort=0)
            patched[photo.name] = {"bytes": len(data), "bytes without patches": len(other)}
        total, without = total + len(data), without + len(other)
    found = {"model": MODEL, "quality": QUALITY, "effort": 0, "bytes": total, "bytes without patches": without}
    (HERE / "result.json").write_text(json.dumps({**found, "patched": patched}, indent=1) + "\n")
    print(found, patched)


main()
