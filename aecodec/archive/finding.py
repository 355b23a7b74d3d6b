"""Which files of an archive are meant: by name, date, camera, size, place."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aecodec.archive.manifest import Record
from aecodec.archive.reader import Archive
from aecodec.errors import AecodecError

EARTH_KM = 6371.0
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def select(names: Iterable[str] | Mapping[str, object], pattern: str) -> list[str]:
    """Names that are the pattern or, if none is, match it as in a shell, sorted; "*" matches "/", too."""
    listed = list(names)
    if pattern in listed and pattern != "*":  # which means all
        return [pattern]
    return sorted(name for name in listed if fnmatch.fnmatchcase(name, pattern))


@dataclass(frozen=True)
class Wanted:
    """What is looked for; None and "" want nothing.

    since, until: days, months or years as 2019-07-14, 2019-07, 2019, both included. camera: a part of its name, in any
    case. least_bytes, most_bytes: of the source. megapixels: at least. near: degrees north and east; within: km.
    """

    pattern: str = "*"
    since: str = ""
    until: str = ""
    camera: str = ""
    least_bytes: int | None = None
    most_bytes: int | None = None
    megapixels: float | None = None
    near: tuple[float, float] | None = None
    within: float = 1.0

    def __post_init__(self) -> None:
        for day in (self.since, self.until):
            if day and not _DATE.fullmatch(day):
                raise AecodecError(f"{day!r} is no date; write 2019, 2019-07 or 2019-07-14")

    def __call__(self, record: Record) -> bool:
        """Whether a record has all that is wanted; what is not known of it, it has not."""
        taken = record.taken
        return (
            (not self.since or (taken != "" and taken >= self.since))
            and (not self.until or (taken != "" and taken[: len(self.until)] <= self.until))
            and self.camera.lower() in record.camera.lower()
            and (self.least_bytes is None or record.bytes >= self.least_bytes)
            and (self.most_bytes is None or record.bytes <= self.most_bytes)
            and (self.megapixels is None or record.width * record.height >= self.megapixels * 1e6)
            and (self.near is None or (record.place is not None and distance(self.near, record.place) <= self.within))
        )


def find(archive: Archive, wanted: Wanted) -> list[Record]:
    """Records of files that are wanted, by name."""
    return [record for name in select(archive, wanted.pattern) if wanted(record := archive[name].record)]


def distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    """km between two places, given by degrees north and east."""
    north_a, east_a, north_b, east_b = map(math.radians, (*a, *b))
    half = math.sin((north_b - north_a) / 2) ** 2
    half += math.cos(north_a) * math.cos(north_b) * math.sin((east_b - east_a) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))
