"""A folder of a file system that fsspec knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from aecodec.archive.entry import Entry
from aecodec.archive.local import JOURNAL, Draft
from aecodec.errors import AecodecError
from aecodec.files import is_text

TEMPORARY = ".aecodec-tmp"  # suffix of what is being uploaded


class RemoteFolder:
    """A folder as s3:// or memory://. Empty folders and links do not exist there, nor do times that could be set."""

    resumes = False

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
        if not is_text(name):
            raise AecodecError("its name is not valid UTF-8, which a URL needs")
        return f"{self._root}/{name}"

    def entries(self) -> list[Entry]:
        """Every file below, by name."""
        if not self._fs.isdir(self._root):
            raise AecodecError(f"{self._url}: not a folder")
        found = self._fs.find(self._root, detail=True).items()
        names = [(path[len(self._root) :].lstrip("/"), info) for path, info in found]
        return sorted((Entry(name, info["size"], _mtime_ns(info)) for name, info in names), key=lambda e: e.name)

    def state(self, name: str) -> tuple[int, int | None]:
        """(size, mtime_ns) of a file now."""
        info = self._fs.info(self._path(name))
        return info["size"], _mtime_ns(info)

    def target(self, name: str) -> str | None:
        """Links do not exist here."""
        return None

    def zips(self) -> list[str]:
        """Names of the ZIP files directly in the folder, sorted; none if it does not exist."""
        return sorted(name for name in self._names() if name.endswith(".zip"))

    def _names(self) -> list[str]:
        """What is directly in the folder; nothing if it does not exist."""
        self._fs.invalidate_cache(self._root)
        if not self._fs.isdir(self._root):
            return []
        return [path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False)]

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self._path(name)))

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._fs.open(self._path(name), "rb"))

    @contextmanager
    def lock(self, name: str | None) -> Iterator[None]:
        """Object stores have no locks: what two runs would both write is found when it gets its name."""
        yield

    def draft(self, name: str) -> RemoteDraft:
        """A shard that is to be made; it lies on this machine until it is whole."""
        return RemoteDraft(self, name)

    def discard_drafts(self, but: frozenset[str]) -> None:
        """Removes what uploads of shards that were killed have left."""
        for name in self._names():
            if name.endswith(".zip" + TEMPORARY):
                self._fs.rm_file(self._path(name))

    def stopped(self, names: Iterable[str]) -> dict[str, str]:
        """Shards that are there, and that a run which was stopped was to replace: the SHA-256 of what by. Other drafts
        do not survive their process."""
        there = set(self._names())
        left = [name for name in names if _journal(name) in there]
        return {name: self._fs.cat_file(self._path(_journal(name))).decode(errors="replace") for name in left}

    def discard(self, name: str) -> None:
        """Removes what was on its way to replace a shard, and what says so."""
        self._remove(name + TEMPORARY)
        self._remove(_journal(name))

    def _remove(self, name: str) -> None:
        if self.exists(name):
            self._fs.rm_file(self._path(name))

    def keep_aside(self, name: str, suffix: str) -> str:
        """Copies a file, so that it stays when it is replaced. Returns the name of the copy."""
        second, number = f"{name}{suffix}", 0
        while self.exists(second):
            number += 1
            second = f"{name}{suffix}.{number}"
        self._fs.cp_file(self._path(name), self._path(second))
        return second

    def tidy(self, name: str) -> None:
        """Removes what a run that was killed has uploaded of a file that is there."""
        self._remove(name + TEMPORARY)

    def write(
        self,
        name: str,
        write: Callable[[BinaryIO], object],
        mtime_ns: int | None = None,
        mode: int = 0o644,
        replace: bool = True,
    ) -> int:
        """Creates or replaces a file once all of it is there. Returns its size in bytes."""
        import tempfile

        # From a local file: closing a remote file on an error would publish half of it.
        with tempfile.TemporaryFile() as file:
            write(cast(BinaryIO, file))
            size = file.seek(0, 2)
            self.upload(cast(BinaryIO, file), name, replace)
        return size

    def upload(self, file: BinaryIO, name: str, replace: bool) -> None:
        path = self._path(name)
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        file.seek(0)
        with self._fs.open(path + TEMPORARY, "wb") as remote:
            while chunk := file.read(2**22):
                remote.write(chunk)
        if not replace and self._fs.exists(path):
            self._fs.rm_file(path + TEMPORARY)
            raise AecodecError(f"{self}/{name} is there by now; another run has written it")
        self._fs.mv(path + TEMPORARY, path)

    def sync(self, names: Iterable[str] = ()) -> None:
        """What was uploaded is there."""

    def make_folder(self, name: str) -> None:
        self._fs.makedirs(self._path(name), exist_ok=True)

    def make_link(self, name: str, target: str, replace: bool = False) -> None:
        raise AecodecError(f"a link to {target}, which {self._fs.protocol} cannot hold")


class RemoteDraft(Draft):
    """A draft in a temporary folder of this machine, which is uploaded when it is whole."""

    def __init__(self, folder: RemoteFolder, name: str):
        import tempfile

        self._temporary = tempfile.TemporaryDirectory()
        self._folder = folder
        super().__init__(Path(self._temporary.name), name)

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        self._temporary.cleanup()

    def replace(self, digest: str, then: Callable[[], object]) -> None:
        self._folder.write(_journal(self._name), lambda file: file.write(digest.encode()))
        self._give_name(replace=True)
        then()
        self._folder.discard(self._name)
        self.discard()

    def _give_name(self, replace: bool) -> None:
        self._folder.upload(self.file, self._name, replace)


def _journal(name: str) -> str:
    """What is beside a shard while another takes its place; it holds the SHA-256 of that one."""
    return f".{name}{JOURNAL}"


def _mtime_ns(info: dict[str, Any]) -> int | None:
    """File systems call it differently."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, (int, float)):
            return round(value * 1e9)
    return None
