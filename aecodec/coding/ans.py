"""The asymmetric numeral system (Duda, arXiv:1311.2540) of constriction.

Its state has 64 bits, words have 32, frequencies 24. This is the only module that knows the library: `table`, `encode`,
and a `Stream` with `take` and `finish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from aecodec.errors import FormatError

FREQUENCY_BITS = 24
FREQUENCY_TOTAL = 1 << FREQUENCY_BITS

Table = Any  # integer frequencies, ready to code with
Values = npt.NDArray[np.int32]

SIXTEEN_BITS: Table = constriction.stream.model.Uniform(1 << 16)  # for values 0..65535 of which nothing is known


def table(frequencies: npt.NDArray[np.int32]) -> Table:
    """The table of the values 0, 1, ... with these frequencies, each at least 1, which sum to 2^24."""
    # constriction gives symbol k the integer frequency 1 + (what its "fast" quantisation makes of the float). Floats
    # that are already integers and sum to 2^24 - n are scaled by exactly 1: frequencies stay.
    return constriction.stream.model.Categorical((frequencies - 1).astype(np.float32), perfect=False)


def encode(runs: Sequence[tuple[Values, Table]]) -> bytes:
    """Runs of values, each coded with one table, in the order in which they will be taken."""
    coder = constriction.stream.stack.AnsCoder()
    for values, own in reversed(runs):  # a stack: what is decoded first is encoded last
        coder.encode_reverse(values, own)
    # Words are little-endian, so the zeros at the end of the last one need not be stored.
    return bytes(coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))


class Stream:
    """What `encode` made, to be taken apart in the same order. Raises FormatError where data cannot be such."""

    def __init__(self, data: bytes):
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        try:
            self._coder = constriction.stream.stack.AnsCoder(words)
        except ValueError as error:
            raise FormatError("entropy-coded data ends in a zero word") from error

    def take(self, own: Table, count: int) -> Values:
        """The next run: so many values that were coded with this table."""
        values: Values = self._coder.decode(own, count)
        return values

    def finish(self) -> None:
        """Raises FormatError unless everything was taken."""
        if not self._coder.is_empty():
            raise FormatError("entropy-coded data continues after its last symbol")
