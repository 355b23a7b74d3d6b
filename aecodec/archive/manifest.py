"""What a shard says of its files: records, and the manifest that holds them."""

from __future__ import annotations

import json
import struct
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

MANIFEST = "aecodec-manifest.json"
VERSION = 1


# Kinds of records.
PICTURE = "picture"  # compressed
ORIGINAL = "original"  # a picture that is kept as it is
OTHER = "other"  # not a picture, or a damaged one, kept as it is
FOLDER = "folder"  # an empty one
SKIPPED = "skipped"  # not a picture, and not wanted
FAILED = "failed"  # could not be read
STORED = (PICTURE, ORIGINAL, OTHER, FOLDER)


@dataclass(frozen=True, slots=True)
class Record:
    """What the manifest says of one source file.

    name: relative to the source folder, parts separated by "/". bytes, mtime_ns, sha256: of the source. member: name
    in the ZIP. stored: bytes there. width, height: pixels, of pictures. bpp, psnr (dB, over the colour samples of the
    decoded file) and signature (hexadecimal: the decoded picture averaged to 4x4 RGB pixels): of compressed pictures.
    reason: why it was not compressed.
    """

    name: str
    kind: str
    bytes: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    member: str = ""
    stored: int = 0
    width: int = 0
    height: int = 0
    bpp: float = 0.0
    psnr: float = 0.0
    signature: str = ""
    reason: str = ""


def member_info(name: str, mtime_ns: int) -> zipfile.ZipInfo:
    """A member to be written, with its time in UTC (to 2 seconds, as ZIP has it, and to the second for Unix)."""
    seconds = min(max(mtime_ns // 10**9, 315532800), 4354819198)  # 1980 to 2107, the years that ZIP knows
    info = zipfile.ZipInfo(name, time.gmtime(seconds)[:6])
    info.create_system = 3  # Unix, on every machine
    info.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    if seconds < 2**31:
        info.extra = struct.pack("<HHBi", 0x5455, 5, 1, seconds)  # the "universal time" extra field
    return info


def write_manifest(shard: zipfile.ZipFile, settings: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Adds the manifest, the last member. Fields that have their default are left out."""
    defaults = {field.name: field.default for field in fields(Record)}
    listed = [{k: v for k, v in asdict(record).items() if v != defaults[k]} for record in records]
    content = {"aecodec_archive": VERSION, "settings": settings, "files": listed}
    shard.writestr(member_info(MANIFEST, 0), json.dumps(content, ensure_ascii=False, indent=0))


def safe_name(name: str) -> bool:
    """Whether a name stays below the folder that it is extracted to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
