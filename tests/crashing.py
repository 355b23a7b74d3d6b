"""Disks that fail: what a crash may leave, at every thing that is done to the files in a folder.

A process that is killed leaves what it did before, or half of a write. A power failure leaves what was synchronised
before: files are as they were at their last sync, and names as at the last sync of their folder. Or the names are there
already, as on journalling file systems, and only what was written is not. A full disk takes nothing any more.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KILLED, TORN, POWER, NAMES = "killed", "killed within a write", "power failure", "power failure, names are there"
AT_THE_END = "power failure at the end"
CALLS = ("link", "replace", "rename", "mkdir", "symlink", "fchmod", "utime", "unlink")


@dataclass(frozen=True)
class File:
    inode: int
    data: bytes = b""
    mode: int = 0o644
    mtime_ns: int = 0


Names = dict[str, int | str | None]  # inodes of files, targets of links, None for folders, by name
State = dict[Path, File | str | None]  # the same below a folder, with what is in files


def states(root: Path, place: Path, work: Callable[[], object]) -> Iterator[tuple[str, Path]]:
    """Every state that a crash during the work may leave, each once, and last the one of a power failure after it:
    (what has happened, a copy of `root` in `place`)."""
    found: dict[frozenset[Any], tuple[str, State]] = {}

    def note(disk: Disk, how: str) -> None:
        state = disk.left(how)
        found.setdefault(frozenset(state.items()), (f"{how} at step {disk.steps}", state))

    def before(disk: Disk) -> None:
        for how in (KILLED, POWER, NAMES):
            note(disk, how)

    with watched(root, before, lambda disk: note(disk, TORN)) as disk:
        work()
    last = AT_THE_END, disk.left(POWER)
    for number, (what, state) in enumerate([*found.values(), last]):
        copy = place / f"state{number}"
        _write(state, root, copy)
        yield what, copy


def full_disks(fresh: Callable[[int], Path], work: Callable[[Path], Any]) -> Iterator[tuple[str, Path]]:
    """What is left by work on disks that are full from the n-th step on, for every n: (what has happened, the disk).
    fresh: makes the n-th disk. The work has to tell, by an OSError, an AecodecError or problems in its report."""
    from aecodec.errors import AecodecError

    step, full = 0, True
    while full:
        step += 1
        full = False

        def refuse(disk: Disk) -> None:
            nonlocal full
            full = disk.steps >= step  # noqa: B023
            if full and not disk.removes:
                raise OSError(errno.ENOSPC, "No space left on device")

        root = fresh(step)
        with watched(root, refuse) as disk:
            try:
                report = work(root)
                assert disk.refused == 0 or report.problems, "it said that all is well"
            except (AecodecError, OSError):
                assert disk.refused
        yield f"full at step {step}", root


@contextmanager
def watched(
    root: Path, before: Callable[[Disk], object], torn: Callable[[Disk], object] = lambda disk: None
) -> Iterator[Disk]:
    """Calls `before` before everything that is done to files below `root`, and `torn` in the middle of each write."""
    disk = Disk(root.resolve(), before, torn)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, disk.counted(getattr(os, name), removes=name == "unlink"))
        patch.setattr(os, "fsync", disk.counted(disk.synchronise))
        patch.setattr(os, "supports_fd", {*os.supports_fd, os.utime})
        patch.setattr(os, "open", disk.opens(os.open))
        patch.setattr(os, "fdopen", disk.fdopens(os.fdopen))
        yield disk
    for descriptor in disk.kept:
        os.close(descriptor)


class Disk:
    """What is below a folder, and what of it would survive. Files are written through `os.fdopen`, nothing else is
    used there."""

    def __init__(self, root: Path, before: Callable[[Disk], object], torn: Callable[[Disk], object]):
        self.root, self.before, self.torn = root, before, torn
        self.steps, self.refused, self.removes = 0, 0, False
        self.lock, self.looking = threading.RLock(), False
        self.synced: dict[int, File] = {}  # by inode
        self.names: dict[Path, Names] = {}  # by folder
        self.kept: list[int] = []  # descriptors, so that no inode becomes that of another file
        for folder, _, files in os.walk(root):
            self.names[Path(folder)] = _names(Path(folder))
            for path in (Path(folder, name) for name in files):
                if not path.is_symlink():
                    descriptor = os.open(path, os.O_RDONLY)
                    self.synchronise(descriptor)
                    os.close(descriptor)

    def step(self, removes: bool = False) -> None:
        self.steps += 1
        self.removes = removes
        try:
            self._look(self.before)
        except OSError:
            self.refused += 1
            raise

    def _look(self, at: Callable[[Disk], object]) -> None:
        self.looking = True
        try:
            at(self)
        finally:
            self.looking = False

    def left(self, how: str, folder: Path | None = None) -> State:
        """What would survive."""
        folder = folder or self.root
        state: State = {}
        for name, what in (self.names.get(folder, {}) if how == POWER else _names(folder)).items():
            path = folder / name
            if not isinstance(what, int):
                state[path] = what
            elif how in (POWER, NAMES):
                state[path] = self.synced.get(what, File(what))
            else:
                now = path.stat()
                state[path] = File(what, path.read_bytes(), stat.S_IMODE(now.st_mode), now.st_mtime_ns)
            if what is None:
                state |= self.left(how, path)
        return state

    def synchronise(self, descriptor: int) -> None:
        now = os.fstat(descriptor)
        if stat.S_ISDIR(now.st_mode):
            folder = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.names[folder] = _names(folder)
        else:
            data = os.pread(descriptor, now.st_size, 0)
            self.synced[now.st_ino] = File(now.st_ino, data, stat.S_IMODE(now.st_mode), now.st_mtime_ns)
            self.kept.append(os.dup(descriptor))

    def counted(self, original: Callable[..., Any], removes: bool = False) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self.lock:
                if self.looking:
                    return original(*arguments, **options)
                self.step(removes)
                return original(*arguments, **options)

        return call

    def opens(self, original: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *arguments: Any, dir_fd: int | None = None) -> int:
            with self.lock:
                if flags & os.O_CREAT and not self.looking and self._is_below(path, dir_fd):
                    self.step()
                return original(path, flags, *arguments, dir_fd=dir_fd)

        return call

    def fdopens(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
            if not mode.strip("rb") or not self._is_below(f"/proc/self/fd/{descriptor}"):
                return original(descriptor, mode, buffering, **options)
            raw = Written(descriptor, "r+")
            raw.disk = self
            return io.BufferedRandom(raw) if buffering else raw

        return call

    def _is_below(self, path: str | Path, folder: int | None = None) -> bool:
        if folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return Path(os.path.realpath(path)).is_relative_to(self.root)


class Written(io.FileIO):
    """A file on a disk."""

    disk: Disk

    def write(self, data: Any) -> int:
        with self.disk.lock:
            self.disk.step()
            half = len(data) // 2
            written = super().write(memoryview(data)[:half]) if half else 0
            self.disk._look(self.disk.torn)
            return written + super().write(memoryview(data)[written:])

    def truncate(self, size: int | None = None) -> int:
        with self.disk.lock:
            self.disk.step()
            return super().truncate(size)


def _names(folder: Path) -> Names:
    found: Names = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            is_link, is_folder = entry.is_symlink(), entry.is_dir(follow_symlinks=False)
            found[entry.name] = os.readlink(entry.path) if is_link else None if is_folder else entry.inode()
    return found


def _write(state: State, root: Path, copy: Path) -> None:
    """Makes a folder what was left of another one: with its times, and with one file where there was one."""
    copy.mkdir(parents=True)
    first: dict[int, Path] = {}
    for path, what in state.items():  # folders before what is in them
        path = copy / path.relative_to(root.resolve())
        if what is None:
            path.mkdir()
        elif isinstance(what, str):
            path.symlink_to(what)
        elif what.inode in first:
            os.link(first[what.inode], path)
        else:
            path.write_bytes(what.data)
            os.chmod(path, what.mode)
            os.utime(path, ns=(what.mtime_ns, what.mtime_ns))
            first[what.inode] = path
