"""Archives of whole photo collections: create, append, extract, verify, and a data set for training."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecodec.archive.browsing import browse
    from aecodec.archive.creating import append, create
    from aecodec.archive.dataset import ArchiveDataset, ArchiveLoader
    from aecodec.archive.descriptions import describe
    from aecodec.archive.extracting import extract
    from aecodec.archive.finding import Wanted, find
    from aecodec.archive.flow import Report
    from aecodec.archive.manifest import Record
    from aecodec.archive.reader import Archive, Item
    from aecodec.archive.redoing import redo
    from aecodec.archive.salvaging import repair
    from aecodec.archive.verifying import verify

__all__ = [
    "Archive",
    "ArchiveDataset",
    "ArchiveLoader",
    "Item",
    "Record",
    "Report",
    "Wanted",
    "append",
    "browse",
    "create",
    "describe",
    "extract",
    "find",
    "redo",
    "repair",
    "verify",
]
_ROOMS = {
    "Archive": "reader",
    "ArchiveDataset": "dataset",
    "ArchiveLoader": "dataset",
    "Item": "reader",
    "Record": "manifest",
    "Report": "flow",
    "Wanted": "finding",
    "append": "creating",
    "browse": "browsing",
    "create": "creating",
    "describe": "descriptions",
    "extract": "extracting",
    "find": "finding",
    "redo": "redoing",
    "repair": "salvaging",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    # Listing an archive needs no torch, which takes a second to import.
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value
