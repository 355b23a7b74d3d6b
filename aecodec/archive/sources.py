"""Source files: what they are, read, and decoded if they are pictures."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from aecodec import picture
from aecodec.archive.flow import reason_of
from aecodec.archive.manifest import FAILED, FOLDER, ORIGINAL, OTHER, PICTURE, SKIPPED, Record
from aecodec.archive.reader import CHUNK
from aecodec.archive.storage import Entry, Folder
from aecodec.container import DEFAULT_PIXEL_LIMIT, MAGIC, read_header
from aecodec.errors import AecodecError
from aecodec.picture import Picture
from aecodec.picture.door import open_image

OTHERS = {"keep": OTHER, "skip": SKIPPED, "fail": FAILED}  # what becomes of files that are not pictures
STREAMED = 2**26  # bytes from which a file that is not compressed is copied piece by piece
WHOLE_MODES = frozenset(["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa"])  # .aec holds them without conversion


@dataclass(frozen=True)
class Source:
    """A source file on its way into a shard. data: its bytes, None if they are to be copied when it is stored.
    encoded: the .aec file and what it decodes to."""

    record: Record
    data: bytes | None = None
    picture: Picture | None = None
    encoded: tuple[bytes, Image.Image] | None = None


def decoded_bytes(item: Source) -> int:
    return len(item.data or b"") + 4 * item.record.width * item.record.height


def read(source: Folder, others: str, entry: Entry) -> Source:
    record = Record(entry.name, FAILED, entry.size, entry.mtime_ns)
    if entry.problem:
        return Source(replace(record, reason=entry.problem))
    if entry.name.endswith("/"):
        return Source(replace(record, kind=FOLDER), b"")
    data = None
    try:
        with source.open(entry.name) as file:
            kind, width, height, reason = _look(file)
            if kind == PICTURE or entry.size < STREAMED:
                file.seek(0)
                data = file.read()
        _check_unchanged(source, entry, None if data is None else len(data))
    except Exception as error:  # remote file systems raise whatever they like
        return Source(replace(record, reason=reason_of(error)))
    record = replace(record, kind=kind, width=width, height=height, reason=reason)
    if data is not None:
        record = replace(record, sha256=hashlib.sha256(data).hexdigest())
    return Source(as_other(record, reason, others) if kind == OTHER else record, data)


def _check_unchanged(source: Folder, entry: Entry, read: int | None) -> None:
    if source.state(entry.name) != (entry.size, entry.mtime_ns) or read not in (None, entry.size):
        raise AecodecError("changed while it was being archived")


def _look(file: BinaryIO) -> tuple[str, int, int, str]:
    """(kind, width, height, why it is not compressed) by the header of a file."""
    try:
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            header = read_header(file.read(), DEFAULT_PIXEL_LIMIT)
            return ORIGINAL, header.width, header.height, "an .aec file already"
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = open_image(file)
        width, height = image.size
        if getattr(image, "is_animated", False):
            reason = "several frames"
        elif ";16" in str(getattr(image, "tile", "")) or image.mode not in WHOLE_MODES:  # 16-bit RGB calls itself RGB
            reason = f"more than 8 bits, or not RGB or grey ({image.mode})"
        else:
            reason = f"more than {DEFAULT_PIXEL_LIMIT} pixels" if width * height > DEFAULT_PIXEL_LIMIT else ""
        return (ORIGINAL if reason else PICTURE), width, height, reason
    except Image.DecompressionBombError:
        return ORIGINAL, 0, 0, f"more than {DEFAULT_PIXEL_LIMIT} pixels"
    except UnidentifiedImageError:
        return OTHER, 0, 0, "not a picture that Pillow can read"
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return OTHER, 0, 0, f"damaged picture ({reason_of(error)})"


def as_other(record: Record, reason: str, others: str) -> Record:
    """The record of a file that is not a picture, or a damaged one."""
    return replace(record, kind=OTHERS[others], width=0, height=0, reason=reason)


def decode(others: str, item: Source) -> Source:
    if item.record.kind != PICTURE or item.data is None:
        return item
    try:
        loaded = picture.load(io.BytesIO(item.data))
        if loaded.depth > 8:
            return replace(item, record=replace(item.record, kind=ORIGINAL, reason=f"{loaded.depth} bits a sample"))
        return replace(item, picture=loaded)
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        return replace(item, record=as_other(item.record, f"damaged picture ({reason_of(error)})", others))


def pieces(source: Folder, record: Record) -> Iterator[bytes]:
    """The bytes of a source. Raises AecodecError if it cannot be read or has changed."""
    size = 0
    try:
        with source.open(record.name) as file:
            while size <= record.bytes and (piece := file.read(CHUNK)):
                size += len(piece)
                yield piece
        _check_unchanged(source, Entry(record.name, record.bytes, record.mtime_ns), size)
    except Exception as error:  # remote file systems raise whatever they like
        raise AecodecError(reason_of(error)) from error
