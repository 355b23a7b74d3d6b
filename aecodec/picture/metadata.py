"""What a file holds beside its samples: chunks for all that is kept, byte for byte, and what may be stripped."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from aecodec.picture.door import foreign
from aecodec.picture.inspect import Contents, Part, png
from aecodec.picture.inspect.tiff import DESCRIPTION
from aecodec.picture.names import (
    CHROMATICITIES,
    CICP,
    COLOUR,
    COMMENT,
    GAIN_VERSION,
    GAMMA,
    IPTC,
    MORE_XMP,
    PICTURE_INDEX,
    PNG_CHUNKS,
    RESOLUTION,
    SEGMENTS,
    TRAILING,
)
from aecodec.picture.types import Picture

FROM_PARTS = {  # names of parts that `inspect` finds, whose bytes a chunk holds as they are
    "extended XMP": MORE_XMP,
    "IPTC": IPTC,
    "comment": COMMENT,
    "gain map version": GAIN_VERSION,
    "segment": SEGMENTS,
}
SUB_EXIF = (34665, 34853, 40965)  # tags that lead to further EXIF: camera, GPS, interoperability
ORIENTATION, GPS = 0x112, 34853
INCH, CENTIMETRE, METRE = 1, 2, 3  # units of `dens`; 0: only the shape of the pixels


def of_contents(contents: Contents) -> dict[str, bytes]:
    """Chunks for what `inspect` has found in a file and an .aec file can hold, but for EXIF, ICC profile and XMP."""
    more: dict[str, bytes] = {}
    pngs = b""
    for part in contents.metadata:
        if chunk := FROM_PARTS.get(part.name):
            more[chunk] = more.get(chunk, b"") + part.data
        elif part.name in ("resolution", "pixel aspect"):
            more[RESOLUTION] = _resolution(contents.kind, part)
        elif part.name == "IPTC record":  # of a TIFF: without the frame that JPEG puts around it
            more.setdefault(
                IPTC, b"8BIM\x04\x04\0\0" + struct.pack(">I", part.size) + part.data + b"\0" * (part.size % 2)
            )
        elif part.name in png.HELD_CHUNKS:
            pngs += part.data
    if pngs:
        more[PNG_CHUNKS] = pngs
    if contents.colour is not None:
        if contents.colour.cicp is not None:
            more[CICP] = bytes(contents.colour.cicp)
        if contents.colour.gamma is not None:
            more[GAMMA] = struct.pack("<I", contents.colour.gamma)
        if contents.colour.chromaticities is not None:
            more[CHROMATICITIES] = struct.pack("<8I", *contents.colour.chromaticities)
    if contents.trailing is not None and contents.kind == "JPEG":
        more[TRAILING] = contents.trailing.data
        if index := contents.part("index of pictures"):
            more[PICTURE_INDEX] = index
    return more


def _resolution(kind: str, part: Part) -> bytes:
    if kind == "JPEG":
        unit, x, y = struct.unpack(">BHH", part.data)
    else:  # PNG and BMP: per metre
        x, y, unit = struct.unpack(">IIB", part.data)
        unit = METRE if unit else 0
    return struct.pack("<BII", unit, x, y)


def of_image(image: Image.Image) -> dict[str, bytes]:
    """Chunks for what Pillow tells of an image beside EXIF, ICC profile and XMP."""
    more: dict[str, bytes] = dict(image.info.get("aec_chunks", {}))
    if MORE_XMP not in more and RESOLUTION not in more and (dpi := image.info.get("dpi")):
        x, y = (round(float(value) * 10_000) for value in dpi)
        if 0 < x < 2**32 and 0 < y < 2**32:
            exact = x % 10_000 == 0 and y % 10_000 == 0
            metric = round(x / 254), round(y / 254)
            more[RESOLUTION] = struct.pack("<BII", *((INCH, x // 10_000, y // 10_000) if exact else (METRE, *metric)))
    comment = image.info.get("comment")
    if isinstance(comment, (str, bytes)) and comment and COMMENT not in more:
        more[COMMENT] = comment.encode() if isinstance(comment, str) else comment
    if not image.info.get("icc_profile") and "srgb" not in image.info and not any(name in more for name in COLOUR):
        gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
        colour = png.colour(
            None,
            False,
            False,
            round(gamma * 100_000) if gamma else None,
            tuple(round(value * 100_000) for value in chromaticities) if chromaticities else None,
        )
        if colour is not None and colour.gamma is not None:
            more[GAMMA] = struct.pack("<I", colour.gamma)
        if colour is not None and colour.chromaticities is not None:
            more[CHROMATICITIES] = struct.pack("<8I", *colour.chromaticities)
    return more


def dpi_of(more: Mapping[str, bytes]) -> tuple[float, float] | None:
    """Pixels per inch, if a resolution is held that tells it."""
    unit, x, y = struct.unpack("<BII", more[RESOLUTION]) if len(more.get(RESOLUTION, b"")) == 9 else (0, 0, 0)
    scale = {INCH: 1.0, CENTIMETRE: 2.54, METRE: 0.0254}.get(unit)
    return None if scale is None or not x or not y else (x * scale, y * scale)


def exif_of_image(image: Image.Image) -> bytes | None:
    """EXIF byte by byte as Pillow has it (with thumbnail and maker's notes), unless it was edited through Pillow."""
    raw = image.info.get("exif")
    with foreign("unreadable EXIF"):
        edited = image.getexif()
        if raw:
            read = Image.Exif()
            try:
                read.load(raw)
                same = dict(read) == dict(edited) and all(_sub_exif(read, t) == _sub_exif(edited, t) for t in SUB_EXIF)
            except Exception:  # what cannot be read was not edited
                same = True
            if same:
                return bytes(raw)
        if getattr(image, "tag_v2", None):  # Pillow gives all tags of a TIFF file
            if edited.bigtiff:  # EXIF never is one, and its parts would not be found in it: `inspect` tells of them
                edited.bigtiff = False
                for tag in set(SUB_EXIF) & set(edited):
                    del edited[tag]
            kept = Image.Exif()
            kept.load(edited.tobytes())
            for tag in set(kept) - DESCRIPTION:
                del kept[tag]
            edited = kept
        return edited.tobytes() if edited else None


def _sub_exif(exif: Image.Exif, tag: int) -> dict[int, str]:
    """By their texts, since 0/0, as cameras write it for what they do not know, equals nothing."""
    try:
        return {key: repr(value) for key, value in exif.get_ifd(tag).items()}
    except KeyError:  # Pillow before 13, where the camera's part holds no pointer to it
        return {}


class _Exif:
    """EXIF that is changed in place: everything else stays where it is, so that all offsets stay right."""

    def __init__(self, data: bytes):
        self.data = bytearray(data)
        self.start = 6 if data.startswith(b"Exif\0\0") else 0
        order = bytes(data[self.start : self.start + 4])
        if order not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self.order = "<" if order[:2] == b"II" else ">"

    def read(self, form: str, at: int) -> int:
        return int(struct.unpack_from(self.order + form, self.data, self.start + at)[0])

    def entries(self, at: int) -> list[int]:
        """Where the entries of a directory are."""
        return [at + 2 + 12 * k for k in range(self.read("H", at))]

    def entry(self, tag: int) -> int | None:
        """Where an entry of the first directory is."""
        return next((at for at in self.entries(self.read("I", 4)) if self.read("H", at) == tag), None)

    def remove(self, tag: int) -> None:
        """Takes an entry out of the first directory."""
        at, directory = self.entry(tag), self.read("I", 4)
        if at is None:
            return
        end = directory + 2 + 12 * len(self.entries(directory)) + 4  # of the directory, with the place of the next
        rest = self.data[self.start + at + 12 : self.start + end]
        self.data[self.start + at : self.start + end] = rest + bytes(12)
        count = self.read("H", directory) - 1
        struct.pack_into(self.order + "H", self.data, self.start + directory, count)


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def orientation_of(exif: bytes | None) -> int:
    """1 to 8; 1 if none is told."""
    try:
        parsed = _Exif(exif or b"")
        at = parsed.entry(ORIENTATION)
        value = parsed.read("H", at + 8) if at is not None else 1
    except (ValueError, struct.error):
        return 1
    return value if 1 <= value <= 8 else 1


def with_orientation(exif: bytes | None, value: int) -> bytes | None:
    """EXIF with another orientation; nothing else of it is touched."""
    if orientation_of(exif) == value:
        return exif
    try:
        parsed = _Exif(exif or b"")
        at = parsed.entry(ORIENTATION)
        if at is not None:
            struct.pack_into(parsed.order + "H", parsed.data, parsed.start + at + 8, value)
            return bytes(parsed.data)
    except (ValueError, struct.error):
        pass
    added = Image.Exif()
    with foreign("unreadable EXIF"):
        added.load(exif or b"")
        added[ORIENTATION] = value
        return added.tobytes()


def is_readable(exif: bytes) -> bool:
    """Whether it begins as EXIF has to."""
    try:
        _Exif(exif)
    except ValueError:
        return False
    return True


def lost_in_tags(exif: bytes) -> list[str]:
    """What of EXIF the tags of a TIFF file do not hold."""
    try:
        parsed = _Exif(exif)
        directory = parsed.read("I", 4)
        following = parsed.read("I", directory + 2 + 12 * len(parsed.entries(directory)))
    except (ValueError, struct.error):
        return ["EXIF that cannot be read"]
    return ["the thumbnail in the EXIF"] if following else []


def without_position(exif: bytes) -> bytes | None:
    """EXIF whose GPS directory is blanked and taken out; None if it cannot be read well enough to be sure."""
    try:
        parsed = _Exif(exif)
        at = parsed.entry(GPS)
        if at is not None:
            directory = parsed.read("I", at + 8)
            entries = parsed.entries(directory)
            for place in entries:
                size = SIZES.get(parsed.read("H", place + 2), 1) * parsed.read("I", place + 4)
                where = parsed.start + (parsed.read("I", place + 8) if size > 4 else place + 8)
                if where + size > len(parsed.data):
                    return None
                parsed.data[where : where + size] = bytes(size)
            length = 2 + 12 * len(entries)
            parsed.data[parsed.start + directory : parsed.start + directory + length] = bytes(length)
            parsed.remove(GPS)
    except (ValueError, struct.error):
        return None
    return bytes(parsed.data)


XMP_POSITION = re.compile(
    rb"""\s[\w.-]+:GPS\w+\s*=\s*("[^"]*"|'[^']*')|<([\w.-]+:GPS\w+)(\s[^>]*)?(/>|>.*?</\2\s*>)""", re.DOTALL
)
STRIPS = ("gps", "all")
DESCRIBING = (MORE_XMP, IPTC, COMMENT, PNG_CHUNKS, SEGMENTS)  # what tells of the picture, not how to show it


def strip(picture: Picture, what: str) -> tuple[Picture, list[str]]:
    """A picture without its position ("gps") or without all that describes it ("all"; the orientation, resolution and
    colours stay), and phrases for what had to go with it."""
    if what == "all":
        turned = orientation_of(picture.exif)
        more = {name: data for name, data in picture.more.items() if name not in (*DESCRIBING, TRAILING, PICTURE_INDEX)}
        exif = with_orientation(None, turned) if turned != 1 else None
        return replace(picture, exif=exif, xmp=None, more=more), []
    gone = []
    exif, xmp, more = picture.exif, picture.xmp, dict(picture.more)
    if exif and (exif := without_position(exif)) is None:
        gone.append("the EXIF, in which the position cannot be found for sure")
    if xmp and b"GPS" in (xmp := XMP_POSITION.sub(b"", xmp)):
        xmp = None
        gone.append("the XMP, in which the position cannot be found for sure")
    for name in (MORE_XMP, TRAILING):
        if name in more and (b"GPS" in more[name] or (name == TRAILING and b"ftyp" in more[name])):
            del more[name]
            more.pop(PICTURE_INDEX if name == TRAILING else name, None)
            gone.append(
                "what follows the JPEG, which may tell the position" if name == TRAILING else "the extended XMP"
            )
    if more.pop(SEGMENTS, None) is not None:
        gone.append("segments of the JPEG that may tell the position")
    return replace(picture, exif=exif or None, xmp=xmp or None, more=more), gone
