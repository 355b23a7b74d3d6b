"""The archive as it lies on disk: shards, which are ZIP files with a manifest, read as one mapping from names.

A shard is a ZIP of stored members: NAME.aec for every picture that was compressed, NAME for every file that was kept as
it is, and last the manifest, JSON with the settings and one record for each source file. Sources that are not in the
shard, because they were skipped or failed, are recorded too. docs/archive.md describes it for other programs.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec import container
from aecodec.archive import storage
from aecodec.archive.manifest import FOLDER, MANIFEST, PICTURE, STORED, VERSION, Record
from aecodec.errors import AecodecError, FormatError

if TYPE_CHECKING:
    from PIL import Image

    from aecodec.codec import Codec

CHUNK = 2**20  # bytes; what is copied at a time


@dataclass(frozen=True, slots=True)
class Item:
    """One source file in an archive: its record, and where its bytes are."""

    record: Record
    shard: str
    offset: int
    crc: int
    archive: Archive

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels; (0, 0) if it is not a picture."""
        return self.record.width, self.record.height

    def chunks(self) -> Iterator[bytes]:
        """The stored bytes, piece by piece: an .aec file, or the original. Raises FormatError if they are damaged."""
        if self.record.kind == FOLDER:
            return
        with self.archive.folder.open(self.shard) as file:
            file.seek(self.offset)
            header = file.read(30)
            if len(header) < 30 or not header.startswith(b"PK\3\4"):
                raise FormatError(f"{self.shard}: no member begins at byte {self.offset}")
            file.seek(sum(struct.unpack("<HH", header[26:30])), 1)  # past the name and the extra field
            left, crc = self.record.stored, 0
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise FormatError(f"{self.shard}: truncated in {self.record.member}")
                left -= len(chunk)
                crc = zlib.crc32(chunk, crc)
                yield chunk
        if crc != self.crc:
            raise FormatError(f"{self.shard}: damaged, the checksum of {self.record.member} does not match")

    def read(self) -> bytes:
        """The stored bytes: an .aec file, or the original."""
        return b"".join(self.chunks())

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

    path: a folder of shards or one shard, local or a URL of fsspec. device, model: as of `Codec`, which is loaded when
    the first picture is decoded. Several threads and processes may read at the same time; no file is kept open.

    Attributes: shards (their names), settings (of each shard), missing (records of sources that were skipped or
    failed), damaged (shard, reason), empty unless opened with `tolerant`, which lists shards that cannot be read there.

    Raises AecodecError if there are no shards, FormatError if one cannot be read.
    """

    def __init__(
        self, path: str | Path, device: str = "auto", model: str | Path | None = None, *, tolerant: bool = False
    ):
        self.folder, shard = locate(path)
        self.shards = self.folder.zips() if shard is None else [shard]
        if not self.shards or (shard is not None and not self.folder.exists(shard)):
            raise AecodecError(f"{path}: no archive here")
        self._codec_options = (device, model)
        self.settings: list[dict[str, Any]] = []
        self.damaged: list[tuple[str, str]] = []
        self._items: dict[str, Item] = {}
        self.missing: dict[str, Record] = {}
        for shard in self.shards:
            try:
                self._add(shard)
            except FormatError as error:
                if not tolerant:
                    raise
                self.damaged.append((shard, str(error)))
        for name in self._items.keys() & self.missing.keys():  # a later run could read it
            del self.missing[name]

    def _add(self, shard: str) -> None:
        try:
            with self.folder.open(shard) as file, zipfile.ZipFile(file) as opened:
                if MANIFEST not in opened.namelist():
                    raise FormatError(f"{shard}: not a shard of an aecodec archive: no {MANIFEST} in it")
                manifest = json.loads(opened.read(MANIFEST))
                if manifest["aecodec_archive"] != VERSION:
                    raise FormatError(
                        f"{shard}: archive version {manifest['aecodec_archive']}; this aecodec reads {VERSION}"
                    )
                records = [Record(**listed) for listed in manifest["files"]]
                for record in records:
                    if record.kind in STORED:
                        info = opened.getinfo(record.member)
                        if info.file_size != record.stored:
                            raise FormatError(f"{shard}: {record.member} has not the size that the manifest says")
                        self._items[record.name] = Item(record, shard, info.header_offset, info.CRC, self)
                    else:
                        self.missing[record.name] = record
                self.settings.append(manifest["settings"])
        # What zipfile and json raise for damaged files, and for members that are compressed in ways they do not know.
        except (
            zipfile.BadZipFile,
            zlib.error,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            NotImplementedError,
        ) as error:
            raise FormatError(f"{shard}: damaged ({error})") from error

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
        from aecodec.codec import Codec

        device, model = self._codec_options
        return Codec(device, model)

    def images(self, items: Sequence[Item]) -> list[Image.Image]:
        """Several pictures, decoded together. Raises AecodecError if one is not a picture."""
        return decode(self.codec, [(item.record.kind, item.read()) for item in items])


def decode(codec: Codec, stored: Sequence[tuple[str, bytes]]) -> list[Image.Image]:
    """Pictures of (kind, stored bytes). Raises AecodecError if one is not a picture."""
    from aecodec import picture

    files = iter(codec.decompress_batch([data for kind, data in stored if kind == PICTURE]))
    return [
        next(files) if kind == PICTURE else picture.to_image(picture.load(io.BytesIO(data))) for kind, data in stored
    ]


def locate(path: str | Path) -> tuple[storage.Folder, str | None]:
    """(folder of the shards, name of the only shard or None) of an archive; neither need exist."""
    text = str(path).rstrip("/")
    if not text.endswith(".zip"):
        return storage.folder(path), None
    parent, _, name = text.rpartition("/")
    return storage.folder(parent or "."), name
