"""The promise: hidden signs come back, for the least change of the symbols that hide them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from aecodec.codec import Codec
from aecodec.coding.tables import ESCAPE_TOP, TABLES
from aecodec.families.hyperprior.hiding import (
    CHAIN,
    _cheapest_changes,
    _syndrome,
    count_hidden,
    hide,
    sign_groups,
    tables_of,
    with_signs,
    without_signs,
)
from aecodec.families.hyperprior.layers import first_pass_mask
from aecodec.families.hyperprior.rounding import quantise, shifts

WORTH = torch.tensor([20.0])


def draw(shape: tuple[int, ...], seed: int, low: int = 0, high: int = 64) -> tuple[Tensor, Tensor]:
    """Residuals and scale indices of (B, M, h, w), in channels_last memory as the network's are."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(low, high, shape, generator=generator).float()
    residual = torch.randn(shape, generator=generator) * 0.11 * 2 ** (index / 6)
    layout = torch.channels_last
    return residual.contiguous(memory_format=layout), index.contiguous(memory_format=layout)


def hidden(residual: Tensor, index: Tensor, prices: Tensor) -> tuple[Tensor, Tensor]:
    """Symbols before and after both passes hid their signs."""
    shift = shifts(index, prices, WORTH.expand(len(residual)))
    plain, groups = quantise(residual, shift), sign_groups(index)
    symbols = plain.clone()
    for number in range(2):
        symbols = hide(symbols, residual, shift, [passes[number] for passes in groups])
    return plain, symbols


@pytest.mark.parametrize("shape", [(1, 24, 5, 7), (3, 40, 16, 16), (2, 4, 2, 2), (2, 320, 8, 8)])
def test_signs_come_back(codec: Codec, shape: tuple[int, ...]) -> None:
    residual, index = draw(shape, seed=shape[1])
    plain, symbols = hidden(residual, index, codec.model.family.prices)
    groups = sign_groups(index)
    assert ((symbols - plain).abs() <= 1).all()
    assert ((symbols == 0) | (symbols.sign() == residual.sign())).all()
    coded, tables = without_signs(symbols.clone(), groups), tables_of(index, groups)
    carriers = tables >= TABLES
    assert torch.equal(coded[~carriers], symbols[~carriers])
    assert torch.equal(coded[carriers], symbols[carriers].abs())
    assert torch.equal(tables % TABLES, index.to(torch.uint8))
    assert torch.equal(symbols[carriers] == 0, plain[carriers] == 0)
    assert torch.equal(count_hidden(symbols, groups), (carriers & (symbols != 0)).sum((1, 2, 3)).float())
    assert torch.equal(with_signs(coded, groups), symbols)
    alone = [hidden(residual[b : b + 1], index[b : b + 1], codec.model.family.prices)[1] for b in range(len(residual))]
    assert torch.equal(torch.cat(alone), symbols)


def test_passes_hide_on_their_own(codec: Codec) -> None:
    """The second pass is decided when the first cannot be changed any more."""
    _, index = draw((1, 64, 12, 12), seed=1)
    mask = first_pass_mask(index)
    first, second = sign_groups(index)[0]
    for places, members in ((first, mask), (second, ~mask)):
        flat = members.permute(1, 2, 0).reshape(-1).numpy()
        assert flat[places].all()
        assert len(np.unique(places)) == places.size
        levels = index.permute(0, 2, 3, 1).reshape(-1).numpy()[places]
        assert levels[0].min() >= levels[1:].max()  # carriers are those of the largest scales
        assert levels.min() > 4
    assert first.shape[1] % CHAIN == 0


def test_a_tile_in_which_little_happens_hides_nothing() -> None:
    index = torch.full((1, 8, 4, 4), 4.0)
    ((first, second),) = sign_groups(index)
    assert first.size == second.size == 0
    index[0, 0, 0, 0] = 63  # an activity of 26, of 78 for a sign
    assert all(places.size == 0 for places in sign_groups(index)[0])
    groups = sign_groups(index)
    symbols = torch.ones_like(index)
    assert torch.equal(with_signs(without_signs(symbols, groups), groups), symbols)
    assert int(tables_of(index, groups).max()) < TABLES


def signs_changed(classes: np.ndarray) -> np.ndarray:
    """Which signs change with the parities of these classes: (length, chains), bits, to the same of 0 and 1."""
    bits = (classes.reshape(-1) >> np.arange(4, dtype=np.uint8)[:, None] & 1).astype(np.uint8)
    return _syndrome(bits).reshape(classes.shape)


@pytest.mark.parametrize(("length", "chains"), [(1, 1), (2, 1), (3, 1), (CHAIN, 7)])
def test_changes_are_right_and_cost_as_little_as_possible(length: int, chains: int) -> None:
    """Short chains against every possible change of them."""
    rng = np.random.default_rng(length)
    for _ in range(40):
        least = rng.exponential(1, (4, length, chains)).astype(np.float32)
        wrong, care = rng.random((length, chains)) < 0.5, rng.random((length, chains)) < 0.8
        classes = _cheapest_changes(least, wrong, care)
        assert (signs_changed(classes) == wrong)[care].all()

        def cost(classes: np.ndarray, least: np.ndarray = least) -> float:
            return float((least * (classes >> np.arange(4)[:, None, None] & 1)).sum())

        if length < 4:
            every = (np.array(sets, np.uint8)[:, None] for sets in product(range(16), repeat=length))
            best = min(cost(sets) for sets in every if (signs_changed(sets) == wrong)[care].all())
            assert cost(classes) == pytest.approx(best, abs=1e-4)


def test_the_largest_symbols_stay_within_what_can_be_coded(codec: Codec) -> None:
    residual, index = draw((1, 40, 8, 8), seed=9, low=30)
    residual *= 1e6
    plain, symbols = hidden(residual, index, codec.model.family.prices)
    assert plain.abs().max() == symbols.abs().max() == ESCAPE_TOP
    groups = sign_groups(index)
    assert torch.equal(with_signs(without_signs(symbols.clone(), groups), groups), symbols)
