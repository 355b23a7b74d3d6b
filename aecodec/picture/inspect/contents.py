"""What a picture file holds, as its own bytes tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Names of the parts that an .aec file holds byte for byte; metadata.py says in which chunks.
HELD = frozenset(
    {"EXIF", "ICC profile", "XMP", "extended XMP", "IPTC", "IPTC record", "comment", "resolution", "pixel aspect"}
    | {"index of pictures", "gain map version", "segment", "rendering intent"}
    | {
        "text",
        "time of change",
        "significant bits",
        "histogram",
        "suggested palette",
        "background colour",
        "offset",
        "scale",
        "calibration",
    }
    | {"stereo layout", "mastering display", "content light level"}
)
SINGLE = frozenset({"EXIF", "XMP", "extended XMP", "ICC profile", "resolution", "index of pictures"})  # held once


UNREAD = "a picture in a format that aecodec does not read"
RAW = "raw data of a camera's sensor, not yet a picture"


class DamagedError(Exception):
    """The bytes end too early or contradict each other; the message says where."""


@dataclass(frozen=True)
class Part:
    """Something in a file beside its picture. name: what it is, in words. size: bytes. data: the bytes themselves, if
    the part is one that can be held."""

    name: str
    size: int
    data: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} byte{'s' * (self.size != 1)})" if self.size else self.name


@dataclass(frozen=True)
class Colour:
    """How a file says what its samples mean, beside an ICC profile.

    cicp: code points of ITU-T H.273: primaries, transfer, matrix, full range. gamma: PNG's, in hundred-thousandths of
    the exponent of encoding. chromaticities: PNG's, of white, red, green, blue, x and y, in hundred-thousandths.
    """

    cicp: tuple[int, int, int, int] | None = None
    gamma: int | None = None
    chromaticities: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.cicp:
            return "colour by code points " + "/".join(map(str, self.cicp))
        return "colour by " + " and ".join(
            name
            for name, value in (("gamma", self.gamma), ("chromaticities", self.chromaticities))
            if value is not None
        )


SRGB_CICP = ((1, 13), (2, 2), (2, 13), (1, 2))  # primaries and transfer that mean sRGB, or say nothing


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    kind: its format ("JPEG", "DNG"). width, height: pixels, 0 if not told. frames: pictures that follow each other
    (animations, pages). bit_depth: bits of the deepest sample. samples: "grey", "RGB", "palette", "CMYK", "Lab" or
    another. floating: samples are floating point.
    colour: if the file tells colours other than sRGB, and not by an ICC profile.
    auxiliaries: further pictures: gain maps, depth maps, thumbnails, layers. trailing: what follows the picture.
    metadata: parts with their bytes. unknown: parts that this module does not know.
    oddities: phrases for what is not as it should be, though nothing is lost by it.
    refusal: why the file is no plain picture at all, if it is not. unread: it is a whole picture then, but of a kind
    that nothing here reads.
    losses: phrases for what an .aec file does not hold of it.
    """

    kind: str
    width: int = 0
    height: int = 0
    frames: int = 1
    bit_depth: int = 8
    samples: str = "RGB"
    alpha: bool = False
    floating: bool = False
    colour: Colour | None = None
    auxiliaries: tuple[Part, ...] = ()
    trailing: Part | None = None
    metadata: tuple[Part, ...] = ()
    unknown: tuple[Part, ...] = ()
    oddities: tuple[str, ...] = ()
    refusal: str | None = None
    unread: bool = False
    unheld: tuple[str, ...] = ()  # further losses, found by the reader of the format

    @property
    def losses(self) -> tuple[str, ...]:
        """Phrases for what an .aec file does not hold of this one."""
        losses = [f"{self.frames - 1} further frame{'s' * (self.frames > 2)}"] if self.frames > 1 else []
        losses += [self.depth_phrase] if self.depth_phrase else []
        if self.samples in ("CMYK", "Lab"):
            losses.append(f"{self.samples} samples")
        losses += self.unheld
        losses += [str(part) for part in self.auxiliaries]
        if self.trailing and self.kind != "JPEG":  # what follows a JPEG is held, whatever it is
            losses.append(str(self.trailing))
        losses += [str(part) for part in self.metadata if part.name not in HELD]
        losses += [f"second {part}" for part in self._seconds()]
        return (*losses, *(f"unknown part {part}" for part in self.unknown))

    @property
    def depth_phrase(self) -> str:
        """That samples have more than 8 bits; nothing if they have not."""
        if self.floating:
            return f"{self.bit_depth}-bit floating point samples"
        return f"{self.bit_depth} bits a sample" if self.bit_depth > 8 else ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why an .aec file cannot take the place of this one; empty if it can."""
        return (*((self.refusal,) if self.refusal else ()), *self.losses)

    @property
    def holdable(self) -> bool:
        """Whether every part of the file is known, and an .aec file holds it."""
        return not self.reasons

    def _seconds(self) -> Iterator[Part]:
        """Parts of which there can be one only, where another one came before that says something else."""
        first: dict[str, bytes] = {}
        for part in self.metadata:
            if part.name in SINGLE and first.setdefault(part.name, part.data) != part.data:
                yield part

    def part(self, name: str) -> bytes | None:
        """The bytes of the first part of the metadata with this name."""
        return next((part.data for part in self.metadata if part.name == name), None)


class Reader:
    """Bytes of a file with a place in them; what lies outside raises DamagedError. order: "little" or "big"."""

    def __init__(self, data: bytes | memoryview, order: str = "big"):
        self.data = memoryview(data)
        self.order = order

    def __len__(self) -> int:
        return len(self.data)

    def bytes(self, at: int, count: int) -> bytes:
        if at < 0 or count < 0 or at + count > len(self.data):
            raise DamagedError(f"{count} bytes at {at} are outside of the {len(self.data)} there are")
        return bytes(self.data[at : at + count])

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.bytes(at, size), "little" if self.order == "little" else "big")
