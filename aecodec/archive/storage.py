"""Folders that archives are made from and kept in: on this machine, or wherever fsspec reaches."""

from __future__ import annotations

import glob
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from aecodec import files
from aecodec.errors import AecodecError

TEMPORARY = ".aecodec-tmp"  # suffix of what is being uploaded


@dataclass(frozen=True, slots=True)
class Entry:
    """Something below a folder.

    name: relative, parts separated by "/"; the name of an empty folder ends with it. size: bytes. mtime_ns: when it was
    modified, in nanoseconds since 1970, 0 if that is not known. problem: why it cannot be read, if that is known.
    """

    name: str
    size: int = 0
    mtime_ns: int = 0
    problem: str = ""


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, root: Path):
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def entries(self) -> list[Entry]:
        """Every file and every empty folder below, by name. Links to folders are not followed."""
        if not self.root.is_dir():
            raise AecodecError(f"{self.root}: not a folder")
        found: list[Entry] = []

        def unreadable(error: OSError) -> None:
            found.append(Entry(self._name(error.filename), problem=f"folder: {error.strerror}"))

        for folder, folders, names in os.walk(self.root, onerror=unreadable):
            if not folders and not names and Path(folder) != self.root:
                found.append(Entry(self._name(folder) + "/"))
            found += [self._entry(os.path.join(folder, name)) for name in names]
            links = (os.path.join(folder, name) for name in folders)
            found += [Entry(self._name(path), problem="a link to a folder") for path in links if os.path.islink(path)]
        return sorted(found, key=lambda entry: entry.name)

    def _name(self, path: str) -> str:
        name = Path(path).relative_to(self.root).as_posix()
        return name.encode(errors="backslashreplace").decode()

    def _entry(self, path: str) -> Entry:
        try:
            path.encode()
            state = os.stat(path)
        except UnicodeEncodeError:
            return Entry(self._name(path), problem="its name is not valid UTF-8")
        except OSError as error:
            return Entry(self._name(path), problem=error.strerror or str(error))
        if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
            return Entry(self._name(path), problem="not a regular file")
        return Entry(self._name(path), state.st_size, state.st_mtime_ns)

    def state(self, name: str) -> tuple[int, int]:
        """(size, mtime_ns) of a file now."""
        state = (self.root / name).stat()
        return state.st_size, state.st_mtime_ns

    def zips(self) -> list[str]:
        """Names of the ZIP files directly in the folder, sorted; none if it does not exist."""
        return sorted(path.name for path in self.root.glob("*.zip") if not path.name.startswith("."))

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def write(self, name: str, write: Callable[[BinaryIO], object], mtime_ns: int = 0) -> int:
        """Creates or replaces a file in one step; see `files.write_atomically`. Returns its size in bytes."""
        size = files.write_atomically(self.root / name, write)
        if mtime_ns:
            os.utime(self.root / name, ns=(mtime_ns, mtime_ns))
        return size

    def make_folder(self, name: str) -> None:
        (self.root / name).mkdir(parents=True, exist_ok=True)

    def discard_temporaries(self, name: str) -> None:
        """Removes what writes of this file that were killed have left."""
        for path in self.root.glob(f".{glob.escape(name)}.*.tmp"):
            path.unlink(missing_ok=True)


class RemoteFolder:
    """A folder of a file system that fsspec knows, as s3:// or memory://. Empty folders do not exist there."""

    def __init__(self, url: str):
        try:
            from fsspec.core import url_to_fs

            self._fs, path = url_to_fs(url)
        except ImportError as error:
            raise AecodecError(
                f"{url}: {error}; pip install 'aecodec[archive]' and what that protocol needs"
            ) from error
        except ValueError as error:
            raise AecodecError(f"{url}: {error}") from error
        self._url = url
        self._root = path.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def entries(self) -> list[Entry]:
        """Every file below, by name."""
        if not self._fs.isdir(self._root):
            raise AecodecError(f"{self._url}: not a folder")
        found = self._fs.find(self._root, detail=True).items()
        names = [(path[len(self._root) :].lstrip("/"), info) for path, info in found]
        return sorted((Entry(name, info["size"], _mtime_ns(info)) for name, info in names), key=lambda e: e.name)

    def state(self, name: str) -> tuple[int, int]:
        """(size, mtime_ns) of a file now."""
        info = self._fs.info(self._path(name))
        return info["size"], _mtime_ns(info)

    def zips(self) -> list[str]:
        """Names of the ZIP files directly in the folder, sorted; none if it does not exist."""
        self._fs.invalidate_cache(self._root)
        if not self._fs.isdir(self._root):
            return []
        return sorted(
            path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False) if path.endswith(".zip")
        )

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self._path(name)))

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._fs.open(self._path(name), "rb"))

    def write(self, name: str, write: Callable[[BinaryIO], object], mtime_ns: int = 0) -> int:
        """Creates or replaces a file once all of it is there. Returns its size in bytes; times cannot be set there."""
        # Uploaded from a local file: closing a remote file on an error would publish half of it.
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "upload"
            size = files.write_atomically(local, write)
            path = self._path(name)
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._fs.put_file(str(local), path + TEMPORARY)
            self._fs.mv(path + TEMPORARY, path)
        return size

    def make_folder(self, name: str) -> None:
        self._fs.makedirs(self._path(name), exist_ok=True)

    def discard_temporaries(self, name: str) -> None:
        """Removes what an upload of this file that was killed has left."""
        if self._fs.exists(self._path(name) + TEMPORARY):
            self._fs.rm_file(self._path(name) + TEMPORARY)


Folder = LocalFolder | RemoteFolder


def folder(path: str | Path) -> Folder:
    """The folder with this path or URL; it need not exist. Raises AecodecError if fsspec or a protocol is missing."""
    return RemoteFolder(str(path)) if "://" in str(path) else LocalFolder(Path(path).absolute())


def _mtime_ns(info: dict[str, Any]) -> int:
    """File systems call it differently."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, (int, float)):
            return round(value * 1e9)
    return 0
