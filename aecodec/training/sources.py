"""Where training pictures are: files in folders, members of tar shards, and pictures of .aec archives, by number."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from aecodec.archive.manifest import JPEG, ORIGINAL, PICTURE
from aecodec.archive.reader import Archive, decode
from aecodec.errors import AecodecError
from aecodec.picture.door import foreign, open_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif", ".heic")
HELD_OUT = 32  # one picture in this many never trains


class Pictures:
    """All pictures of some sources, in a stable order. Nothing but their names is in memory; workers may read, too.

    sources: folders and tar files (as WebDataset has them, not compressed) of pictures in any format that Pillow reads,
    and archives of aecodec, whose pictures are decoded on the CPU. Raises AecodecError if one is none of these, or if
    there is no picture.
    """

    def __init__(self, sources: Sequence[str | Path]):
        self._sources = [Path(source) for source in sources]
        self._archives: dict[int, Archive] = {}
        self._entries: list[tuple[int, str, int, int]] = []  # number of the source, name, offset and size in a tar file
        for number, source in enumerate(self._sources):
            before = len(self._entries)
            self._add(number, source)
            if len(self._entries) == before:
                raise AecodecError(f"{source}: no pictures")

    def _add(self, number: int, source: Path) -> None:
        if (source.is_dir() and any(source.glob("*.zip"))) or source.suffix == ".zip":
            archive = self._archives[number] = Archive(source, "cpu")
            kinds = (PICTURE, JPEG, ORIGINAL)
            names = sorted(name for name, item in archive.items() if item.record.kind in kinds)
            self._entries += [(number, name, 0, 0) for name in names]
        elif source.is_dir():
            paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
            self._entries += [(number, str(path.relative_to(source)), 0, 0) for path in paths]
        else:
            try:
                with tarfile.open(source, "r:") as tar:
                    for member in tar:
                        if member.isfile() and member.name.lower().endswith(SUFFIXES):
                            self._entries.append((number, member.name, member.offset_data, member.size))
                        tar.members = []  # type: ignore[attr-defined] # they would all stay in memory
            except tarfile.TarError as error:
                raise AecodecError(f"{source}: neither a folder, a tar file nor an archive of pictures") from error

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """Source and name, for people."""
        number, name, _, _ = self._entries[index]
        return f"{self._sources[number]}: {name}"

    def read(self, index: int) -> bytes:
        """The stored bytes."""
        number, name, offset, size = self._entries[index]
        if number in self._archives:
            return self._archives[number][name].read()
        if not size:
            return (self._sources[number] / name).read_bytes()
        with self._sources[number].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def image(self, index: int, data: bytes) -> Image.Image:
        """The picture of these bytes, RGB. Raises AecodecError if it is damaged."""
        number, name, _, _ = self._entries[index]
        if number in self._archives:
            archive = self._archives[number]
            (image,) = decode(archive.codec, [(archive[name].record.kind, data)])
            return image.convert("RGB")
        with foreign(), open_image(data) as image:
            return image.convert("RGB")

    def is_held_out(self, index: int, data: bytes) -> bool:
        """Whether a picture never trains. The hash of its bytes decides, wherever it is and whatever it is called; that
        of its name, too: by it, pictures were held out of the models released so far, and benchmarks lean on it."""
        if self._smallest is not None:
            return index == self._smallest
        return _chosen(data) or _chosen(self._entries[index][1].encode())

    @cached_property
    def _smallest(self) -> int | None:
        """The only picture that is held out where there are so few that the hash chose none."""
        if len(self) > 4 * HELD_OUT:
            return None
        hashes = {}
        for index in range(len(self)):
            data = self.read(index)
            if _chosen(data) or _chosen(self._entries[index][1].encode()):
                return None
            hashes[hashlib.sha256(data).digest()] = index
        for _, index in sorted(hashes.items()):
            try:
                self.image(index, self.read(index))
                return index
            except (AecodecError, OSError):
                continue
        return None


def _chosen(what: bytes) -> bool:
    return hashlib.sha256(what).digest()[0] % HELD_OUT == 0
