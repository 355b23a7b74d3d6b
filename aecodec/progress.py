"""How far work is, told on standard error from its first second: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

LONGEST = 20  # characters of what is being done, so that there is room for the bar
DRAW_EVERY = 0.1  # seconds between pictures of a bar
LINE_EVERY = 10.0  # seconds between lines where there is no terminal


class Progress:
    """Of work counted in `unit`.

    Nothing is printed if `quiet`, nor in the first seconds where there is no terminal. Time left follows from what is
    done since the first `update`, or since `begin`, so that loading a model does not count.
    """

    def __init__(self, unit: str = "B", quiet: bool = False):
        self._unit, self._quiet, self._terminal = unit, quiet, sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._said = time.monotonic()
        self._begun: tuple[float, int] | None = None
        self._done = 0
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def doing(self, what: str) -> None:
        """What is being done now: "loading the model"."""
        if self._terminal and not self._quiet:
            what = what if len(what) <= LONGEST else f"{what[: LONGEST - 3]}..."
            self._shown(what).set_description_str(what)

    def begin(self) -> None:
        """What was before was loading, and tells nothing of the pace."""
        self._begun = time.monotonic(), self._done

    def update(self, done: int, total: int, seconds: float | None = None, note: str = "") -> None:
        """done, total: in units. seconds: since the beginning, if it was not the first `update`. note: what else to
        say."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now - (seconds or 0), 0 if seconds else done
        self._done = done
        if self._quiet:
            return
        since, first = self._begun
        note = note or f"{done:,} of {total:,} {self._unit}{'s' * (total != 1)}"
        if done > first:  # else nothing is known of the pace
            note += f", {_duration((total - done) * (now - since) / (done - first))} left"
        if self._terminal:
            bar = self._shown()
            if total != bar.total:
                bar.set_description_str("", refresh=False)
                bar.total = total
            bar.bar_format = "{desc}: {percentage:3.0f} % |{bar}| " + note.replace("{", "{{").replace("}", "}}")
            bar.n = done
            if now - self._drawn > DRAW_EVERY or done in (first, total):
                self._drawn = now
                bar.refresh()
        elif now - self._said > LINE_EVERY:
            self._said = now
            print(note, file=sys.stderr, flush=True)

    def line(self, text: str, err: bool = False) -> None:
        """A line of its own, above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr if err else sys.stdout, flush=True)
        else:
            self._bar.write(text, file=sys.stderr if err else sys.stdout)

    def _shown(self, what: str = "") -> tqdm[Any]:
        if self._bar is None:
            from tqdm import tqdm

            # Until a total is known there is nothing to count.
            style: dict[str, Any] = {"dynamic_ncols": True, "leave": False, "bar_format": "{desc} ..."}
            self._bar = tqdm(desc=what, total=0, **style)
        return self._bar


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
