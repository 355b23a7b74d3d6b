"""Rate control: the quality that gives the size or the fidelity which is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

from aecodec.container import QUALITY_MAX, QUALITY_MIN
from aecodec.errors import OutOfReachError
from aecodec.options import EncodeOptions

SIZE_SLACK = 0.02  # a file may be smaller than asked for by this part of the size
PSNR_SLACK = 0.1  # dB by which a picture may be better than asked for
SCORE_SLACK = 0.5  # points of SSIMULACRA2 by which it may be
FIRST_GUESS = 5000  # hundredths of quality
# Starts the search; what is measured corrects it. Typical of photographs, per hundredth of quality:
LOG_SIZE_SLOPE = 0.0004
PSNR_SLOPE = 0.0022  # dB
SCORE_SLOPE = 0.008  # points
SECANT_PROBES = 10  # after so many the interval is halved, which always ends


def choose(
    options: EncodeOptions,
    pixels: int,
    encode: Callable[[int], bytes],
    psnr: Callable[[bytes], float],
    score: Callable[[bytes], float],
    plain: Callable[[int], bytes] | None = None,
) -> bytes:
    """The file that is asked for.

    pixels: of the picture. encode: hundredths of quality to a file. psnr: a file to its PSNR in dB. score: to its
    SSIMULACRA2.
    A size is met within 2 % from below, or from further below if quality 100 does not need it; a PSNR within 0.1 dB, a
    score within half a point from above, or further if quality 1 is better than that. Raises OutOfReachError if no
    quality meets it.
    """
    if options.score is not None:
        return _reaching(options.score, "points of SSIMULACRA2", SCORE_SLACK, SCORE_SLOPE, encode, score)
    if options.psnr is not None:
        return _reaching(options.psnr, "dB", PSNR_SLACK, PSNR_SLOPE, encode, psnr)
    size = options.size if options.bpp is None else int(options.bpp * pixels / 8)
    data = encode(options.first_quality) if size is None else _within(size, encode)
    if size is not None and plain is not None and len(data) < (1 - SIZE_SLACK) * size and psnr(data) < math.inf:
        data = max(data, _within(size, plain), key=psnr)
    if options.min_psnr is not None and psnr(data) < options.min_psnr:
        return _reaching(options.min_psnr, "dB", PSNR_SLACK, PSNR_SLOPE, encode, psnr)
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


def _reaching(
    least: float,
    unit: str,
    slack: float,
    slope: float,
    encode: Callable[[int], bytes],
    measure: Callable[[bytes], float],
) -> bytes:
    """The smallest file of at least so much."""
    below, above = _search(encode, measure, least, least + slack, slope)
    if above is None:
        assert below is not None
        raise OutOfReachError(f"does not reach {least:g} {unit}: {measure(below):.2f} {unit} at quality 100")
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
