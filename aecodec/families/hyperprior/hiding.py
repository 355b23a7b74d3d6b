"""Signs that are not coded but follow from the parities of other symbols.

Of the symbols of a pass, those with the largest scales carry: their magnitudes are coded, their signs are hidden. The
decoder reads a sign off the parities of a few dozen symbols, the encoder changes some symbols by one so that all signs
come out right, where that costs least. A bit is saved for each sign, for a smaller loss: rounding all of a picture's
latents together is a better quantiser than rounding each (as trellis-coded quantisation is). One sign for the sum of a
group: Clare, Henry and Jung, "Sign data hiding", JCTVC-G271, 2011. Parities through a convolutional code, so that each
symbol can serve several signs, and the cheapest changes by dynamic programming: Filler, Judas and Fridrich,
"Minimizing additive distortion in steganography using syndrome-trellis codes", IEEE TIFS 6 (3), 2011.

Which symbols carry and which serve follows from the scale indices alone, so all can still be decoded in one go.
Arrays are those of a tile, flattened in the order row, column, channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aecodec.coding.tables import ESCAPE_TOP, TABLES, Indices
from aecodec.families.hyperprior.layers import first_pass_mask

# Chosen on held-out training crops (docs/adr/0010-hidden-signs.md). A symbol of scale index i counts
# min(max(i - 4, 0), 26), and one sign is hidden for every 78.
QUIET = 4
ACTIVITY_TOP = 26
ACTIVITY_OF_SIGN = 78
CHAIN = 32  # groups of a chain, which are decided together
# The row r of a group serves by parity CLASSES[r mod 4]: bit j of it is whether it counts for the sign of the group
# which is j groups further down the chain.
CLASSES = (0b1001, 0b1011, 0b1101, 0b1111)
FAR = np.float32(1e6)  # the cost of what must not be

Places = npt.NDArray[np.intp]
Passes = tuple[Places, Places]  # of one tile
Reals = npt.NDArray[np.float32]


def flatten(values: Tensor) -> npt.NDArray[Any]:
    """(B, M, h, w) to (B, N), in the order of channels_last memory, which it shares on the CPU."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1).cpu().numpy()


def unflatten(flat: npt.NDArray[Any], like: Tensor) -> Tensor:
    """What `flatten` flattened, on the device and in the shape of another tensor."""
    batch, channels, height, width = like.shape
    return torch.from_numpy(flat).view(batch, height, width, channels).permute(0, 3, 1, 2).to(like.device)


def sign_groups(index: Tensor) -> list[Passes]:
    """Which elements hide signs, from the scale indices of tiles (B, M, h, w): the groups of both passes of each tile.

    Groups are places (rows, groups), the first row of which are the carriers. Group g belongs to chain
    g mod (groups / length), its place in it is g div (groups / length), where length = min(CHAIN, groups).
    """
    first = flatten(first_pass_mask(index)[None])[0]
    result = []
    for indices in flatten(index.to(torch.uint8)):
        places = np.flatnonzero(indices > QUIET)
        of_first = first[places]
        result.append((_groups_of(places[of_first], indices), _groups_of(places[~of_first], indices)))
    return result


def _groups_of(places: Places, indices: Indices) -> Places:
    active = indices[places]
    count = int(np.minimum(active - QUIET, ACTIVITY_TOP).sum(dtype=np.int64)) // ACTIVITY_OF_SIGN
    if count == 0:
        return np.empty((1, 0), np.intp)
    count -= count % min(CHAIN, count)  # chains are whole
    rows = len(places) // count
    return places[np.argsort(~active, kind="stable")[: rows * count]].reshape(rows, count)


def tables_of(index: Tensor, groups: Sequence[Passes]) -> Tensor:
    """Which tables code symbols of these scale indices, (B, M, h, w) uint8: for carriers those without signs.

    groups: of each tile, here and below.
    """
    return _with_carriers(index.to(torch.uint8, copy=True), groups, lambda indices: indices + TABLES)


def without_signs(symbols: Tensor, groups: Sequence[Passes]) -> Tensor:
    """What is coded of symbols (B, M, h, w), which may be changed in place: of carriers the magnitudes."""
    return _with_carriers(symbols, groups, np.abs)


