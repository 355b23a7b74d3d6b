"""The promise: how far work is, is told from the first second, truthfully, and fits the terminal."""

from __future__ import annotations

import io
import os

import pytest
from screen import Screen

from aecodec import progress
from aecodec.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_loading_does_not_count_in_the_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("file") as shown:
        shown.update(0, 5)
        clock[0] += 60  # the model is loaded
        shown.begin()
        clock[0] += 10
        shown.update(1, 5)
    assert capsys.readouterr().err.splitlines()[-1] == "1 of 5 files, 40 s left"


def test_a_bar_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    screen = Screen(60)
    terminal = os.fdopen(screen.its, "w", closefd=False)
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("file") as shown:
        shown.doing("loading the model")
        for done in range(3):
            shown.update(done, 3)
            shown.doing(f"a very long name of a photograph, {done}.jpg")
            clock[0] += 10
    terminal.close()
    drawn = [frame.rstrip() for frame in screen.written().split("\r")]
    assert drawn[1] == "loading the model ..."
    assert any("2 of 3 files, 10 s left" in frame and "67 % |" in frame for frame in drawn)
    assert max(map(len, drawn)) <= 60


def test_a_note_with_braces_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress() as shown:
        for done in range(2):
            shown.update(done, 1, note="{0}")
    assert "{0}" in terminal.getvalue()
