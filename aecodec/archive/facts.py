"""What EXIF says of a photograph that people look for: when, with which camera, where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from aecodec.archive.manifest import shortened

MAKE, MODEL, DATE_TIME, CAMERA, GPS = 271, 272, 306, 34665, 34853
DATE_TIME_ORIGINAL, DATE_TIME_DIGITIZED = 36867, 36868
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE = 1, 2, 3, 4
TIFF = (b"II*\0", b"MM\0*")
_DATE = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")


class Facts(NamedTuple):
    """See `Record`."""

    taken: str = ""
    camera: str = ""
    place: tuple[float, float] | None = None


def facts(exif: bytes) -> Facts:
    """What EXIF, or a file that is TIFF as raw files are, says, as far as it can be understood."""
    try:
        read = Image.Exif()
        read.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        camera, gps = read.get_ifd(CAMERA), read.get_ifd(GPS)
        values = (camera.get(DATE_TIME_ORIGINAL), camera.get(DATE_TIME_DIGITIZED), read.get(DATE_TIME))
        make, model = (str(read.get(tag) or "").strip("\0 ") for tag in (MAKE, MODEL))
        return Facts(_taken(values), _camera(make, model), _place(gps))
    except Exception:  # Pillow raises many kinds for broken EXIF, which is no reason to refuse a picture
        return Facts()


def _taken(values: Iterable[object]) -> str:
    for value in values:
        match = _DATE.match(str(value))
        if match is not None and match[1] != "0000":
            return "{}-{}-{}T{}:{}:{}".format(*match.groups())
    return ""


def _camera(make: str, model: str) -> str:
    return shortened(model if model.lower().startswith(make.lower()) else f"{make} {model}")[:100]


def _place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    try:
        north, east = (
            round(_degrees(gps[tag]) * (-1 if str(gps.get(ref, "")).upper() in ("S", "W") else 1), 6)
            for tag, ref in ((LATITUDE, LATITUDE_REF), (LONGITUDE, LONGITUDE_REF))
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError):
        return None
    return (north, east) if abs(north) <= 90 and abs(east) <= 180 and (north, east) != (0, 0) else None


def _degrees(value: Any) -> float:
    degrees, minutes, seconds = (float(part) for part in value)
    return degrees + minutes / 60 + seconds / 3600
