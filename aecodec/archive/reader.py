"""An archive as one mapping from the names of the source files, over all its shards."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec import container
from aecodec.archive import index, shards, storage
from aecodec.archive.flow import reason_of
from aecodec.archive.manifest import DUPLICATE, FIRST_VERSION, FOLDER, JPEG, PICTURE, STORED, Record
from aecodec.archive.shards import CHUNK
from aecodec.errors import AecodecError, ArchiveWarning, FormatError

if TYPE_CHECKING:
    from PIL import Image

    from aecodec.codec import Codec


@dataclass(frozen=True, slots=True)
class Item:
    """One source file in an archive: its record, and where its bytes are.

    Of a source that is a duplicate, the record has its own name, time and permissions, and all else of the source that
    `record.same_as` names. offset: of the data, or, in archives of the first format, which have a crc, of the header.
    """

    record: Record
    shard: str
    offset: int
    archive: Archive
    crc: int | None = None

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels; (0, 0) if it is not a picture."""
        return self.record.width, self.record.height

    def chunks(self, checked: bool = True) -> Iterator[bytes]:
        """The stored bytes, piece by piece: an .aec file, or the original. Raises FormatError at their end if they are
        damaged, unless they are not to be checked."""
        record = self.record
        if record.kind == FOLDER:
            return
        digest = hashlib.sha256()
        with self.archive.folder.open(self.shard) as file:
            file.seek(self.offset)
            if self.crc is not None:
                header = file.read(30)
                if len(header) < 30 or not header.startswith(b"PK\3\4"):
                    raise self._damaged(f"damaged, no member begins at byte {self.offset}")
                file.seek(sum(struct.unpack("<HH", header[26:30])), 1)  # past the name and the extra field
            left, crc = record.stored, 0
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise self._damaged(f"truncated in {record.member}")
                left -= len(chunk)
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc) if self.crc is not None else crc
                yield chunk
        if not checked:
            return
        if (record.digest and digest.hexdigest() != record.digest) or (self.crc is not None and crc != self.crc):
            raise self._damaged(f"damaged, the checksum of {record.member} does not match")

    def _damaged(self, reason: str) -> FormatError:
        if self.archive.folder.state(self.shard) != self.archive.states[self.shard]:  # by redo or repair
            reason = "was written anew after this archive was opened; open it again"
        return FormatError(f"{self.shard}: {reason}")

    def read(self, checked: bool = True) -> bytes:
        """The stored bytes: an .aec file, or the original. See `chunks`."""
        return b"".join(self.chunks(checked))

    def metadata(self) -> dict[str, bytes]:
        """EXIF ("exif"), ICC profile ("iccp") and XMP ("xmpd") of a compressed picture, without decoding it."""
        if self.record.kind != PICTURE:
            return {}
        chunks = container.read(self.read()).chunks
        return {name: data for name, data in chunks.items() if name != container.ALPHA}

    def image(self) -> Image.Image:
        """The picture, decoded. Raises AecodecError if it is not one."""
        return self.archive.images([self])[0]


