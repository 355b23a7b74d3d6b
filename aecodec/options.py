"""What an encoder can be asked for: one frozen value, parsed and checked once, built by everything that compresses.

A new option is a field here (and its name in `EncodeArguments`): the API, the command line, the Pillow plugin, archives
and numcodecs take it from `EncodeOptions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isqrt
from numbers import Real
from typing import Any, TypedDict

from aecodec.container import MAX_TILE_PIXELS, QUALITY_MAX, QUALITY_MIN, TILE_UNIT
from aecodec.errors import AecodecError

TARGETS = ("quality", "bpp", "size", "psnr", "score")  # of which one can be met
DEFAULT_QUALITY = 50.0
DEFAULT_EFFORT = 1  # steps of the encoder's search
EFFORT_MAX = 100  # steps; more than 16 bring next to nothing
TILE_MAX = isqrt(MAX_TILE_PIXELS)
TUNES = ("visual", "psnr")
PREVIEWS = range(16, 1025)  # pixels of a side
ESTIMATED = 0.0  # of `denoise`
NOISE_MAX = 100.0  # levels
OF_THE_CODEC = ("device", "model", "pixel_limit", "threads", "precision")
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_size(text: str) -> int:
    """Bytes of a size such as "200kB", "1.5 MB", "64KiB" or "5000". Raises AecodecError if it is none."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(k|m|g|ki|mi|gi|)b?", text.strip().lower())
    if match is None:
        raise AecodecError(f"{text!r} is no size; write 200kB, 1.5MB, 64KiB or a number of bytes")
    return int(float(match[1]) * UNITS[match[2]])


def hundredths(quality: float) -> int:
    """Quality as it is stored. Raises AecodecError unless it is 1 to 100."""
    if not 1 <= quality <= 100:
        raise AecodecError(f"quality {quality}; expected 1 to 100")
    return min(max(round(100 * quality), QUALITY_MIN), QUALITY_MAX)


def parse_tune(text: str) -> str:
    """A name in TUNES. Raises AecodecError if it is none."""
    if text not in TUNES:
        raise AecodecError(f"tune {text!r}; expected {' or '.join(TUNES)}")
    return text


def parse_noise(text: str) -> float:
    """Levels, or `ESTIMATED` for "auto". Raises ValueError if it is no number."""
    return ESTIMATED if text == "auto" else float(text)


