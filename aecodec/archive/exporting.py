"""Descriptions as a table that other tools read: one Parquet file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aecodec.archive.descriptions import Described, key
from aecodec.description import RECORD
from aecodec.errors import AecodecError
from aecodec.files import write_atomically


def library() -> Any:
    """pyarrow. Raises AecodecError if it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise AecodecError("Parquet needs pyarrow: pip install 'aecodec[parquet]'") from error
    return pyarrow


def table(described: Described) -> Any:
    """A pyarrow.Table, a row for each picture: name, sha256 (of the stored bytes, hexadecimal), taken and camera as the
    manifest has them, model (hexadecimal), quality (1..100), and the other fields of `Description`, flat, in lists of
    fixed size. Raises AecodecError without pyarrow."""
    pa = library()
    records, rows = [item.record for item in described.items], described.rows
    columns: dict[str, Any] = {
        "name": pa.array([record.name for record in records], pa.string()),
        "sha256": pa.array([key(record) for record in records], pa.string()),
        "taken": pa.array([record.taken or None for record in records], pa.string()),
        "camera": pa.array([record.camera or None for record in records], pa.string()),
        "model": pa.array([bytes(model).hex() for model in rows["model"]], pa.string()),
        "quality": pa.array(rows["quality"] / 100),
    }
    for name in RECORD.names or ():
        if name not in columns:
            flat, size = pa.array(rows[name].reshape(-1)), math.prod(RECORD[name].shape)
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, size) if RECORD[name].shape else flat
    return pa.table(columns)


def export(described: Described, path: str | Path) -> int:
    """Writes `table` to a Parquet file, in one step. Returns how many pictures it has. Raises as `table` does, and
    OSError if the file cannot be written."""
    found = table(described)
    from pyarrow import parquet

    write_atomically(Path(path), lambda file: parquet.write_table(found, file))
    return len(described.items)
