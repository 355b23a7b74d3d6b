"""Search the descriptions of an archive with an index that holds millions: FAISS, or USearch where that is installed.

    aecodec archive describe ARCHIVE --export descriptions.parquet
    python examples/search_with_an_index.py descriptions.parquet '2019/beach.jpg'

Prints the pictures that are most like one of them in colours and texture, the distance before each.
pip install pyarrow faiss-cpu, or usearch instead of faiss-cpu
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("parquet")
parser.add_argument("name", help="of a picture, as the archive has it")
parser.add_argument("-n", type=int, default=10, help="how many")
parser.add_argument("--library", choices=["faiss", "usearch"], default="faiss" if find_spec("faiss") else "usearch")
given = parser.parse_args()

table = pyarrow.parquet.read_table(given.parquet)
names = table["name"].to_pylist()
if given.name not in names:
    parser.error(f"{given.name}: not described there; of files with the same bytes only one is")


def column(name: str) -> np.ndarray:
    """(N, K) float32 of a column of lists."""
    return np.stack(table[name].to_numpy()).astype(np.float32)


# Square roots of the shares of colours, and features in their deviations at half their weight, as `archive similar` has
# them. Features compare only among pictures of one model and quality.
features = column("features")
textures = (features - features.mean(0)) / (features.std(0) + 1) / np.sqrt(2 * features.shape[1])
vectors = np.ascontiguousarray(np.hstack([column("histogram") / 255, 0.5 * textures]))
wanted = vectors[names.index(given.name)]

if given.library == "faiss":
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32)  # IndexFlatL2 is exact, and as fast up to some 100,000
    index.add(vectors)
    squares, found = (values[0] for values in index.search(wanted[None], min(given.n, len(names))))
else:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="l2sq")
    index.add(np.arange(len(vectors)), vectors)
    matches = index.search(wanted, min(given.n, len(names)))
    squares, found = matches.distances, matches.keys

for square, number in zip(squares, found, strict=True):
    print(f"{np.sqrt(max(square, 0)):5.2f}  {names[number]}")
