"""File names: which inputs are meant, where results go, and writing that leaves nothing half-done."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aecodec.errors import AecodecError

STANDARD = Path("-")  # standard input or output
PICTURE_SUFFIXES = frozenset(
    [
        ".avif",
        ".avifs",
        ".bmp",
        ".gif",
        ".heic",
        ".heics",
        ".heif",
        ".hif",
        ".j2k",
        ".jfif",
        ".jif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".pbm",
        ".pgm",
        ".pjp",
        ".pjpeg",
        ".png",
        ".pnm",
        ".ppm",
        ".qoi",
        ".sgi",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    ]
)


@dataclass(frozen=True)
class Conversion:
    """One input and its output; either may be STANDARD. `problem` says why it cannot be done, if it cannot."""

    source: Path
    target: Path
    problem: str | None = None


def plan(
    inputs: Sequence[Path],
    output: str | None,
    suffix: str,
    found_in_folders: Iterable[str],
    recursive: bool,
    force: bool,
) -> tuple[list[Conversion], Counter[str]]:
    """One conversion for each input file, in order; and how many files in folders are passed over, by suffix: those
    that are neither wanted nor results, hidden ones apart.

    output: a file, or a folder if it is one, ends in a slash, or there are several inputs; None puts each result
    beside its input, with `suffix` instead of the input's own, or behind that where several inputs would become the
    same (a.jpg.aec and a.png.aec). Folders among the inputs are searched, if `recursive`,
    for files with the suffixes `found_in_folders`; below an output folder their tree is kept.
    """
    wanted = frozenset(found_in_folders)
    sources: list[tuple[Path, Path]] = []  # file, its name below an output folder
    problems: list[Conversion] = []
    others: list[str] = []  # suffixes
    for path in inputs:
        if path != STANDARD and path.is_dir():
            if not recursive:
                problems.append(Conversion(path, path, "is a folder; use -r to go through it"))
                continue
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            found = [p for p in inside if p.suffix.lower() in wanted]
            others += [p.suffix.lower() or "without suffix" for p in inside if not p.name.startswith(".")]
            sources += [(p, p.relative_to(path)) for p in found]
            if not found:
                problems.append(Conversion(path, path, "no files to work on in this folder"))
        else:
            sources.append((path, Path(path.name)))

    many = len(sources) > 1 or any(p.is_dir() for p in inputs)
    folder = None
    if output is not None and output != "-" and (many or output.endswith(("/", os.sep)) or Path(output).is_dir()):
        folder = Path(output)
        if folder.exists() and not folder.is_dir():
            raise AecodecError(f"{folder}: is a file, but several results need a folder")

    def target_of(source: Path, name: Path, whole: bool) -> Path:
        """Where the result goes. whole: whether the name of the input stays as it is."""
        if output == "-" or (output is None and source == STANDARD):
            return STANDARD
        if folder is None and output is not None:
            return Path(output)
        path = source if folder is None else folder / (Path("stdin") if source == STANDARD else name)
        return path.with_name(path.name + suffix) if whole else path.with_suffix(suffix)

    whole: set[int] = set()
    while True:
        targets = [target_of(*each, k in whole) for k, each in enumerate(sources)]
        counts = Counter(target.resolve() for target in targets)
        same = {k for k, target in enumerate(targets) if target != STANDARD and counts[target.resolve()] > 1}
        if same <= whole:
            break
        whole |= same

    conversions: list[Conversion] = []
    taken: set[Path] = set()
    for (source, _), target in zip(sources, targets, strict=True):
        problem = None
        if target != STANDARD:
            if target.resolve() == source.resolve():
                problem = "would be overwritten by its own result; use -o"
            elif target.exists() and not target.is_file():
                problem = f"{target} is not an ordinary file; -o - writes to standard output"
            elif target.resolve() in taken:
                problem = f"{target} is already the result of another input; do it alone, with -o and another name"
            elif target.exists() and not force:
                problem = f"{target} exists; use -f to overwrite it"
            taken.add(target.resolve())
        elif len(sources) > 1:
            problem = "several results cannot go to standard output"
        conversions.append(Conversion(source, target, problem))
    return problems + conversions, Counter(kind for kind in sorted(others) if kind not in wanted and kind != suffix)


def write_atomically(path: Path, write: Callable[[BinaryIO], object], like: Path | None = None) -> int:
    """Creates or replaces a file in one step: whatever happens, it is the old one or the whole new one.

    like: a file that the new one is made of: who may not read that one, may not read this one. Missing folders are
    made. Returns its size in bytes. Raises whatever `write` raises, and OSError naming the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o666 if like is None else like.stat().st_mode & 0o666
    # The name of a process would come again, in a container at once, and meet what a killed one left.
    temporary = path.with_name(f".{path.name[:50]}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode | 0o200)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    return size


def portable(name: str) -> str:
    """A name that the system gave, as text that is the same everywhere: where Python takes names for ASCII (LC_ALL=C
    without its UTF-8 mode), those in UTF-8 are read as such. Bytes that are no UTF-8 are lone surrogates (PEP 383)."""
    return name if is_text(name) else os.fsencode(name).decode(errors="surrogateescape")


def as_bytes(name: str) -> bytes:
    """The bytes of a name that `portable` gave. Raises UnicodeEncodeError if it is none."""
    return name.encode(errors="surrogateescape")


def is_portable(text: str) -> bool:
    """Whether a text is one that `portable` gives: one way only to spell the same bytes."""
    try:
        return as_bytes(text).decode(errors="surrogateescape") == text
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return False


def spelt_out(name: str) -> str:
    """A name with %XX for bytes that are no UTF-8."""
    return name if is_text(name) else "".join(c if is_text(c) else f"%{ord(c) & 0xFF:02X}" for c in name)


def is_text(name: str) -> bool:
    """Whether Python has a name as text, and not as bytes that it could not decode."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def native(name: str) -> str:
    """A name as the system takes it, in UTF-8 where Python would not know how to write it."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return os.fsdecode(as_bytes(name))
    return name


def make_folders(path: Path) -> None:
    """Makes a folder, and those above it, if they are not there; then their names are on the disk."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can say so."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that cannot
            raise
    finally:
        os.close(folder)
