"""Many things to do, a few at a time: bounded memory, a callback as each is done, errors that cost only their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from aecodec.errors import AecodecError
from aecodec.pipeline import Job, in_parallel

HELD_PIXELS = 2**24  # about as many wait to be worked on together: what is held does not grow with the number of items
READ_AT_ONCE = 8

Errors = Literal["raise", "return"]
Callback = Callable[[int, Any], object]

I = TypeVar("I")  # noqa: E741
P = TypeVar("P")
R = TypeVar("R")


class Many(Generic[I, P, R]):
    """How items become results.

    read: an item to what is worked on. pixels: of that. kind: equal for what may be worked on together. work: what is
    read of several items of equal kind to their results.
    errors: "raise" lets the first error end it, with the item's name; "return" puts errors into the places of results.
    done: called with the number of an item and its result as soon as it is there, in no particular order.
    """

    def __init__(
        self,
        read: Callable[[I], P],
        pixels: Callable[[P], int],
        kind: Callable[[int], Hashable],
        work: Callable[[Hashable, Sequence[P]], Sequence[R]],
        errors: Errors = "raise",
        done: Callback | None = None,
    ):
        if errors not in ("raise", "return"):
            raise AecodecError(f"errors {errors!r}; expected 'raise' or 'return'")
        self._read, self._pixels, self._kind, self._work = read, pixels, kind, work
        self._return, self._done = errors == "return", done

    def run(self, items: Sequence[I]) -> list[R | Exception]:
        """The results, in the order of the items. Raises what reading and working raise, unless errors are results."""
        results: dict[int, R | Exception] = {}
        waiting: dict[int, P] = {}
        for start in range(0, len(items), READ_AT_ONCE):
            numbers = range(start, min(start + READ_AT_ONCE, len(items)))
            jobs = [Job(1, partial(self._attempt, items[number], number, self._read)) for number in numbers]
            for number, found in zip(numbers, in_parallel(jobs), strict=True):
                if isinstance(found, Exception):
                    self._finish(results, number, found)
                else:
                    waiting[number] = found
            if sum(map(self._pixels, waiting.values())) >= HELD_PIXELS:
                self._work_on(waiting, items, results)
        self._work_on(waiting, items, results)
        return [results[number] for number in range(len(items))]

    def _work_on(self, waiting: dict[int, P], items: Sequence[I], results: dict[int, R | Exception]) -> None:
        kinds: dict[Hashable, list[int]] = {}
        for number in waiting:
            kinds.setdefault(self._kind(number), []).append(number)
        for kind, numbers in kinds.items():
            try:
                made: Sequence[R | Exception] = self._work(kind, [waiting[number] for number in numbers])
            except AecodecError:  # of one of them; alone, each is told its own
                alone = partial(self._alone, kind)
                made = [self._attempt(waiting[number], number, alone, items[number]) for number in numbers]
            for number, result in zip(numbers, made, strict=True):
                self._finish(results, number, result)
        waiting.clear()

    def _alone(self, kind: Hashable, one: P) -> R:
        return self._work(kind, [one])[0]

    def _attempt(self, given: Any, number: int, run: Callable[[Any], Any], item: Any = None) -> Any:
        """The result, or the error if errors are results."""
        try:
            return run(given)
        except OSError as error:
            if self._return:
                return error
            raise
        except AecodecError as error:
            item = given if item is None else item
            name = os.fspath(item) if isinstance(item, (str, os.PathLike)) else f"item {number}"
            public = next(kind for kind in type(error).__mro__ if kind.__module__ == AecodecError.__module__)
            named = public(f"{name}: {error}")
            if self._return:
                named.__cause__ = error
                return named
            raise named from error

    def _finish(self, results: dict[int, R | Exception], number: int, result: R | Exception) -> None:
        results[number] = result
        if self._done is not None:
            self._done(number, result)
