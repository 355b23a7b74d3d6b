"""Rate control: the quality that gives the size or the fidelity which is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aecodec.container import QUALITY_MAX, QUALITY_MIN
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from aecodec.picture import Pixels

DEFAULT_QUALITY = 50.0
DEFAULT_EFFORT = 1  # steps of the encoder's search
SIZE_SLACK = 0.02  # a file may be smaller than asked for by this part of the size
PSNR_SLACK = 0.1  # dB by which a picture may be better than asked for
FIRST_GUESS = 5000  # hundredths of quality
# Starts the search; what is measured corrects it. Typical of photographs, per hundredth of quality:
LOG_SIZE_SLOPE = 0.0004
PSNR_SLOPE = 0.0022  # dB
SECANT_PROBES = 10  # after so many the interval is halved, which always ends
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class OutOfReachError(AecodecError):
    """No quality gives this picture the size or the fidelity that was asked for."""


@dataclass(frozen=True)
class Goal:
    """What a file shall be like: at most one of the first four; nothing is `DEFAULT_QUALITY`.

    quality: 1..100. size: bytes of the file, at most; bpp: the same as bits per pixel. psnr: dB, at least. min_psnr: dB
    below which no file falls: where one would, the quality is raised, even beyond `size` or `bpp`.
    Raises AecodecError if these contradict each other or are out of range.
    """

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None
    min_psnr: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        rivals = [name for name in given if name != "min_psnr"]
        if len(rivals) > 1:
            raise AecodecError(f"{' and '.join(rivals)} contradict each other; ask for one of them")
        for name, value in given.items():
            if name == "quality":
                hundredths(value)
            elif not 0 < value < math.inf:
                raise AecodecError(f"{name} {value}; expected more than 0")

    @property
    def needs_search(self) -> bool:
        return any(wish is not None for wish in (self.bpp, self.size, self.psnr, self.min_psnr))


def hundredths(quality: float) -> int:
    """Quality as it is stored. Raises AecodecError unless it is 1 to 100."""
    if not 1 <= quality <= 100:
        raise AecodecError(f"quality {quality}; expected 1 to 100")
    return min(max(round(100 * quality), QUALITY_MIN), QUALITY_MAX)


def choose(goal: Goal, pixels: int, encode: Callable[[int], bytes], fidelity: Callable[[bytes], float]) -> bytes:
    """The file that meets a goal.

    pixels: of the picture. encode: hundredths of quality to a file. fidelity: a file to its PSNR in dB.
    A size is met within 2 % from below, or from further below if quality 100 does not need it; a PSNR within 0.1 dB
    from above, or further if quality 1 is better than that. Raises AecodecError if no quality meets it.
    """
    if goal.psnr is not None:
        return _reaching(goal.psnr, encode, fidelity)
    size = goal.size if goal.bpp is None else int(goal.bpp * pixels / 8)
    if size is not None:
        data = _within(size, encode)
    else:
        data = encode(hundredths(DEFAULT_QUALITY if goal.quality is None else goal.quality))
    if goal.min_psnr is not None and fidelity(data) < goal.min_psnr:
        return _reaching(goal.min_psnr, encode, fidelity)
    return data


def _within(size: int, encode: Callable[[int], bytes]) -> bytes:
    """The largest file of at most `size` bytes."""

    def measure(data: bytes) -> float:
        return math.log(len(data))

    bottom, top = math.log(max(size, 1) * (1 - SIZE_SLACK)), math.log(max(size, 1))
    below, above = _search(encode, measure, bottom, top, LOG_SIZE_SLOPE)
    if below is None:
        assert above is not None  # one of them there is
        raise OutOfReachError(f"does not fit into {size} bytes: {len(above)} at quality 1, metadata included")
    return below


def _reaching(psnr: float, encode: Callable[[int], bytes], fidelity: Callable[[bytes], float]) -> bytes:
    """The smallest file of at least `psnr` dB."""
    below, above = _search(encode, fidelity, psnr, psnr + PSNR_SLACK, PSNR_SLOPE)
    if above is None:
        assert below is not None
        raise OutOfReachError(f"does not reach {psnr:g} dB: {fidelity(below):.2f} dB at quality 100")
    return above


def _search(
    encode: Callable[[int], bytes], measure: Callable[[bytes], float], bottom: float, top: float, slope: float
) -> tuple[bytes | None, bytes | None]:
    """Looks for a file whose measure, which rises with quality, is within bottom..top.

    Returns it twice if there is one. Otherwise the files of the two neighbouring hundredths between which the measure
    leaps over the interval; None for a side on which there is no quality.
    """
    aim = (bottom + top) / 2
    low, high = QUALITY_MIN - 1, QUALITY_MAX + 1
    below: bytes | None = None
    above: bytes | None = None
    at, before = FIRST_GUESS, None
    for probe in range(1, 100):
        data = encode(at)
        value = measure(data)
        if bottom <= value <= top:
            return data, data
        if value < bottom:
            low, below = at, data
        else:
            high, above = at, data
        if high - low <= 1:
            break
        if before is not None and (rise := (value - before[1]) / (at - before[0])) > 0:
            slope = rise
        before = at, value
        if probe < SECANT_PROBES and math.isfinite(value):
            at = min(max(at + round((aim - value) / slope), low + 1), high - 1)
        else:
            at = (low + high) // 2
    return below, above


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio over all samples of two arrays of equal shape, dB; infinite if they are equal."""
    step = max(1, 2**22 // a[0].size)  # rows at a time, for the sake of memory
    squares = 0
    for top in range(0, len(a), step):
        difference = a[top : top + step].astype("int32") - b[top : top + step]
        squares += int((difference * difference).sum(dtype="int64"))
    return 10 * math.log10(255**2 * a.size / squares) if squares else math.inf


def parse_size(text: str) -> int:
    """Bytes of a size such as "200kB", "1.5 MB", "64KiB" or "5000". Raises AecodecError if it is none."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(k|m|g|ki|mi|gi|)b?", text.strip().lower())
    if match is None:
        raise AecodecError(f"{text!r} is no size; write 200kB, 1.5MB, 64KiB or a number of bytes")
    return int(float(match[1]) * UNITS[match[2]])
