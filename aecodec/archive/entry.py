"""What folders are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """Something below a folder.

    name: relative, parts separated by "/"; the name of an empty folder ends with it. size: bytes. mtime_ns: when it was
    modified, in nanoseconds since 1970, None if that is not known. mode: permissions. target: where a symbolic link
    points, of links only. problem: why it cannot be read, if that is known.
    """

    name: str
    size: int = 0
    mtime_ns: int | None = None
    mode: int = 0o644
    target: str = ""
    problem: str = ""
