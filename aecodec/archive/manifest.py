"""What a shard says of its files: records, and the manifest that lists them. Nothing of it is believed unchecked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from aecodec.errors import FormatError
from aecodec.files import as_bytes, is_portable, is_text

MANIFEST = "aecodec-manifest.json"  # the last member of a shard
PREFACE = "aecodec-archive.json"  # the first one: what can be said before the files
VERSION = 2
FIRST_VERSION = 1  # still read

# Kinds of records.
PICTURE = "picture"  # compressed
JPEG = "jpeg"  # a JPEG file as JPEG XL, from which it comes back bit for bit
ORIGINAL = "original"  # a picture that is kept as it is
OTHER = "other"  # not a picture, or a damaged one, kept as it is
FOLDER = "folder"  # an empty one
LINK = "link"  # symbolic; what is stored is where it points
DUPLICATE = "duplicate"  # the same bytes as another source; what is stored is a link to that one's member
SKIPPED = "skipped"  # not a picture, and not wanted
FAILED = "failed"  # could not be read
STORED = (PICTURE, JPEG, ORIGINAL, OTHER, FOLDER, LINK, DUPLICATE)
KINDS = (*STORED, SKIPPED, FAILED)
CHANGED = (PICTURE, JPEG)  # what is stored is not the bytes of the source

NAME_BYTES = 4096  # of names, and of where links point
TEXT_BYTES = 1000  # of reasons and cameras
MAX_BYTES = 2**60
MAX_SIDE = 2**31  # pixels
DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Record:
    """What a shard says of one source file.

    name: relative to the source folder, parts separated by "/". bytes, mtime_ns (None if not known), mode
    (permissions), sha256 (hexadecimal): of the source. member: its name in the ZIP; offset: of its data in the shard;
    stored: bytes there; stored_sha256: of those bytes, if they are not the source's. width, height: pixels, of
    pictures. bpp, psnr (dB, over the colour samples of the decoded file), signature (hexadecimal: the decoded picture
    averaged to 4x4 RGB pixels): of compressed pictures. taken (YYYY-MM-DDTHH:MM:SS, by the camera's clock), camera,
    place (degrees north and east): by EXIF. target: where a link points. same_as: the name of the source that a
    duplicate is the same as. reason: why it was not compressed.
    """

    name: str
    kind: str
    bytes: int = 0
    mtime_ns: int | None = None
    mode: int = DEFAULT_MODE
    sha256: str = ""
    member: str = ""
    offset: int = 0
    stored: int = 0
    stored_sha256: str = ""
    width: int = 0
    height: int = 0
    bpp: float = 0.0
    psnr: float = 0.0
    signature: str = ""
    taken: str = ""
    camera: str = ""
    place: tuple[float, float] | None = None
    target: str = ""
    same_as: str = ""
    reason: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the stored bytes, hexadecimal; empty in the first format unless they are the source's."""
        return self.stored_sha256 or ("" if self.kind in (*CHANGED, DUPLICATE) else self.sha256)

    def with_digest(self, digest: str) -> Record:
        """The same with another SHA-256 of the stored bytes."""
        if self.kind in (*CHANGED, DUPLICATE):
            return replace(self, stored_sha256=digest)
        return replace(self, sha256="" if self.kind == FOLDER else digest)


_TYPES = get_type_hints(Record)
_DEFAULTS = {field.name: field.default for field in fields(Record)}
_HEX = re.compile(r"([0-9a-f]{2})*")
_TAKEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
NAMES = ("name", "target", "same_as")  # of files, which may be bytes that are no UTF-8, see `files.portable`
_LENGTHS = {"sha256": (0, 64), "stored_sha256": (0, 64), "signature": (0, 96)}


def to_json(record: Record) -> dict[str, Any]:
    """The fields that have not their default."""
    return {name: value for name in _DEFAULTS if (value := getattr(record, name)) != _DEFAULTS[name]}


def from_json(value: object) -> Record:
    """The record of a JSON object. Fields that are not known are ignored: later versions may have more.

    Raises FormatError if a field has not the type or the range that it must have.
    """
    if not isinstance(value, dict):
        raise FormatError(f"a record is {type(value).__name__}, not an object")
    given = {name: value[name] for name in _DEFAULTS if name in value}
    for name, one in given.items():
        problem = _problem(name, one)
        if problem:
            raise FormatError(f"the record of {str(value.get('name'))[:100]!r} has {problem} as {name}")
    if "name" not in given or "kind" not in given:
        raise FormatError("a record without name or kind")
    if given.get("place") is not None:
        given["place"] = tuple(map(float, given["place"]))
    record = Record(**given)
    if record.kind in STORED and not record.member:
        raise FormatError(f"the record of {record.name[:100]!r} names no member")
    return record


def _problem(name: str, value: object) -> str:
    """What is wrong with a field; nothing if it is as it must be."""
    wanted = _TYPES[name]
    if name == "mtime_ns":
        fits = value is None or (type(value) is int and abs(value) < 2**63)
    elif name == "place":
        fits = value is None or (
            isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_number(v) and abs(v) <= 180 for v in value)
        )
    elif wanted is int:
        limit = MAX_SIDE if name in ("width", "height") else 0o7777 if name == "mode" else MAX_BYTES
        fits = type(value) is int and 0 <= value <= limit
    elif wanted is float:
        fits = _is_number(value) and 0 <= value <= 10**6  # type: ignore[operator]
    else:
        fits = isinstance(value, str) and _fits_text(name, value)
    return "" if fits else repr(value)[:100]


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _fits_text(name: str, text: str) -> bool:
    if name == "kind":
        return text in KINDS
    if name in _LENGTHS:
        return len(text) in _LENGTHS[name] and _HEX.fullmatch(text) is not None
    if name == "taken":
        return not text or _TAKEN.fullmatch(text) is not None
    if not (is_portable(text) if name in NAMES else is_text(text)):
        return False
    size = len(as_bytes(text))
    return (
        size <= (TEXT_BYTES if name in ("reason", "camera") else NAME_BYTES)
        and "\0" not in text
        and (name != "name" or size > 0)
    )


