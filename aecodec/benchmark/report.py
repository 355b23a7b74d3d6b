"""The report: tables for machines, one page for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from aecodec.benchmark.measure import Measurement
from aecodec.files import write_atomically


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """One line for each picture, codec and quality. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = list(measurements[0].scores) if measurements else []
    writer.writerow(["image", "codec", "quality", "bytes", "bpp", *scores, "encode_seconds", "decode_seconds"])
    for m in measurements:
        values = ["" if (score := m.scores[name]) is None else f"{score:.4f}" for name in scores]
        times = (f"{m.encode_seconds:.4f}", f"{m.decode_seconds:.4f}")
        writer.writerow([m.image, m.codec, f"{m.quality:g}", m.bytes, f"{m.bpp:.5f}", *values, *times])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
