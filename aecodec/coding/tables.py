"""Symbols and scale indices to bytes, and back.

Nothing passes between the entropy model and the coder but a scale index and a symbol for each element. An index
selects one of 64 tables of integer frequencies, which are stored with the weights; 64 more, made of these, are for the
magnitudes of symbols whose signs are not coded. Elements are grouped by index, so that each group is one vectorised
call with one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from aecodec.coding import ans
from aecodec.coding.ans import FREQUENCY_BITS, FREQUENCY_TOTAL
from aecodec.errors import ModelError

TABLES = 64
ESCAPE_TOP = 32767  # symbols are clamped to -32767..32767; what a table cannot hold follows as 16 bits

Symbols = npt.NDArray[np.int32]
Indices = npt.NDArray[np.uint8]


class Tables:
    """The frequency tables of a model.

    frequencies: (sum of 2 reach + 2 over the tables whose reach is not 0,) int32, the tables one after the other.
    reach: (64,) int32. Table i holds the symbols -reach..reach and then the escape; its frequencies sum to 2^24. A
    table of reach 0 holds no frequencies: its elements are always 0 and are not coded. Index 64 + i stands for table i
    with both signs in one entry: its symbols are magnitudes, 0..reach and the escape.

    Raises ModelError if the tables do not fit these rules.
    """

    def __init__(self, frequencies: npt.NDArray[np.int32], reach: npt.NDArray[np.int32]):
        sizes = np.where(reach > 0, 2 * reach + 2, 0)
        if reach.min() < 0 or reach.max() > ESCAPE_TOP or sizes.sum() != len(frequencies):
            raise ModelError("frequency tables: sizes do not agree")
        self.reach = np.tile(reach, 2)
        self.lowest = np.concatenate([-reach, np.zeros_like(reach)])
        self.bits: list[npt.NDArray[np.float64] | None] = []
        self.tables: list[ans.Table] = []
        signed = np.split(frequencies, np.cumsum(sizes)[:-1])
        for table in [*signed, *map(_without_signs, signed)]:
            if len(table) == 0:
                self.bits.append(None)
                self.tables.append(None)
                continue
            if table.min() < 1 or int(table.sum(dtype=np.int64)) != FREQUENCY_TOTAL:
                raise ModelError("frequency tables: a table does not sum to 2^24 or holds a zero")
            self.bits.append(FREQUENCY_BITS - np.log2(table))
            self.tables.append(ans.table(table))

    def costs(self, symbols: Symbols, indices: Indices) -> npt.NDArray[np.float32]:
        """Bits that each of these symbols costs by the tables, escapes included, in their shape. See `encode`."""
        result = np.zeros(symbols.size, np.float32)
        for index, group in _groups(indices.ravel(), self.reach):
            table, reach, lowest = self.bits[index], int(self.reach[index]), int(self.lowest[index])
            assert table is not None  # only coded groups are listed
            values = symbols.ravel()[group]
            outside = np.abs(values) > reach
            result[group] = table[np.where(outside, reach + 1, values) - lowest] + 16 * outside
        return result.reshape(symbols.shape)

    def estimate(self, symbols: Symbols, indices: Indices) -> float:
        """Bits that these symbols cost in all."""
        return float(self.costs(symbols, indices).sum(dtype=np.float64))

    def prices(self) -> npt.NDArray[np.float32]:
        """What rate-distortion optimised rounding decides by: (64,) float32, bits.

        Entry i is what magnitude 1 costs more than 0 with scale index i, never negative; infinite where a table holds
        no symbols.
        """
        result = np.full(TABLES, np.inf, np.float32)
        for index, bits in enumerate(self.bits[:TABLES]):
            if bits is not None:
                zero = int(self.reach[index])
                result[index] = max((bits[zero + 1] + bits[zero - 1]) / 2 - bits[zero], 0)
        return result

    def encode(self, parts: Sequence[tuple[Symbols, Indices]]) -> bytes:
        """Encodes parts that will be decoded one after the other.

        parts: pairs of arrays of equal shape, symbols (-32767..32767, 0 wherever the reach is 0, not negative where the
        index is above 63) and indices (0..127).
        """
        runs = []
        for symbols, indices in parts:
            flat = symbols.ravel()
            escapes = []
            for index, group in _groups(indices.ravel(), self.reach):
                values, reach = flat[group], int(self.reach[index])
                if max(values.max(), -values.min()) > reach:
                    outside = np.abs(values) > reach
                    escapes.append(values[outside])
                    values = np.where(outside, np.int32(reach + 1), values)
                runs.append((values - self.lowest[index], self.tables[index]))
            if escapes:
                runs.append(((np.concatenate(escapes) + ESCAPE_TOP).astype(np.int32), ans.SIXTEEN_BITS))
        return ans.encode(runs)

    def decoder(self, data: bytes) -> Decoder:
        return Decoder(self, data)


class Decoder:
    """Decodes the parts that `Tables.encode` encoded, in the same order. Raises FormatError where data cannot be."""

    def __init__(self, tables: Tables, data: bytes):
        self._tables = tables
        self._stream = ans.Stream(data)

    def take(self, indices: Indices) -> Symbols:
        """The next part: symbols, int32, in the shape of its indices."""
        flat = np.zeros(indices.size, np.int32)
        reach_of = self._tables.reach
        escaped = []
        for index, group in _groups(indices.ravel(), reach_of):
            reach = int(reach_of[index])
            values = self._stream.take(self._tables.tables[index], len(group)) + self._tables.lowest[index]
            flat[group] = values
            if values.max() > reach:
                escaped.append(group[values > reach])
        if escaped:
            places = np.concatenate(escaped)
            flat[places] = self._stream.take(ans.SIXTEEN_BITS, len(places)) - ESCAPE_TOP
        return flat.reshape(indices.shape)

    def finish(self) -> None:
        """Raises FormatError unless everything was used."""
        self._stream.finish()


def _without_signs(table: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Frequencies of magnitudes from those of symbols."""
    reach = max(len(table) - 2, 0) // 2
    return np.concatenate([table[reach : reach + 1], table[reach + 1 : -1] + table[:reach][::-1], table[-1:]])


def _groups(indices: Indices, reach: npt.NDArray[np.int32]) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """(index, places) of every index that is coded, ascending; places ascending too."""
    order = np.argsort(indices, kind="stable")  # leaving out what is not coded takes longer, unless it is most of all
    bounds = np.searchsorted(indices[order], np.arange(len(reach) + 1, dtype=indices.dtype))
    return [(i, order[start:end]) for i, (start, end) in enumerate(pairwise(bounds)) if end > start and reach[i]]
