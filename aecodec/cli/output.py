"""What commands say and how they end: results, errors, progress, exit codes."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, TextIO, TypeVar

import click

from aecodec import signals
from aecodec.errors import AecodecError, LimitError, ModelError

BROKEN_PIPE = 141  # as of a process that SIGPIPE ended

T = TypeVar("T")


class Failed(SystemExit):
    """Ends a command with exit code 1 after a line that says why."""

    def __init__(self, error: BaseException, path: Path | str | None = None):
        # An error about a model or another file names that file itself.
        line(message(None if isinstance(error, ModelError) else path, error), err=True)
        super().__init__(1)


class Stopped(SystemExit):
    """Ends a command after a signal. note: what becomes of its work."""

    def __init__(self, note: str):
        click.echo(f"aecodec: interrupted ({signals.received.name}); {note}", err=True)
        super().__init__(signals.INTERRUPTED + signals.received)


def ending(work: Callable[[], T]) -> T:
    """The result of a command's work. What it raises ends it as a shell expects, with one line of explanation: 130
    after SIGINT, 143 after SIGTERM, 141 and silence if nobody reads the output any more."""
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise Stopped("nothing is half-written") from None
    except BrokenPipeError:
        abandon_output()
        raise SystemExit(BROKEN_PIPE) from None
    except OSError as error:  # commands explain those of files, so it is one of standard output
        abandon_output()
        raise Failed(error, "standard output") from error
    except MemoryError as error:
        raise Failed(error) from error


def abandon_output() -> None:
    """Sends what is still to be flushed nowhere, so that the interpreter does not complain at its end."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def message(path: Path | str | None, error: BaseException) -> str:
    """The line that tells of an error about a file."""
    if isinstance(error, MemoryError):
        reason = "not enough memory"
    elif isinstance(error, OSError) and error.strerror:
        path, reason = error.filename or path, error.strerror
    elif isinstance(error, LimitError):
        reason = f"{error} (--pixel-limit)"
    else:
        reason = str(error)
    return "aecodec: " + (f"{path}: {reason}" if path else reason)


def or_fail(work: Callable[[], T], note: str, path: Path | None = None) -> T:
    """The result of work whose errors are explained. note: what becomes of the work after a signal."""
    try:
        return work()
    except KeyboardInterrupt:
        raise Stopped(note) from None
    except (AecodecError, OSError) as error:
        raise Failed(error, path) from error


def write_standard(data: memoryview) -> None:
    """Writes a result to standard output."""
    try:
        while data:  # with PYTHONUNBUFFERED, a part may be all that is written
            data = data[sys.stdout.buffer.write(data) :]
        sys.stdout.buffer.flush()
    except OSError as error:
        error.filename = "standard output"
        abandon_output()
        raise


def as_json(value: object, indent: int | None = 2) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # what is no text is escaped as JSON escapes it


def show(facts: Mapping[str, Any], column: int) -> None:
    """Facts, a line each, but for those that are None."""
    for name, value in facts.items():
        if value is not None:
            text = printable(f"{name:{column}} {value}")
            wide = len(text) > (width := _width(sys.stdout))
            click.echo("\n".join(wrap(text, int(width), subsequent_indent=" " * (column + 1))) if wide else text)


def size(count: int) -> str:
    """Bytes for people."""
    if count < 10_000:
        return f"{count:,} B"
    if count < 999_950:
        return f"{count / 1e3:.1f} kB"
    if count < 9_995_000:
        return f"{count / 1e6:.2f} MB"
    return f"{count / 1e6:.1f} MB" if count < 9_999_950_000 else f"{count / 1e9:,.1f} GB"


def count(number: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def amounts(before: int, after: int) -> str:
    """What became of bytes, and the ratio if they became fewer."""
    ratio = f" ({before / after:.1f}:1)" if 0 < after < before else ""
    return f"{size(before)} -> {size(after)}{ratio}"


def fitted(name: str, parts: Sequence[str], err: bool = False) -> str:
    """A name and what is told of it, printable, in a line; on a terminal that is too narrow for it, in several."""
    name, shown = printable(name, err), [printable(part, err) for part in parts]
    whole = "  ".join([name, *shown])
    width = _width(sys.stderr if err else sys.stdout)
    if len(whole) <= width:
        return whole
    lines = [name, " " * 2 + shown[0]]
    for part in shown[1:]:
        if len(lines[-1]) + 2 + len(part) > width:
            lines.append(" " * 2 + part)
        else:
            lines[-1] += "  " + part
    return "\n".join(lines)


def _width(stream: TextIO) -> float:
    """Of a terminal, in characters; what is no terminal has room for everything."""
    return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else math.inf


def line(text: str, err: bool = False) -> None:
    """A line on standard output or error, printable whatever the text holds."""
    click.echo(printable(text, err), err=err)


def printable(text: str, err: bool = False) -> str:
    """The text with escapes for what a name may hold and a terminal obeys or cannot show: line ends, control sequences,
    bytes that are no text, letters that the encoding of standard output (err: error) lacks."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "ascii"
    shown = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return "".join(shown).encode(encoding, "backslashreplace").decode(encoding)