def shortened(text: str) -> str:
    """A text that fits a record's reason or camera."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore").strip()


def dump(value: object) -> bytes:
    """JSON in UTF-8, one way only; a byte of a name that is none is a lone surrogate in it, as \\udcff."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def parse(data: bytes) -> Any:
    """The value of JSON in UTF-8. Raises FormatError if it is none."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not readable as JSON ({str(error)[:200]})") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def preface(settings: Mapping[str, Any]) -> bytes:
    """The first member: for people who find the file, and for repairs."""
    about = (
        "A shard of an archive of pictures, made by aecodec. Members NAME.aec are pictures that aecodec decompresses; "
        "other members are files as they were. The last member lists them all."
    )
    return json.dumps({"aecodec_archive": VERSION, "about": about, "settings": settings}, indent=1).encode()


def manifest(settings: Mapping[str, Any], records: Sequence[Record]) -> bytes:
    """The last member: settings and records, one a line."""
    head = dump({"aecodec_archive": VERSION, "settings": settings, "files": []})[: -len(b"]}")]
    return head + b"\n" + b",\n".join(dump(to_json(record)) for record in records) + b"\n]}\n"


def read_manifest(data: bytes) -> tuple[int, dict[str, Any], list[Record]]:
    """(version, settings, records) of a manifest. Raises FormatError if it is damaged or of another version."""
    content = parse(data)
    version = _version(content)
    settings, files = content.get("settings"), content.get("files")
    if not isinstance(settings, dict) or not isinstance(files, list):
        raise FormatError("the manifest has no settings or no files")
    records = [from_json(one) for one in files]
    if version == FIRST_VERSION:  # which wrote no time for one that is not known, and had no other modes
        records = [replace(record, mtime_ns=record.mtime_ns or None, mode=DEFAULT_MODE) for record in records]
    members = [record.member for record in records if record.kind in STORED]
    if len(set(members)) < len(members):
        raise FormatError("the manifest gives one member to several files")
    if len({record.name for record in records}) < len(records):
        raise FormatError("the manifest has several records of one name")
    return version, settings, records


def read_preface(data: bytes) -> dict[str, Any]:
    """The settings that the first member tells. Raises FormatError if it is damaged or of another version."""
    content = parse(data)
    _version(content)
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise FormatError("no settings")
    return settings


def _version(content: object) -> int:
    if not isinstance(content, dict):
        raise FormatError("the manifest is not an object")
    version = content.get("aecodec_archive")
    if type(version) is not int or not FIRST_VERSION <= version <= VERSION:
        raise FormatError(f"archive version {str(version)[:20]}; this aecodec reads {FIRST_VERSION} to {VERSION}")
    return version
