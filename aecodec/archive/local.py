"""A folder on this machine: listed, read, and written so that nothing is ever half there or in the wrong place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from aecodec.archive.entry import Entry
from aecodec.errors import AecodecError
from aecodec.files import as_bytes, is_portable, make_folders, native, portable, sync_folder

LOCK = ".aecodec-lock"
PART, JOURNAL = ".part", ".journal"  # suffixes of what is on its way to become a shard
REWRITTEN = b"rewritten "  # begins the only line of the journal of a shard that takes the place of another
WRITING = ".aecodec-part"  # suffix of a file that is being extracted
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of file systems without them
BINARY = getattr(os, "O_BINARY", 0)  # on Windows
CAREFUL = getattr(os, "O_NOFOLLOW", 0) | BINARY
BY_DESCRIPTOR = os.open in os.supports_dir_fd  # not on Windows


class LocalFolder:
    """A folder on this machine."""

    resumes = True  # drafts survive their process

    def __init__(self, root: Path):
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def entries(self) -> list[Entry]:
        """Every file, every link and every empty folder below, by name. Links are not followed."""
        if not self.root.is_dir():
            raise AecodecError(f"{self.root}: not a folder")
        found: list[Entry] = []

        def unreadable(error: OSError) -> None:
            found.append(Entry(self._name(error.filename), problem=f"folder: {error.strerror}"))

        for folder, folders, names in os.walk(self.root, onerror=unreadable):
            if not folders and not names and Path(folder) != self.root:
                found.append(self._entry(folder))
            found += [self._entry(os.path.join(folder, name)) for name in names]
            links = (os.path.join(folder, name) for name in folders)
            found += [self._entry(path) for path in links if os.path.islink(path)]
        return sorted(found, key=lambda entry: entry.name)

    def _name(self, path: str) -> str:
        name = portable(Path(path).relative_to(self.root).as_posix())
        return name if is_portable(name) else name.encode(errors="backslashreplace").decode()

    def _path(self, name: str) -> Path:
        return self.root / native(name)

    def _entry(self, path: str) -> Entry:
        """Of a file, a link or an empty folder."""
        name = self._name(path)
        if self._path(name) != Path(path):
            return Entry(name, problem="its name is not valid UTF-8")
        try:
            state = os.lstat(path)
            if stat.S_ISLNK(state.st_mode):
                target = portable(os.readlink(path))
                if not is_portable(target):
                    return Entry(name, problem="where it points is not valid UTF-8")
                return Entry(name, len(as_bytes(target)), state.st_mtime_ns, 0o777, target)
        except OSError as error:
            return Entry(name, problem=error.strerror or str(error))
        if stat.S_ISDIR(state.st_mode):
            return Entry(name + "/")
        if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
            return Entry(name, problem="not a regular file")
        return Entry(name, state.st_size, state.st_mtime_ns, stat.S_IMODE(state.st_mode) & 0o777)

    def state(self, name: str) -> tuple[int, int | None]:
        """(size, mtime_ns) of a file now; of a link itself."""
        state = os.lstat(self._path(name))
        return state.st_size, state.st_mtime_ns

    def target(self, name: str) -> str | None:
        """Where a symbolic link points; None if it is none."""
        path = self._path(name)
        return portable(os.readlink(path)) if path.is_symlink() else None

    def zips(self) -> list[str]:
        """Names of the ZIP files directly in the folder, sorted; none if it does not exist."""
        return sorted(portable(path.name) for path in self.root.glob("*.zip") if not path.name.startswith("."))

    def exists(self, name: str) -> bool:
        return os.path.lexists(self._path(name))

    def open(self, name: str) -> BinaryIO:
        """Raises OSError if it cannot be opened, or is no file: a pipe would be waited for, a device never end."""
        path = self._path(name)
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | BINARY)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(file, "rb")

    @contextmanager
    def lock(self, name: str | None) -> Iterator[None]:
        """No other process may write here meanwhile, or, with a name, this file. Raises AecodecError if one does."""
        what = self.root if name is None else self._path(name)
        from filelock import FileLock, Timeout  # with asyncio, for which no reader should wait

        lock = FileLock(self.root / (LOCK if name is None else f".{_short(name)}.lock"), timeout=0)
        try:
            make_folders(self.root)
            lock.acquire()
        except Timeout:
            raise AecodecError(f"{what}: another run is writing to this archive; wait until it has ended") from None
        except OSError as error:
            raise AecodecError(f"{what}: cannot be written to: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def draft(self, name: str) -> Draft:
        """A shard that is to be made, perhaps begun by an earlier process."""
        make_folders(self.root)
        return Draft(self.root, name)

    def discard_drafts(self, but: frozenset[str]) -> None:
        """Removes what runs that were killed have begun of other files than these."""
        kept = {f".{_short(name)}{suffix}" for name in but for suffix in (PART, JOURNAL)}
        for path in self.root.glob(".*.zip*"):
            if path.name.endswith((PART, JOURNAL, WRITING, ".tmp")) and path.name not in kept:
                path.unlink(missing_ok=True)

    def stopped(self, names: Iterable[str]) -> dict[str, str]:
        """Shards that are there, and of which a run that was stopped has left a draft: the SHA-256 of what it had made
        of them, if it came so far that they may be that by now, else ""."""
        found = {}
        for name in names:
            paths = _draft_paths(self.root, name)
            if any(map(os.path.lexists, paths)):
                line = b""
                with suppress(OSError), self.open(paths[1].name) as file:
                    line = file.read(len(REWRITTEN) + 65)
                found[name] = line[len(REWRITTEN) : -1].decode(errors="replace") if line.startswith(REWRITTEN) else ""
        return found

    def discard(self, name: str) -> None:
        """Removes the draft of a shard."""
        for path in _draft_paths(self.root, name):
            path.unlink(missing_ok=True)

    def keep_aside(self, name: str, suffix: str) -> str:
        """Gives a file a second name, with a suffix, under which it stays when it is replaced. Returns that."""
        number = 0
        while True:
            second = f"{name}{suffix}" + (f".{number}" if number else "")
            try:
                os.link(self._path(name), self._path(second))
            except FileExistsError:
                if os.path.samefile(self._path(name), self._path(second)):  # of a run that was killed
                    return second
                number += 1
                continue
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                with self.open(name) as old:
                    self.write(second, lambda file: shutil.copyfileobj(old, file), replace=False)
            sync_folder(self.root)
            return second

    def tidy(self, name: str) -> None:
        """Removes what a run that was killed has left of the writing of a file that is there."""
        with suppress(AecodecError, OSError), self._parent(name, make=False) as (folder, base):
            _remove(self._writing(base), folder)

    def write(
        self,
        name: str,
        write: Callable[[BinaryIO], object],
        mtime_ns: int | None = None,
        mode: int = 0o644,
        replace: bool = True,
    ) -> int:
        """Creates or replaces a file in one step, with its time; returns its size in bytes.

        No link on the way is followed. replace: whether a file, or a link, of this name may go.
        Raises AecodecError if a link is in the way, OSError naming the file if it cannot be written.
        """
        try:
            with self._parent(name, make=True) as (folder, base):
                temporary = self._writing(base)
                _remove(temporary, folder)  # of a run that was killed
                file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | CAREFUL, 0o600, dir_fd=folder)
                try:
                    with os.fdopen(file, "w+b") as opened:
                        write(opened)
                        opened.flush()
                        size = opened.seek(0, 2)
                        if hasattr(os, "fchmod"):
                            os.fchmod(opened.fileno(), mode)
                        if mtime_ns is not None and os.utime in os.supports_fd:
                            os.utime(opened.fileno(), ns=(mtime_ns, mtime_ns))
                        os.fsync(opened.fileno())
                    publish(temporary, base, folder, replace)
                    if mtime_ns is not None and os.utime not in os.supports_fd:
                        os.utime(base, ns=(mtime_ns, mtime_ns))
                finally:
                    with suppress(OSError):
                        _remove(temporary, folder)
        except OSError as error:
            error.filename, error.filename2 = str(self._path(name)), None
            raise
        return size

    def sync(self, names: Iterable[str] = ()) -> None:
        """Waits until the names of files, and of the folders that they are in, are on the disk."""
        folders = {parent for name in names for parent in PurePosixPath(name).parents} | {PurePosixPath()}
        for folder in sorted(folders):
            sync_folder(self._path(str(folder)))

    def make_folder(self, name: str) -> None:
        with self._parent(name.rstrip("/") + "/.", make=True):
            pass

    def make_link(self, name: str, target: str, replace: bool = False) -> None:
        """Raises OSError if there is something of this name."""
        with self._parent(name, make=True) as (folder, base):
            if replace:
                _remove(base, folder)
            os.symlink(native(target), base, dir_fd=folder)

    @staticmethod
    def _writing(base: str) -> str:
        return os.path.join(os.path.dirname(base), f".{_short(os.path.basename(base))}{WRITING}")

    @contextmanager
    def _parent(self, name: str, make: bool) -> Iterator[tuple[int | None, str]]:
        """(descriptor, name in it) of the folder of a file, reached without following links below the root."""
        *parts, base = native(name).split("/")
        make_folders(self.root)
        if not BY_DESCRIPTOR:
            path = self.root
            for part in parts:
                path = path / part
                if path.is_symlink():
                    raise AecodecError(f"{path} is a link; nothing is written through it")
                if make:
                    path.mkdir(exist_ok=True)
            yield None, str(path / base)
            return
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                try:
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        raise AecodecError(
                            f"{part} in {self.root} is a link or a file; nothing is written through it"
                        ) from error
                    raise
                os.close(folder)
                folder = inner
            yield folder, base
        finally:
            os.close(folder)


class Draft:
    """A shard in the making: its bytes, and beside them a journal of what of them is sure to be on the disk.

    Attributes: file (open for reading and writing, without a buffer).
    """

    def __init__(self, root: Path, name: str):
        self._root, self._name = root, name
        self._part, self._journal = _draft_paths(root, name)
        self.file = open_raw(self._part)
        self._lines = open_raw(self._journal)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self._lines.close()

    def journal(self) -> list[bytes]:
        """The lines that were written whole."""
        self._lines.seek(0)
        *whole, _ = self._lines.read().split(b"\n")
        return whole

    def begin(self, lines: list[bytes]) -> None:
        """Makes these the journal."""
        self._lines.seek(0)
        self._lines.truncate(0)
        self._append(b"".join(line + b"\n" for line in lines))

    def checkpoint(self, line: bytes) -> None:
        """Waits until what was written is on the disk, and then says so in the journal."""
        os.fsync(self.file.fileno())
        self._append(line + b"\n")

    def _append(self, data: bytes) -> None:
        self._lines.seek(0, 2)
        while data:
            data = data[self._lines.write(data) :]
        os.fsync(self._lines.fileno())

    def publish(self) -> None:
        """Gives the shard its name. Raises AecodecError if there is a file of this name already."""
        self._give_name(replace=False)
        self.discard()

    def replace(self, digest: str, then: Callable[[], object]) -> None:
        """Puts the shard, which has this SHA-256, in the place of the one of its name, and then does what is to be done
        about that; until it is done, `LocalFolder.stopped` tells of it."""
        self.begin([REWRITTEN + digest.encode()])
        sync_folder(self._root)
        self._give_name(replace=True)
        then()
        self.discard()

    def _give_name(self, replace: bool) -> None:
        os.fsync(self.file.fileno())
        publish(str(self._part), str(self._root / native(self._name)), None, replace)
        sync_folder(self._root)

    def discard(self) -> None:
        for path in (self._journal, self._part):
            path.unlink(missing_ok=True)


def _draft_paths(root: Path, name: str) -> tuple[Path, Path]:
    """Of a draft, and of its journal."""
    return root / f".{_short(name)}{PART}", root / f".{_short(name)}{JOURNAL}"


def open_raw(path: Path) -> BinaryIO:
    """A file to be read and written without a buffer, made if there is none."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | CAREFUL, 0o644)
    return cast(BinaryIO, os.fdopen(file, "r+b", buffering=0))


def publish(temporary: str, name: str, folder: int | None, replace: bool) -> None:
    """Gives a file its name. Raises AecodecError if there is one of this name, unless `replace`."""
    if replace:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise AecodecError(f"{name} is there by now; another run has written it") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise AecodecError(f"{name} is there by now; another run has written it") from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(temporary, dir_fd=folder)


def _remove(name: str, folder: int | None) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _short(name: str) -> str:
    """A name to which prefix and suffix can be added; the same for the same name, so that it is found again."""
    name = native(name)
    if len(os.fsencode(name)) <= 200:
        return name
    return f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