def _with_carriers(
    values: Tensor, groups: Sequence[Passes], changed: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Tensor:
    if not groups:
        return values
    flat = flatten(values)
    for tile, passes in zip(flat, groups, strict=True):
        for part in passes:
            tile[part[0]] = changed(tile[part[0]])
    return unflatten(flat, values)


def with_signs(coded: Tensor, groups: Sequence[Passes]) -> Tensor:
    """The symbols of which only this was coded; it may be changed in place."""
    if not groups:
        return coded
    flat = flatten(coded)
    for tile, passes in zip(flat, groups, strict=True):
        for part in passes:
            if part.size:
                tile[part[0][_syndrome(_odd(tile[part])) == 1]] *= -1
    return unflatten(flat, coded)


def count_hidden(symbols: Tensor, groups: Sequence[Passes]) -> Tensor:
    """How many signs need not be coded: (B,). symbols: (B, M, h, w)."""
    tiles = zip(flatten(symbols), groups, strict=True)
    return torch.tensor([sum(np.count_nonzero(tile[part[0]]) for part in passes) for tile, passes in tiles]).to(symbols)


def _chained(groups: npt.NDArray[Any]) -> tuple[int, int]:
    """Length and number of chains."""
    length = min(CHAIN, groups.shape[1])
    return length, groups.shape[1] // length


def _odd(symbols: Reals) -> npt.NDArray[np.uint8]:
    return (symbols.astype(np.int32) & 1).astype(np.uint8)


def _syndrome(odd: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The bits that the parities (rows, groups), 0 or 1, spell: (groups,)."""
    chained = np.zeros((4, *_chained(odd)), np.uint8)
    for number in range(min(4, len(odd))):
        chained[number] = np.bitwise_xor.reduce(odd[number::4]).reshape(chained.shape[1:])
    result = np.zeros_like(chained[0])
    for delay in range(4):
        for number, bits in enumerate(CLASSES):
            if bits >> delay & 1:
                result[delay:] ^= chained[number, : len(result) - delay]
    return result.reshape(-1)


def hide(symbols: Tensor, residual: Tensor, shift: Tensor, groups: Sequence[Places]) -> Tensor:
    """Symbols of a pass, changed so that `with_signs` finds the signs of all carriers.

    symbols: (B, M, h, w), what `rounding.quantise` made of residual and shift; changed in place. groups: of each tile.
    A change costs as much as the residual is away from where rounding would have changed; magnitudes change by one,
    those of carriers not from or to 0.
    """
    flat = flatten(symbols)
    tiles = zip(flat, flatten(residual), flatten(shift), groups, strict=True)
    plans = sorted((_Plan(*tile) for tile in tiles if tile[3].size), key=lambda plan: len(plan.care))
    for _, same in groupby(plans, key=lambda plan: len(plan.care)):  # chains of equal length are decided together
        batch = list(same)
        least, wrong, care = (
            np.concatenate([getattr(plan, name) for plan in batch], -1) for name in ("least", "wrong", "care")
        )
        bounds = np.cumsum([plan.care.shape[1] for plan in batch])[:-1]
        for plan, classes in zip(batch, np.split(_cheapest_changes(least, wrong, care), bounds, 1), strict=True):
            plan.carry_out(classes.reshape(-1))
    return unflatten(flat, symbols)


class _Plan:
    """What could be changed in a tile and what it costs: least (4, length, chains), of each class in each group; wrong,
    care (length, chains), whether a sign would come out wrong, and whether it matters, its magnitude not being 0."""

    def __init__(self, symbols: Reals, residual: Reals, shift: Reals, groups: Places):
        self._symbols, self._groups = symbols, groups
        self._signed = residual.take(groups)
        self._magnitude = np.abs(symbols.take(groups))
        # From 0, where rounding changes to what is below, to 1, where it changes to what is above.
        down = np.minimum(np.abs(self._signed), ESCAPE_TOP) - shift.take(groups) - self._magnitude
        up = 1 - down
        down[self._magnitude == 0] = FAR
        down[0, self._magnitude[0] == 1] = FAR
        up[0, self._magnitude[0] == 0] = FAR
        self._upward = up < down
        self._cost = np.minimum(up, down)

        chains = _chained(groups)
        least = np.full((4, groups.shape[1]), FAR)  # two changes in a class undo each other: only the cheapest counts
        for number in range(min(4, len(groups))):
            least[number] = self._cost[number::4].min(0)
        self.least = least.reshape(4, *chains)
        self.care = (self._magnitude[0] > 0).reshape(chains)
        self.wrong = (_syndrome(_odd(self._magnitude)) != (self._signed[0] < 0)).reshape(chains)

    def carry_out(self, classes: npt.NDArray[np.uint8]) -> None:
        """classes: (groups,), bit c: whether class c changes."""
        for number in range(min(4, len(self._groups))):
            (chosen,) = np.nonzero(classes >> number & 1)
            row = number + 4 * self._cost[number::4, chosen].argmin(0)
            self._magnitude[row, chosen] += np.where(self._upward[row, chosen], 1, -1)
        self._symbols[self._groups] = np.copysign(self._magnitude, self._signed)


def _cheapest_changes(least: Reals, wrong: npt.NDArray[np.bool_], care: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Which classes to change in each group, so that each bit that matters changes if it is wrong: Viterbi's algorithm.

    least: (4, length, chains), what a change costs. wrong, care: (length, chains). Returns (length, chains), bit c of
    it: whether class c changes.

    The state before a group is the 3 bits by which earlier changes affect this group's sign and the next two: the
    lowest, s, and the others, a. A group's changes are even or odd in number (t), which decides the lowest and the
    highest bit of their sum, and one of 4 combinations (v) in the bits between: 8 in all, each of which two sets of
    classes give, complements of each other.
    """
    _, length, chains = least.shape
    total = least.sum(0)
    pairs = np.stack([np.zeros_like(total), *(least[0] + least[number] for number in (1, 2, 3))])
    costs = np.stack([pairs, least])  # [t, v]: classes 0 and v, or v alone
    complement = total - costs < costs
    complement[0, 0] = False
    costs = np.where(complement, total - costs, costs)

    costs = costs.reshape(2, 2, 2, length, chains)  # v in bits
    state = np.full((2, 4, chains), FAR)  # [s, a]
    state[0, 0] = 0
    best_s = np.empty((length, 4, chains), np.bool_)  # where the sign does not matter: the better s for each a
    best_a = np.empty((length, 2, 2, 2, chains), np.uint8)  # for each t and b, in bits
    for group in range(length):
        # From s to t: the sign changes by s ^ t, which has to be `wrong`.
        np.less(state[1], state[0], out=best_s[group])
        entered = np.where(care[group], np.where(wrong[group], state[::-1], state), np.minimum(state[0], state[1]))
        before = entered[:, :, None, None]
        own = costs[:, :, :, group]
        reached = own + before[:, 0], own[:, :, ::-1] + before[:, 1]  # from a to b leads v = a ^ b
        reached_from_2 = own[:, ::-1] + before[:, 2], own[:, ::-1, ::-1] + before[:, 3]
        low, high = np.minimum(*reached), np.minimum(*reached_from_2)
        upper = high < low
        best_a[group] = np.where(upper, 2 + (reached_from_2[1] < reached_from_2[0]), reached[1] < reached[0])
        # b in bits is b1 b0: the next s is b0, the next a is t b1.
        state = np.minimum(low, high).transpose(2, 0, 1, 3).reshape(2, 4, chains)

    chain = np.arange(chains)
    s, a = np.divmod(state.reshape(8, chains).argmin(0), 4)
    t, v = np.empty((2, length, chains), np.intp)
    for group in range(length - 1, -1, -1):
        t[group], b = a >> 1, (a & 1) << 1 | s
        a = best_a[group, t[group], b >> 1, b & 1, chain]
        s = np.where(care[group], t[group] ^ wrong[group], best_s[group, a, chain])
        v[group] = a ^ b
    sets = np.array([[0, 0b0011, 0b0101, 0b1001], [1, 2, 4, 8]], np.uint8)[t, v]
    return np.where(complement[t, v, np.arange(length)[:, None], chain], 15 - sets, sets)