class Archive(Mapping[str, Item]):
    """An archive, opened for reading: a mapping from the names of the source files.

    path: a folder of shards or one shard, local or a URL of fsspec. device, model: as of `native.decoder`; loaded when
    the first picture is decoded. salvage: take out of damaged shards what is whole. Several threads and processes may
    read at the same time; no file is kept open.

    A shard that cannot be read does not close the others: an ArchiveWarning tells of it, and of missing ones.

    Attributes: shards (their names), states (size and time of each when it was opened), single (the name of the only
    one, if that is the path), index (SHA-256 of each by SHA256SUMS, None without it), damaged_index (what is wrong with
    that), first_format (shards of that), settings (of each shard that was read), missing (records of sources that were
    skipped or failed), lost (what is wrong with files that are there no more), dangling (records of those that are
    duplicates), damaged (shard, reason), absent (names of shards that should be there), notes (phrases for what is odd
    about the archive, though no file suffers from it).

    Raises AecodecError if there are no shards, FormatError if none can be read.
    """

    def __init__(
        self, path: str | Path, device: str = "auto", model: str | Path | None = None, *, salvage: bool = False
    ):
        self.folder, single = storage.resolve(path)
        self.single = single
        # The index first: shards that another run adds meanwhile may be more than it lists, but none is missing.
        listed, problem = index.read_lines(self.folder) if single is None else (None, "")
        self.shards = self.folder.zips() if single is None else [single]
        self._codec_options = (device, model)
        self.settings: list[dict[str, Any]] = []
        self.damaged: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.lost: dict[str, str] = {}
        self.dangling: dict[str, Record] = {}
        self._items: dict[str, Item] = {}
        self.missing: dict[str, Record] = {}
        self.index = None if problem else listed
        self.damaged_index = f"{problem}; aecodec archive repair writes it anew" if problem else ""
        self.first_format: set[str] = set()
        self.absent = index.absent(self.shards, listed or {}) if single is None else []
        self.states: dict[str, tuple[int, int | None]] = {}
        if (not self.shards and not self.absent) or (single is not None and not self.folder.exists(single)):
            raise AecodecError(f"{path}: no archive here" + (self.damaged_index and f", but {index.INDEX}, damaged"))
        for shard in self.shards:
            try:
                self._add(shard, salvage)
            except FormatError as error:
                self.damaged.append((shard, str(error).removeprefix(f"{shard}: ")))
            except OSError as error:
                self.damaged.append((shard, f"cannot be read ({reason_of(error)})"))
        if self.damaged and not self.settings:
            raise FormatError(f"{self.damaged[0][0]}: {self.damaged[0][1]}")
        if self.index is None and not self.damaged_index and single is None and self.first_format != {*self.shards}:
            self.notes.append(f"{index.INDEX} is missing, so that nobody can tell whether the last shards are")
        self._resolve()
        for shard, reason in self.damaged:
            warnings.warn(
                f"{shard}: {reason}; the other shards stay open, aecodec archive repair rescues what of it can be read",
                ArchiveWarning,
                stacklevel=2,
            )
        if self.absent:
            warnings.warn(f"missing: {', '.join(self.absent)}", ArchiveWarning, stacklevel=2)

    def _add(self, shard: str, salvage: bool) -> None:
        self.states[shard] = self.folder.state(shard)
        with self.folder.open(shard) as file:
            try:
                contents = shards.open_shard(file)
            except (FormatError, OSError) as error:
                if not salvage:
                    raise
                from aecodec.archive.salvaging import recover

                recovered = recover(file)
                self.damaged.append((shard, reason_of(error)))
                contents = recovered.contents
                self.lost.update(recovered.lost)
        if contents.version == FIRST_VERSION:
            self.first_format.add(shard)
        for record in contents.records:
            if record.kind in STORED:
                offset, crc = contents.headers.get(record.name, (record.offset, None))
                self._items[record.name] = Item(record, shard, offset, self, crc)
            else:
                self.missing[record.name] = record
        self.settings.append(contents.settings)

    def _resolve(self) -> None:
        """Gives duplicates what they are duplicates of."""
        for name, item in list(self._items.items()):
            record = item.record
            if record.kind != DUPLICATE:
                continue
            same = self._items.get(record.same_as)
            if same is None or same.record.kind == DUPLICATE:
                del self._items[name]
                self.dangling[name] = record
                self.lost[name] = f"is the same as {record.same_as}, which is lost"
            else:
                own = {field: getattr(record, field) for field in ("name", "mtime_ns", "mode", "same_as")}
                self._items[name] = replace(same, record=replace(same.record, **own))
        for missing in (self.missing, self.lost):
            for name in self._items.keys() & missing.keys():  # a later run could read it
                del missing[name]

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # nothing is kept open between reads

    def __getstate__(self) -> dict[str, Any]:
        # A codec stays in the process that loaded it.
        return {name: value for name, value in self.__dict__.items() if name != "codec"}

    @cached_property
    def codec(self) -> Codec:
        from aecodec.native import decoder

        return decoder(*self._codec_options)

    def images(self, items: Sequence[Item]) -> list[Image.Image]:
        """Several pictures, decoded together. Raises AecodecError if one is not a picture."""
        return decode(self.codec, [(item.record.kind, item.read()) for item in items])


def decode(codec: Codec, stored: Sequence[tuple[str, bytes]]) -> list[Image.Image]:
    """Pictures of (kind, stored bytes). Raises AecodecError if one is not a picture."""
    from aecodec import picture
    from aecodec.archive.jpegs import restore

    files = iter(codec.decompress_batch([data for kind, data in stored if kind == PICTURE]))
    return [
        next(files)
        if kind == PICTURE
        else picture.to_image(picture.load(io.BytesIO(restore(data) if kind == JPEG else data)))
        for kind, data in stored
    ]
