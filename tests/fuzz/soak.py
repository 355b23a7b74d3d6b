"""Mutated files through both decoders, torch and libaec: python tests/fuzz/soak.py SEEDS FAMILY SECONDS [SEED]

SEEDS: the folder that seeds.py made. Both have to refuse a file, or to make the same picture of it, and to find the
same parts intact of one that is damaged besides. An input on which they do not agree is left as
`crash-FAMILY-SEED-NUMBER.aec`, one that ends the run as `last-FAMILY-SEED.aec`. Prints what happened how often.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from mutating import changed, mutated
from seeds import PIXEL_LIMIT  # with which the tests' modules are found

from aecodec import container  # isort: skip
from both_decoders import Both  # isort: skip

PATIENCE = 60  # seconds for an input


def main(folder: Path, family: str, seconds: float, seed: int) -> int:
    warnings.simplefilter("ignore")  # of Pillow, about metadata
    both = Both(folder / f"{family}.safetensors", PIXEL_LIMIT)
    seeds = [container.read(path.read_bytes()) for path in sorted((folder / family).glob("*.aec"))]
    source, counts, last = random.Random(seed), Counter[str](), Path(f"last-{family}-{seed}.aec")
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        data = mutated(source, seeds)
        damaged = changed(source, data)  # in whatever place, which checksums tell
        signal.alarm(PATIENCE)
        try:
            last.write_bytes(damaged)  # whatever happens now
            both.check_salvage(damaged)
            last.write_bytes(data)
            apart = both.levels_apart(data)
            assert apart is None or apart <= both.far, f"{apart:.0f} levels apart"
            counts["refused" if apart is None else f"{apart:.0f} levels apart"] += 1
        except Exception as error:
            counts["failures"] += 1
            print(f"{number}: {type(error).__name__}: {error}", flush=True)
            last.with_name(f"crash-{family}-{seed}-{number}.aec").write_bytes(last.read_bytes())
        signal.alarm(0)
    last.unlink()
    print(json.dumps({"family": family, "inputs": number, **counts}))
    return int(counts["failures"] > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int((*sys.argv, "1")[4])))