def _option(default: Any, parse: Any, help: str, metavar: str | None = None, flags: tuple[str, ...] = ()) -> Any:
    """A field. parse: from what people write to its value. help, metavar, flags: of the command line."""
    metadata = {"parse": parse, "help": help, "metavar": metavar, "flags": flags}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class EncodeOptions:
    """What is asked of a file. At most one of quality, bpp, size, psnr and score; none of them is
    `DEFAULT_QUALITY`.

    quality: 1..100; fractions count, to a hundredth.
    bpp, size: bits per pixel or bytes of the file, at most; it is filled to 98 % if quality 100 needs so much.
    psnr: dB of the decoded 8-bit RGB samples, at least; at most 0.1 dB more if quality 1 is not better.
    score: SSIMULACRA2 of the decoded picture, at least: 90 visually lossless at a normal distance, 80 very good, 70
    good, 50 fair; at most half a point more if quality 1 is not better.
    min_psnr: dB below which no file falls: the quality is raised where one would, beyond `bpp` or `size` too.
    effort: steps of a search for better latents, 0..100. With tune "psnr" one saves about 5 % of the size at equal PSNR
    and takes twice the time of none (with "visual" eight times); 8 save about 4 % more in seven times the time of one,
    more than 16 nothing more. Decompressing takes the same time as ever.
    tune: which of the default models codes, if none is given: "visual", made for what the eye sees, or "psnr", made for
    small squared errors; None: "psnr" where a `psnr` is asked for, otherwise "visual".
    denoise: standard deviation, in levels of 255 and at most 100, of noise that is not to be coded; "auto", or 0: what
    the picture seems to have. Only the encoder knows of it, and there is no search then, which would bring noise back.
    Not with psnr, score and min_psnr, which measure the noise, too. None: pictures are coded as they are.
    preview: side in pixels, 16 to 1024, at most, of a small picture that is put into files of pictures that are at
    least twice as large, for programs that show many; None: none. One of 256 takes about 10 kB.
    tile: side in pixels of the tiles of pictures that are larger than one, a multiple of 64; 0: no tiles, without which
    pictures of up to four megapixels can do; None: 1024 for pictures of more than two megapixels.

    Raises AecodecError if these contradict each other or are out of range.
    """

    quality: float | None = _option(None, float, "1 to 100; 50 if nothing is asked for.", "1..100", ("-q",))
    bpp: float | None = _option(None, float, "Bits per pixel of each file, at most.", "BITS")
    size: int | None = _option(None, parse_size, "Size of each file, at most: 200kB, 1.5MB, 64KiB.", "SIZE")
    psnr: float | None = _option(None, float, "PSNR (RGB) of each picture, at least.", "DB")
    min_psnr: float | None = _option(None, float, "Raise the quality where a picture would be worse.", "DB")
    effort: int = _option(DEFAULT_EFFORT, int, "Steps of a search for smaller files; 0 is fastest.", "STEPS")
    tile: int | None = _option(None, int, "Side of the tiles of large pictures; 0: none.", "PIXELS")
    score: float | None = _option(
        None,
        float,
        "SSIMULACRA2 of each picture, at least: 90 visually lossless, 80 very good, 70 good, 50 fair.",
        "0..100",
    )
    denoise: float | None = _option(
        None, parse_noise, "Leave out noise of this standard deviation, in levels of 255.", "auto|SIGMA"
    )
    preview: int | None = _option(None, int, "Put in a small picture of so many pixels each way, at most.", "PIXELS")
    tune: str | None = _option(
        None, parse_tune, "What files are made for: the eye, or small squared errors.", "|".join(TUNES)
    )

    def __post_init__(self) -> None:
        for name, told in ((one.name, one.metadata) for one in fields(self)):
            value = getattr(self, name)
            if value is not None and told["parse"] is not parse_tune and not _is_number(value):
                raise AecodecError(f"{name} {value!r} is no number; EncodeOptions.parse takes text")
        asked = {name: value for name in TARGETS if (value := getattr(self, name)) is not None}
        if len(asked) > 1:
            raise AecodecError(f"{' and '.join(asked)} contradict each other; ask for one of them")
        for name, value in {**asked, "min_psnr": self.min_psnr}.items():
            if name == "quality":
                hundredths(value)
            elif value is not None and not 0 < value < math.inf:
                raise AecodecError(f"{name} {value}; expected more than 0")
        if self.score is not None and self.score >= 100:
            raise AecodecError(f"score {self.score}; expected less than 100, which only equal pictures have")
        if self.tune is not None:
            parse_tune(self.tune)
        if not 0 <= self.effort <= EFFORT_MAX or self.effort != int(self.effort):
            raise AecodecError(f"effort {self.effort}; expected a whole number, 0 to {EFFORT_MAX}")
        if self.denoise is not None:
            if not 0 <= self.denoise <= NOISE_MAX:
                raise AecodecError(f"denoise {self.denoise}; expected auto, or 0 to {NOISE_MAX:g} levels")
            if measured := [name for name in ("psnr", "score", "min_psnr") if getattr(self, name) is not None]:
                raise AecodecError(f"denoise and {measured[0]}, which measures the noise, too, contradict each other")
        if self.preview is not None and self.preview not in PREVIEWS:
            raise AecodecError(f"preview {self.preview}; expected {PREVIEWS[0]} to {PREVIEWS[-1]} pixels")
        if self.tile is not None and (not 0 <= self.tile <= TILE_MAX or self.tile % TILE_UNIT):
            raise AecodecError(f"tile {self.tile}; expected a multiple of {TILE_UNIT} up to {TILE_MAX}, or 0")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> EncodeOptions:
        """From names and values, which may be text as people write it; None is as if it were not there.

        Raises AecodecError if a name or a value makes no sense.
        """
        known = {field.name: field.metadata["parse"] for field in fields(cls)}
        parsed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                if name in OF_THE_CODEC:
                    raise AecodecError(f"{name} is given once for all: aecodec.Codec({name}=...).compress(...)")
                raise AecodecError(f"there is no option {name!r}; there are {', '.join(known)}")
            if isinstance(value, str):
                try:
                    value = known[name](value)
                except ValueError:
                    raise AecodecError(f"{name} {value!r} is no number") from None
            elif value is not None and not _is_number(value):
                raise AecodecError(f"{name} {value!r} is no number")
            if value is not None:
                parsed[name] = _whole(name, value) if known[name] in (int, parse_size) else value
        return cls(**parsed)

    @classmethod
    def of_each(
        cls, count: int, common: Mapping[str, Any], each: Sequence[EncodeOptions] | None
    ) -> Sequence[EncodeOptions]:
        """The options of so many pictures. common: of all, as `parse` takes them; each: of each its own, instead.

        Raises AecodecError if both are given, or not as many as there are pictures.
        """
        if isinstance(common.get("quality"), (list, tuple)):
            raise AecodecError(
                "quality is that of all pictures; for one of each: each=[EncodeOptions(quality=40), ...]"
            )
        if each is None:
            return [cls.parse(common)] * count
        if len(each) != count or any(value is not None for value in common.values()):
            raise AecodecError(f"{len(each)} options for {count} pictures, and none beside them, are expected")
        for number, options in enumerate(each):
            if not isinstance(options, cls):
                raise AecodecError(f"options {number}: {options!r}; expected EncodeOptions(...)")
        return each

    @property
    def has_target(self) -> bool:
        """Whether anything is asked for that the quality follows from."""
        return any(getattr(self, name) is not None for name in TARGETS)

    @property
    def needs_search(self) -> bool:
        """Whether the quality has to be looked for."""
        return any(target is not None for target in (self.bpp, self.size, self.psnr, self.score, self.min_psnr))

    @property
    def tuned_for(self) -> str:
        """Which of TUNES the file is made for."""
        return self.tune or ("visual" if self.psnr is None else "psnr")

    @property
    def first_quality(self) -> int:
        """The quality that is asked for, in hundredths; that of nothing else is the default."""
        return hundredths(DEFAULT_QUALITY if self.quality is None else self.quality)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _whole(name: str, value: Any) -> int:
    if not math.isfinite(value) or value != int(value):
        raise AecodecError(f"{name} {value}; expected a whole number")
    return int(value)


class EncodeArguments(TypedDict, total=False):
    """The same as keyword arguments beside `quality`, for type checkers; values may be text as people write it."""

    bpp: float | str | None
    size: int | str | None
    psnr: float | str | None
    score: float | str | None
    min_psnr: float | str | None
    tune: str | None
    effort: int | str
    tile: int | str | None
    denoise: float | str | None
    preview: int | str | None
