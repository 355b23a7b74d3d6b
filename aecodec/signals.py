"""Signals that end a command: told apart, and no longer let through once it has ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # as far as a system has them
INTERRUPTED = 128  # + the number of the signal: the exit code
received = signal.SIGINT  # the signal that the last KeyboardInterrupt was made of


def watch() -> None:
    """From now on all of them are a KeyboardInterrupt: commands clean up after any as after Ctrl-C."""
    for number in _numbers():
        if signal.getsignal(number) == signal.SIG_DFL:  # what is ignored stays so: nohup
            signal.signal(number, _interrupt)


def ignore() -> None:
    """For when all is done and said: what comes then would end Python's own end in a traceback."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[threading.Event]:
    """An event that all of them set instead, so that work stops where it is whole; none do outside the main thread."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, _: Any) -> None:
        global received
        received = signal.Signals(number)
        event.set()

    heeded = [number for number in _numbers() if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """Ends the process with the code of an interruption, where Python might take another: it ends as by SIGINT if a
    KeyboardInterrupt was ever raised in what `exec` compiled, as dataclasses are, though somebody caught it."""
    ignore()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _numbers() -> list[signal.Signals]:
    return [number for name in NAMES if (number := getattr(signal, name, None)) is not None]


def _interrupt(number: int, _: Any) -> None:
    global received
    received = signal.Signals(number)
    raise KeyboardInterrupt
