"""Source files: what they are, read, and decoded if they are pictures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image

from aecodec import picture
from aecodec.archive import jpegs
from aecodec.archive.facts import TIFF, Facts, facts
from aecodec.archive.flow import reason_of
from aecodec.archive.manifest import (
    DUPLICATE,
    FAILED,
    FOLDER,
    JPEG,
    LINK,
    ORIGINAL,
    OTHER,
    PICTURE,
    Record,
    shortened,
)
from aecodec.archive.settings import OTHERS, Settings
from aecodec.archive.shards import CHUNK
from aecodec.archive.storage import Entry, LocalFolder, Readable
from aecodec.container import DEFAULT_PIXEL_LIMIT
from aecodec.errors import AecodecError
from aecodec.files import as_bytes
from aecodec.picture import Picture
from aecodec.picture.inspect import Contents, inspect

STREAMED = 2**26  # bytes from which a file that is not compressed is copied piece by piece
LOOKED_INTO = 2**28  # bytes of the largest file that is read over a network to see whether it is a picture
DAMAGED = "what is damaged"  # begins what `inspect` says of pictures that decode, but not whole
HELD = {"EXIF": "exif", "ICC profile": "icc", "XMP": "xmp"}  # parts of a file, and what a picture calls them


@dataclass(frozen=True)
class Planned:
    """A source file that is to be archived under a name. same_as: the name of the source that has the same bytes."""

    entry: Entry
    name: str
    same_as: str = ""


@dataclass(frozen=True)
class Source:
    """A source file on its way into a shard. path: its name in the source folder. data: its bytes, None if they are to
    be copied when it is stored. parts: of its metadata, that an .aec file has to hold. encoded: the .aec file, what it
    decodes to, and how near that is, in dB."""

    record: Record
    path: str
    data: bytes | None = None
    parts: Mapping[str, bytes] = field(default_factory=dict)
    picture: Picture | None = None
    encoded: tuple[bytes, Image.Image, float] | None = None


def decoded_bytes(item: Source) -> int:
    return len(item.data or b"") + 4 * item.record.width * item.record.height


def read(source: Readable, settings: Settings, planned: Planned) -> Source:
    """What a source file is, and its bytes if they will be needed."""
    entry, name = planned.entry, planned.name
    record = Record(name, FAILED, entry.size, entry.mtime_ns, entry.mode)
    if entry.problem:
        return Source(replace(record, reason=shortened(entry.problem)), entry.name)
    if entry.name.endswith("/"):
        return Source(replace(record, kind=FOLDER), entry.name, b"")
    if entry.target:
        return Source(replace(record, kind=LINK, target=entry.target), entry.name, as_bytes(entry.target))
    if planned.same_as:
        return Source(replace(record, kind=DUPLICATE, same_as=planned.same_as), entry.name)
    data = None
    try:
        with source.open(entry.name) as file:
            contents = _contents(source, entry, file)
            record = _judged(record, contents, settings)
            if record.kind in (PICTURE, JPEG) or entry.size < STREAMED:
                file.seek(0)
                data = file.read()
            taken, camera, place = _facts(contents, file)
            record = replace(record, taken=taken, camera=camera, place=place)
        check_unchanged(source, entry, None if data is None else len(data))
    except Exception as error:  # remote file systems raise whatever they like
        return Source(replace(record, kind=FAILED, width=0, height=0, reason=reason_of(error)), entry.name)
    if data is not None:
        record = replace(record, sha256=hashlib.sha256(data).hexdigest())
    if record.kind == OTHER:
        record = as_other(record, record.reason, settings.others)
    parts = {part.name: part.data for part in contents.metadata if part.name in HELD}
    return Source(record, entry.name, data, parts if record.kind == PICTURE else {})


def _contents(source: Readable, entry: Entry, file: BinaryIO) -> Contents:
    if entry.size > LOOKED_INTO and not isinstance(source, LocalFolder):
        return Contents("large file", refusal=f"more than {LOOKED_INTO:,} bytes, not looked into over a network")
    return inspect(file)


def _judged(record: Record, contents: Contents, settings: Settings) -> Record:
    """The record with what the file is, what is to become of it, and why."""
    record = replace(record, width=contents.width, height=contents.height)
    if contents.kind == "JPEG" and settings.jpeg != "lossy" and not (contents.refusal or "").startswith("damaged"):
        if settings.jpeg == "keep":
            return replace(record, kind=ORIGINAL, reason="a JPEG file; these are kept")
        return replace(record, kind=JPEG)
    if contents.refusal:
        if contents.unread or contents.kind == "aec":
            return replace(record, kind=ORIGINAL, reason=shortened(contents.refusal))
        return replace(record, kind=OTHER, reason=shortened(contents.refusal))
    if losses := [loss for loss in contents.losses if loss != contents.depth_phrase]:  # of bits, the decoder tells
        kind = OTHER if any(loss.startswith(DAMAGED) for loss in losses) else ORIGINAL
        return replace(record, kind=kind, reason=shortened("has " + ", ".join(losses)))
    if contents.width * contents.height > DEFAULT_PIXEL_LIMIT:
        return replace(record, kind=ORIGINAL, reason=f"more than {DEFAULT_PIXEL_LIMIT} pixels")
    return replace(record, kind=PICTURE)


def _facts(contents: Contents, file: BinaryIO) -> Facts:
    exif = contents.part("EXIF")
    if exif is None:
        file.seek(0)
        if file.read(4) not in TIFF:
            return Facts()
        file.seek(0)
        exif = file.read(STREAMED)
    return facts(exif)


def check_unchanged(source: Readable, entry: Entry, size: int | None) -> None:
    """Raises AecodecError if a file is not as it was listed. size: bytes that were read of it, if it was read."""
    if source.state(entry.name) != (entry.size, entry.mtime_ns) or size not in (None, entry.size):
        raise AecodecError("changed while it was being archived")


def as_other(record: Record, reason: str, others: str) -> Record:
    """The record of a file that is not a picture, or a damaged one."""
    return replace(record, kind=OTHERS[others], width=0, height=0, reason=shortened(reason))


def decode(settings: Settings, item: Source) -> Source:
    """The same with its picture, if it is one and the picture has all that the file holds; or as JPEG XL."""
    record = item.record
    if item.data is None:
        return item
    if record.kind == JPEG:
        packed = jpegs.transcode(item.data)
        if packed is None:
            return replace(item, record=replace(record, kind=ORIGINAL, reason="JPEG XL would not give it back"))
        if not saves_enough(len(packed), record.bytes, settings):
            return replace(item, record=replace(record, kind=ORIGINAL, reason=too_large(len(packed), record.bytes)))
        return replace(item, data=packed)
    if record.kind != PICTURE:
        return item
    try:
        found = picture.read(io.BytesIO(item.data), DEFAULT_PIXEL_LIMIT)
    except picture.UnreadError as error:
        return replace(item, record=replace(record, kind=ORIGINAL, reason=shortened(str(error))))
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        reason = reason_of(error) if isinstance(error, AecodecError) else f"damaged picture ({reason_of(error)})"
        return replace(item, record=as_other(record, reason, settings.others))
    loaded = found.picture
    if found.losses:
        return replace(item, record=replace(record, kind=ORIGINAL, reason=shortened("has " + ", ".join(found.losses))))
    lost = [name for name, data in item.parts.items() if _plain(getattr(loaded, HELD[name])) != _plain(data)]
    if {loaded.width, loaded.height} != {record.width, record.height}:
        reason = f"decodes to {loaded.width}x{loaded.height} pixels, not {record.width}x{record.height}"
        return replace(item, record=replace(record, kind=ORIGINAL, reason=reason))
    if lost:
        reason = f"its {' and '.join(lost)} would not come back byte for byte"
        return replace(item, record=replace(record, kind=ORIGINAL, reason=reason))
    return replace(item, record=replace(record, width=loaded.width, height=loaded.height), picture=loaded)


def _plain(data: bytes | None) -> bytes:
    """EXIF without the signature that some formats put before it; other metadata as they are."""
    return (data or b"").removeprefix(b"Exif\0\0")


def saves_enough(size: int, before: int, settings: Settings) -> bool:
    return size < before and size <= before * (1 - settings.min_saving)


def too_large(size: int, before: int) -> str:
    return f"would be {size:,} bytes, " + (f"only {1 - size / before:.0%} less" if size < before else "not less")


def pieces(source: Readable, entry: Entry) -> Iterator[bytes]:
    """The bytes of a source. Raises AecodecError if it cannot be read or has changed."""
    size = 0
    try:
        with source.open(entry.name) as file:
            while size <= entry.size and (piece := file.read(CHUNK)):
                size += len(piece)
                yield piece
        check_unchanged(source, entry, size)
    except Exception as error:  # remote file systems raise whatever they like
        raise AecodecError(reason_of(error)) from error
