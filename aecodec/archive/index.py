"""SHA256SUMS, by which the shards of an archive know of each other: `sha256sum -c SHA256SUMS` checks it, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from aecodec.archive.shards import sha256_of
from aecodec.archive.storage import Folder
from aecodec.errors import AecodecError, FormatError
from aecodec.files import is_text

INDEX = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0\ufffd]{1,255}\.zip)")
MAX_BYTES = 2**27


def read_index(folder: Folder) -> dict[str, str] | None:
    """SHA-256 of each shard by its name; None if there is no index. Raises FormatError if it is damaged."""
    found, problem = read_lines(folder)
    if problem:
        raise FormatError(f"{INDEX}: {problem}")
    return found


def read_lines(folder: Folder) -> tuple[dict[str, str] | None, str]:
    """(SHA-256 of each shard by its name, None if there is no index; what is wrong with it), by the lines that can be
    read."""
    if not folder.exists(INDEX):
        return None, ""
    try:
        with folder.open(INDEX) as file:
            lines = file.read(MAX_BYTES).decode(errors="replace").split("\n")
    except OSError as error:
        return {}, f"cannot be read ({error.strerror or error})"
    found: dict[str, str] = {}
    problem = "truncated" if lines[-1] else ""
    for number, line in enumerate(lines[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            problem = problem or f"damaged in line {number}"
        else:
            found[match[2]] = match[1]
    return found, problem


def write_index(folder: Folder, digests: Mapping[str, str]) -> None:
    """Raises AecodecError if a shard has a name that cannot be listed."""
    for name in digests:
        if "\n" in name or not is_text(name):
            raise AecodecError(f"{folder}/{name}: its name cannot be listed in {INDEX}; rename it")
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    folder.write(INDEX, lambda file: file.write(text.encode()))
    folder.sync()


class Listed:
    """Keeps an index up to date: first with what runs that were stopped have written and not listed.

    shards: that are there. Attributes: digests, SHA-256 of each shard by its name, of missing ones too.
    """

    def __init__(self, folder: Folder, shards: Sequence[str], listed: Mapping[str, str] | None):
        self._folder = folder
        self.digests = dict(listed or {})
        stopped = folder.stopped(shards)
        for name in shards:
            if name not in self.digests or name in stopped:
                with folder.open(name) as file:
                    digest = sha256_of(file).hexdigest()
                if digest == stopped.get(name) or name not in self.digests:
                    self.digests[name] = digest
        if self.digests != (listed or {}):
            write_index(folder, self.digests)
        for name in stopped:
            folder.discard(name)
        folder.tidy(INDEX)

    def put(self, name: str, digest: str) -> None:
        self.digests[name] = digest
        write_index(self._folder, self.digests)


def gaps(names: Iterable[str]) -> list[str]:
    """Names of numbered shards that should be there, since one with a higher number is."""
    numbers = {int(name[:-4]) for name in names if re.fullmatch(r"\d{5}\.zip", name)}
    return [f"{number:05}.zip" for number in range(max(numbers, default=-1)) if number not in numbers]


def absent(shards: Iterable[str], listed: Iterable[str]) -> list[str]:
    """Names of shards that should be there and are not: listed, or in a gap. shards: that are there."""
    known = [*shards, *listed]
    return sorted({*known, *gaps(known)} - {*shards})
