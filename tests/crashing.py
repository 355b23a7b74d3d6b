"""A disk that fails: a process is ended at the n-th thing that it does to the files in a folder, for every n there is.

What is there afterwards, is what was done before, or, after a power failure, what was synchronised before: files are as
they were at their last sync, and names as at the last sync of their folder. Or names are there already, as journalling
file systems have it, and only what was written is not.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

STOPPED = 77
KILLED, TORN, POWER, NAMES = "killed", "killed within a write", "power failure", "power failure, names are there"
ways = pytest.mark.parametrize("way", [KILLED, TORN, POWER, NAMES])

File = tuple[bytes, int, int]  # bytes, mode, mtime_ns
Names = dict[str, int | str | None]  # inodes of files, targets of links, None for folders, by name


def stopped_at(step: int, root: Path, way: str, work: Callable[[], object]) -> bool:
    """Does the work in a child that ends at a step. Returns whether it was stopped, rather than done before."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, STOPPED)
        return code == STOPPED
    try:
        disk = Disk(root.resolve(), step, way)
        disk.watch()
        work()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


class Disk:
    """Counts what is done below `root`, stops at a step, and knows what would survive that."""

    def __init__(self, root: Path, stop_at: int, way: str):
        self.root, self.stop_at, self.way, self.steps = root, stop_at, way, 0
        self.synced: dict[int, File] = {}  # files by inode
        self.names: dict[Path, Names] = {}  # by folder
        self.kept: list[int] = []  # descriptors, so that no inode becomes that of another file
        for folder, _, files in os.walk(root):
            self.names[Path(folder)] = _names(Path(folder))
            for name in files:
                if not os.path.islink(os.path.join(folder, name)):
                    descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                    self._synchronise(descriptor)
                    os.close(descriptor)

    def watch(self) -> None:
        """Replaces what changes files in `os`. Files are written through `os.fdopen`, there is no other way there."""
        for name in ("link", "replace", "rename", "unlink", "mkdir", "symlink", "fchmod", "utime"):
            setattr(os, name, self._counted(getattr(os, name)))
        opens, fdopens = os.open, os.fdopen

        def opened(path: Any, flags: int, *arguments: Any, dir_fd: int | None = None) -> int:
            if flags & os.O_CREAT and self._is_below(path, dir_fd):
                self.step()
            return opens(path, flags, *arguments, dir_fd=dir_fd)

        def fdopened(descriptor: int, mode: str = "r", buffering: int = -1, *arguments: Any, **options: Any) -> Any:
            if not self._is_below(f"/proc/self/fd/{descriptor}") or mode == "r":
                return fdopens(descriptor, mode, buffering, *arguments, **options)
            raw = Written(descriptor, "r+")
            raw.disk = self
            return io.BufferedRandom(raw) if buffering else raw

        def fsync(descriptor: int) -> None:
            self.step()
            self._synchronise(descriptor)

        os.open, os.fdopen, os.fsync = opened, fdopened, fsync  # type: ignore[assignment]
        os.supports_fd.add(os.utime)

    def step(self, torn: Callable[[], object] | None = None) -> None:
        """One thing that is done. torn: does half of it, if that can be."""
        if self.way == TORN and torn is None:
            return
        self.steps += 1
        if self.steps == self.stop_at:
            if self.way == TORN and torn is not None:
                torn()
            self._end()

    def _end(self) -> NoReturn:
        if self.way in (POWER, NAMES):
            left = self._left(self.root)
            shutil.rmtree(self.root)
            self.root.mkdir()
            for path, what in left.items():  # folders before what is in them
                if what is None:
                    path.mkdir()
                elif isinstance(what, str):
                    path.symlink_to(what)
                else:
                    path.write_bytes(what[0])
                    os.chmod(path, what[1])
                    os.utime(path, ns=(what[2], what[2]))
        os._exit(STOPPED)

    def _left(self, folder: Path) -> dict[Path, File | str | None]:
        """What of a folder survives, by path."""
        left: dict[Path, File | str | None] = {}
        names = self.names.get(folder, {}) if self.way == POWER else _names(folder)
        for name, what in names.items():
            left[folder / name] = self.synced.get(what, (b"", 0o644, 0)) if isinstance(what, int) else what
            if what is None:
                left |= self._left(folder / name)
        return left

    def _synchronise(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):
            folder = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.names[folder] = _names(folder)
        else:
            data = os.pread(descriptor, state.st_size, 0)
            self.synced[state.st_ino] = data, stat.S_IMODE(state.st_mode), state.st_mtime_ns
            self.kept.append(os.dup(descriptor))

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.step()
            return original(*arguments, **options)

        return call

    def _is_below(self, path: str | Path, folder: int | None = None) -> bool:
        if folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return Path(os.path.realpath(path)).is_relative_to(self.root)


class Written(io.FileIO):
    """A file on a disk."""

    disk: Disk

    def write(self, data: Any) -> int:
        half = memoryview(data)[: len(data) // 2]
        self.disk.step(lambda: super(Written, self).write(half))
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self.disk.step()
        return super().truncate(size)


def _names(folder: Path) -> Names:
    found: Names = {}
    for entry in os.scandir(folder):
        is_link, is_folder = entry.is_symlink(), entry.is_dir(follow_symlinks=False)
        found[entry.name] = os.readlink(entry.path) if is_link else None if is_folder else entry.inode()
    return found
