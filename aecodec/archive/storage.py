"""Folders that archives are made from and kept in: on this machine, or wherever fsspec reaches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol

from aecodec.archive.entry import Entry
from aecodec.archive.local import Draft, LocalFolder
from aecodec.archive.remote import RemoteFolder
from aecodec.errors import AecodecError

__all__ = ["Draft", "Entry", "Folder", "LocalFolder", "Readable", "RemoteFolder", "folder", "resolve"]

Folder = LocalFolder | RemoteFolder


class Readable(Protocol):
    """Where source files are read."""

    def open(self, name: str) -> BinaryIO: ...

    def state(self, name: str) -> tuple[int, int | None]:
        """(size, mtime_ns) of a file now."""


def folder(path: str | Path) -> Folder:
    """The folder with this path or URL; it need not exist. Raises AecodecError if fsspec or a protocol is missing."""
    return RemoteFolder(str(path)) if "://" in str(path) else LocalFolder(Path(path).absolute())


def resolve(path: str | Path) -> tuple[Folder, str | None]:
    """(folder of the shards, name of the only shard or None) of an archive; neither need exist.

    Raises AecodecError if it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise AecodecError(f"archive {path!r}; expected a path or a URL")
    text = str(path).rstrip("/")
    if not text.endswith(".zip"):
        return folder(path), None
    parent, _, name = text.rpartition("/")
    return folder(parent or "."), name
