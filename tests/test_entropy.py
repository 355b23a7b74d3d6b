"""The promise: coded size is the model's estimate, and what was coded comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_decoder import Ans

from aecodec.coding.ans import FREQUENCY_TOTAL
from aecodec.coding.tables import ESCAPE_TOP, Tables
from aecodec.errors import FormatError, ModelError
from aecodec.families.hyperprior.fitting import PRIORS, fit_tables, frequencies_of


@pytest.fixture(scope="module")
def tables() -> Tables:
    frequencies, reach = fit_tables(None)
    return Tables(frequencies.numpy(), reach.numpy())


def draw(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols as the tables expect them, and their indices."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 64, shape).astype(np.uint8)
    scale = 0.11 * 2 ** (indices / 6)
    return np.rint(rng.laplace(0, scale * np.sqrt(0.5))).astype(np.int32), indices


def test_coded_size_is_the_estimate(tables: Tables) -> None:
    for shape, seed in (((3, 5), 0), ((32, 24, 24), 1), ((64, 40, 50), 2)):
        symbols, indices = draw(shape, seed)
        estimate = tables.estimate(symbols, indices) / 8
        size = len(tables.encode([(symbols, indices)]))
        assert abs(size - estimate) <= 0.01 * estimate + 16


def test_parts_come_back_in_order(tables: Tables) -> None:
    parts = [draw((4, 3, 3), 1), draw((16, 6, 6), 2), draw((1,), 3)]
    decoder = tables.decoder(tables.encode(parts))
    for symbols, indices in parts:
        np.testing.assert_array_equal(decoder.take(indices), symbols)
    decoder.finish()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-ESCAPE_TOP, ESCAPE_TOP), st.integers(0, 63)), max_size=60))
def test_every_symbol_can_be_coded_with_every_scale(pairs: list[tuple[int, int]]) -> None:
    tables = Tables(*(t.numpy() for t in fit_tables(None)))
    symbols = np.array([s for s, _ in pairs], np.int32)
    indices = np.array([i for _, i in pairs], np.uint8)
    decoder = tables.decoder(tables.encode([(symbols, indices)]))
    np.testing.assert_array_equal(decoder.take(indices), symbols)
    decoder.finish()


def test_the_coder_uses_the_stored_frequencies_exactly(tables: Tables) -> None:
    """A plain-Python coder with the stored frequencies reads what constriction wrote: nothing was rescaled."""
    symbols, indices = draw((400,), 5)
    frequencies, reach = (t.numpy() for t in fit_tables(None))
    starts = []
    at = 0
    for r in reach:
        starts.append([0, *np.cumsum(frequencies[at : at + 2 * r + 2]).tolist()])
        at += 2 * r + 2
    ans = Ans(tables.encode([(symbols, indices)]))
    order = np.argsort(indices, kind="stable")
    got = [ans.symbol(starts[indices[place]]) - int(reach[indices[place]]) for place in order]
    assert got == symbols[order].tolist()


def test_tables_of_reach_0_cost_nothing() -> None:
    frequencies, reach = (t.numpy().copy() for t in fit_tables(None))
    first = 2 * int(reach[0]) + 2
    reach[0] = 0
    short = Tables(frequencies[first:], reach)
    symbols, indices = draw((50, 50), 6)
    symbols[indices == 0] = 0
    data = short.encode([(symbols, indices)])
    coded = indices != 0
    assert data == short.encode([(symbols[coded], indices[coded])])
    np.testing.assert_array_equal(short.decoder(data).take(indices), symbols)
    assert np.isinf(short.prices()[0])


def test_bad_tables_are_refused() -> None:
    frequencies, reach = (t.numpy() for t in fit_tables(None))
    Tables(frequencies, reach)
    for damage in (lambda f, r: f.__setitem__(3, 0), lambda f, r: f.__setitem__(3, f[3] + 1)):
        broken = frequencies.copy()
        damage(broken, reach)
        with pytest.raises(ModelError):
            Tables(broken, reach)
    with pytest.raises(ModelError, match="sizes"):
        Tables(frequencies[:-1], reach)


def test_damaged_data_is_an_error_or_other_symbols_but_never_a_crash(tables: Tables) -> None:
    symbols, indices = draw((12, 8, 8), 7)
    data = tables.encode([(symbols, indices)])
    rng = np.random.default_rng(0)
    complaints = 0
    for cut in range(0, len(data), 37):
        broken = bytearray(data[: len(data) - cut])
        broken[rng.integers(0, len(broken))] ^= 1 << int(rng.integers(0, 8))
        try:
            decoder = tables.decoder(bytes(broken))
            assert decoder.take(indices).shape == symbols.shape
            decoder.finish()
        except FormatError:
            complaints += 1
    assert complaints > 0


def test_frequencies_sum_to_the_total_and_hold_no_zero() -> None:
    for prior in PRIORS:
        frequencies = frequencies_of(prior)
        assert frequencies.sum(dtype=np.int64) == FREQUENCY_TOTAL
        assert frequencies.min() >= 1
        np.testing.assert_allclose(frequencies / FREQUENCY_TOTAL, prior, atol=2e-4)
