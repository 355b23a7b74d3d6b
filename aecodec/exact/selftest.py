"""Whether this machine computes what the format needs: known sums and known bytes, tried when a model is loaded."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import torch

from aecodec.coding import ans
from aecodec.errors import AecodecError
from aecodec.exact.layers import ACTIVATION_TOP, SUM_LIMIT, integer_conv2d, powers_of_two

CHANNELS, SIDE, SYMBOLS = 32, 8, 2000
LAYER_CRC, CODED_CRC = 0x77015989, 0x29F23D8C  # of the results of a layer and of the bytes of the coder


def layer(device: str) -> int:
    """CRC-32 of what an integer layer with sums close to 2^24 gives."""
    k = torch.arange(CHANNELS * CHANNELS * 9, dtype=torch.int64)
    weight = ((k * 7919) % 255 - 127).view(CHANNELS, CHANNELS, 3, 3)
    x = ((torch.arange(CHANNELS * SIDE * SIDE) * 104729) % 256).view(1, CHANNELS, SIDE, SIDE)
    room = SUM_LIMIT - 1 - ACTIVATION_TOP * weight.abs().sum((1, 2, 3))
    step = powers_of_two(-(torch.arange(CHANNELS) % 17))
    x, weight, room, step = (v.to(device, torch.float32) for v in (x, weight, room, step))
    results = integer_conv2d(x, weight, room, step, ACTIVATION_TOP)
    return zlib.crc32(results.to(torch.uint8).cpu().contiguous().numpy().tobytes())


def coded() -> int:
    """CRC-32 of what the entropy coder makes of two thousand symbols, or 0 if they do not come back."""
    frequencies = np.array([1, 2**20, 2**23, 2**22 - 5, 2**22 - 2**20 + 4], np.int32)
    table = ans.table(frequencies)
    symbols = (np.arange(SYMBOLS) * 7919 % 9973 % 5).astype(np.int32)
    data = ans.encode([(symbols, table), (symbols * 13000, ans.SIXTEEN_BITS)])
    stream = ans.Stream(data)
    back = stream.take(table, SYMBOLS), stream.take(ans.SIXTEEN_BITS, SYMBOLS)
    return zlib.crc32(data) if np.array_equal(back[0] * 13000, back[1]) and np.array_equal(back[0], symbols) else 0


@cache
def check(device: str) -> None:
    """Raises AecodecError if integer layers on this device or the entropy coder give other results than where the
    format was made: pictures would be decoded wrongly without a word. Takes a few milliseconds, once."""
    for what, found, expected in (("integer layers", layer(device), LAYER_CRC), ("entropy coder", coded(), CODED_CRC)):
        if found != expected:
            raise AecodecError(
                f"the {what} of this installation give other results on {device} than they must "
                f"({found:08x} instead of {expected:08x}); another version of torch or constriction may not"
            )
