"""SHA256SUMS, by which the shards of an archive know of each other: `sha256sum -c SHA256SUMS` checks it, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from aecodec.archive.storage import Folder
from aecodec.errors import FormatError

INDEX = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0]{1,255}\.zip)")
MAX_BYTES = 2**27


def read_index(folder: Folder) -> dict[str, str] | None:
    """SHA-256 of each shard by its name; None if there is no index. Raises FormatError if it is damaged."""
    if not folder.exists(INDEX):
        return None
    with folder.open(INDEX) as file:
        data = file.read(MAX_BYTES)
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{INDEX}: damaged ({error})") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise FormatError(f"{INDEX}: damaged in line {number}")
        found[match[2]] = match[1]
    if lines[-1]:
        raise FormatError(f"{INDEX}: truncated")
    return found


def write_index(folder: Folder, digests: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    folder.write(INDEX, lambda file: file.write(text.encode()))
    folder.sync()


def gaps(names: Iterable[str]) -> list[str]:
    """Names of numbered shards that should be there, since one with a higher number is."""
    numbers = {int(name[:-4]) for name in names if re.fullmatch(r"\d{5}\.zip", name)}
    return [f"{number:05}.zip" for number in range(max(numbers, default=-1)) if number not in numbers]
