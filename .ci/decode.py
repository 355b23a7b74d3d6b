"""Decodes golden files where there is no torch, and opens an archive: decode.py FOLDER ARCHIVE"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import aecodec

assert find_spec("torch") is None
count = 0
for path in Path(sys.argv[1]).glob("*.aec"):
    with Image.open(path.with_suffix(".png")) as golden:
        wanted = np.asarray(golden).astype(int)
    assert np.abs(np.asarray(aecodec.decompress(path)) - wanted).max() <= 1, path
    count += 1
names = [item.name for item in aecodec.open_archive(sys.argv[2]).values() if len(item.read()) == item.record.stored]
assert count
assert names
print(f"Python {sys.version_info.major}.{sys.version_info.minor}: {count} files and {len(names)} of an archive")
