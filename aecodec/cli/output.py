"""What commands say and how they end: results, errors, progress, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

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


def show(facts: Mapping[str, Any], machine_readable: bool, column: int = 15) -> None:
    """Facts, a line each, or as JSON."""
    if machine_readable:
        click.echo(as_json(facts))
        return
    for name, value in facts.items():
        line(f"{name:{column}} {'-' if value is None else value}")


def size(count: int) -> str:
    """Bytes for people."""
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1000:,.1f} kB" if count < 10_000_000 else f"{count / 1e6:,.1f} MB"


def count(number: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def amounts(before: int, after: int) -> str:
    """What became of bytes, and the ratio if they became fewer."""
    ratio = f" ({before / after:.1f}:1)" if 0 < after < before else ""
    return f"{size(before)} -> {size(after)}{ratio}"


def line(text: str, err: bool = False) -> None:
    """A line on standard output or error, printable whatever the text holds."""
    click.echo(printable(text, err), err=err)


def printable(text: str, err: bool = False) -> str:
    """The text with escapes for what a name may hold and a terminal obeys or cannot show: line ends, control sequences,
    bytes that are no text, letters that the encoding of standard output (err: error) lacks."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "ascii"
    shown = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return "".join(shown).encode(encoding, "backslashreplace").decode(encoding)
