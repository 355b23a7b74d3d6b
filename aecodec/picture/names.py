"""What the chunks of an .aec file are called and hold, beside its tiles; needs neither numpy nor Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from aecodec import container
from aecodec.errors import FormatError

# Ancillary chunks of an .aec file, by what they hold; docs/format/container.md says how.
MORE_XMP, IPTC, RESOLUTION, COMMENT, PNG_CHUNKS = "xmpe", "iptc", "dens", "note", "pngc"
CICP, GAMMA, CHROMATICITIES = "cicp", "gama", "chrm"
TRAILING, PICTURE_INDEX, GAIN_VERSION, SEGMENTS = "tail", "mpfi", "gmvs", "segs"
PREVIEW, DENOISED, NEUTRAL = "prvw", "dnse", "neut"
NAMES = {
    "ALPH": "alpha",
    "DPTH": "bits of the samples",
    "PTCH": "blocks without loss",
    "exif": "EXIF",
    "iccp": "ICC profile",
    "xmpd": "XMP",
    MORE_XMP: "extended XMP",
    IPTC: "IPTC",
    RESOLUTION: "resolution",
    COMMENT: "comment",
    PNG_CHUNKS: "PNG chunks",
    CICP: "colour code points",
    GAMMA: "gamma",
    CHROMATICITIES: "chromaticities",
    TRAILING: "what follows the JPEG",
    PICTURE_INDEX: "index of pictures",
    GAIN_VERSION: "gain map version",
    SEGMENTS: "segments of a JPEG",
    PREVIEW: "preview",
    DENOISED: "denoised",
    NEUTRAL: "red, green and blue are equal",
}
COLOUR = (CICP, GAMMA, CHROMATICITIES)
EIGHT = 8
DEPTHS = range(9, 17)


def depth_of(chunks: Mapping[str, bytes]) -> int:
    """Bits of the samples. Raises FormatError if they are impossible."""
    data = chunks.get(container.DEPTH)
    if data is None:
        return EIGHT
    if len(data) != 1 or data[0] not in DEPTHS:
        raise FormatError(
            f"chunk {container.DEPTH} holds {data[:4].hex()}; expected one number, {DEPTHS[0]} to {DEPTHS[-1]}"
        )
    return data[0]


def describe(chunks: Mapping[str, bytes]) -> dict[str, str]:
    """What the chunks of an .aec file hold, in words, by their types."""
    names = {name: NAMES.get(name, "not known to this version") for name in chunks}
    if TRAILING in chunks:
        xmp = chunks.get("xmpd", b"") + chunks.get(MORE_XMP, b"")
        from aecodec.picture.inspect import jpeg

        names[TRAILING] = jpeg.name_of_trailing(chunks[TRAILING], xmp, PICTURE_INDEX in chunks)
    if SEGMENTS in chunks:
        from aecodec.picture.inspect import jpeg
        from aecodec.picture.inspect.contents import DamagedError

        with suppress(DamagedError):
            names[SEGMENTS] = ", ".join(dict.fromkeys(jpeg.names_of_segments(chunks[SEGMENTS])))
    if len(chunks.get(DENOISED, b"")) == 2:
        names[DENOISED] += f", sigma {int.from_bytes(chunks[DENOISED], 'little') / 100:g} of 255"
    if CICP in chunks:
        names[CICP] += " " + "/".join(map(str, chunks[CICP]))
    return names
