"""Pictures to Pillow images, and to files with all that the format can hold of them."""

from __future__ import annotations

import io
import warnings
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from aecodec.errors import AecodecError, PictureWarning
from aecodec.picture import colour, metadata, names, writing
from aecodec.picture.deep import eight_bits
from aecodec.picture.door import can_open_heif, foreign
from aecodec.picture.types import Picture

CHUNKS, DEPTH, DEEP = "aec_chunks", "aec_depth", "aec_samples"  # in the `info` of images
# What is written, and how: without loss, as far as the format can, and JPEG, AVIF and HEIC so that it is hard to see.
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # a third of the time of the default for 3 % more bytes
    "TIFF": {},
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
    "JPEG2000": {"irreversible": False},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
    "BMP": {},
    "PPM": {},
    "TGA": {},
    "SGI": {},
}
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
LOSSY = {"AVIF": "AVIF", "HEIF": "HEIC"}
OF_TRAILING = (names.PICTURE_INDEX, names.GAIN_VERSION)  # of no use without what they tell of
OPAQUE_ONLY = ("JPEG", "BMP", "PPM")
HOLDS = {  # what of a picture files of a format hold; see `names.NAMES`
    "PNG": ("exif", "iccp", "xmpd", names.RESOLUTION, names.COMMENT, names.PNG_CHUNKS, *names.COLOUR),
    "TIFF": ("exif", "iccp", "xmpd", names.RESOLUTION, names.IPTC),
    "WEBP": ("exif", "iccp", "xmpd"),
    "JPEG": (
        *("exif", "iccp", "xmpd", names.MORE_XMP, names.IPTC, names.RESOLUTION, names.COMMENT),
        *(names.TRAILING, names.PICTURE_INDEX, names.GAIN_VERSION, names.SEGMENTS),
    ),
    "AVIF": ("exif", "iccp", "xmpd"),
    "HEIF": ("exif", "iccp", "xmpd", names.CICP),
}


def to_image(picture: Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA with the metadata in its `info`: EXIF, ICC profile, XMP and resolution
    where Pillow has them, and all other chunks in `info["aec_chunks"]`.

    Pillow has no RGB of more than 8 bits: then the samples are rounded to 8, and the whole ones are in
    `info["aec_samples"]`, see `Picture.samples`, with their bits in `info["aec_depth"]`.
    """
    deep = picture.depth > 8
    shown = eight_bits(picture.colour, picture.depth) if deep else picture.colour
    image: Image.Image = Image.fromarray(shown)
    image.format = "AEC"  # tells it from images that are made of it
    if picture.alpha is not None:
        alpha = eight_bits(picture.alpha, picture.depth) if deep else picture.alpha
        image.putalpha(Image.fromarray(alpha))
    for key, value in (("exif", picture.exif), ("icc_profile", picture.icc), ("xmp", picture.xmp)):
        if value is not None:
            image.info[key] = value
    if dpi := metadata.dpi_of(picture.more):
        image.info["dpi"] = dpi
    if picture.more:
        image.info[CHUNKS] = dict(picture.more)
    if deep:
        image.info[DEEP], image.info[DEPTH] = picture.samples, picture.depth
    return image


def format_of(suffix: str) -> str:
    """Pillow's name of the format in which files with this suffix are written. Raises AecodecError if there is none."""
    Image.preinit()  # the usual formats; all others take longer to load
    kind = Image.EXTENSION.get(suffix.lower()) or Image.registered_extensions().get(suffix.lower())
    if kind == "MPO":
        kind = "JPEG"
    if suffix.lower() in HEIF_SUFFIXES and can_open_heif():
        kind = "HEIF"  # which Pillow need not know
    elif kind not in FORMATS or kind not in Image.SAVE:
        hint = "; it would lose colours or size" if kind in ("GIF", "ICO") else ""
        raise AecodecError(f"cannot write files that end in {suffix!r}{hint}; use .png, .webp, .tif or .jpg")
    return kind


def save(image: Image.Image, file: BinaryIO, suffix: str, dither: bool = False) -> None:
    """Writes an image in the format of a file name's suffix, with its metadata where the format can hold them.

    A PictureWarning names, in one line, what is left out. PNG and TIFF are written with 16 bits where there are more
    than 8, other formats with 8. dither: with noise of one level then, instead of bands.
    Raises AecodecError if the format cannot hold the picture, or is not one that is written.
    """
    if left_out := write(image, file, suffix, dither):
        warnings.warn(f"left out of {suffix}: {', '.join(left_out)}", PictureWarning, stacklevel=2)


def write(image: Image.Image, file: BinaryIO, suffix: str, dither: bool = False) -> list[str]:
    """What `save` does, without warnings: returns phrases for what is left out."""
    kind = format_of(suffix)
    chunks: dict[str, bytes] = dict(image.info.get(CHUNKS, {}))
    for key, name in (("exif", "exif"), ("icc_profile", "iccp"), ("xmp", "xmpd")):
        value = image.info.get(key)
        if value:
            chunks[name] = value.encode() if isinstance(value, str) else bytes(value)
    left_out: list[str] = []
    if kind in OPAQUE_ONLY and image.mode in ("LA", "RGBA"):
        if np.asarray(image.getchannel("A")).min() < 255:
            raise AecodecError(f"{kind} cannot hold the alpha channel of this picture; use .png or .webp")
        image = _with_info(image.convert(image.mode[:-1]), image)
    if not _writes_colour(kind, chunks) and (profile := colour.profile_of(chunks)):
        chunks = {name: data for name, data in chunks.items() if name not in names.COLOUR} | {"iccp": profile}
    told = names.describe(chunks)
    left_out += [
        told[name]
        for name in chunks
        if name not in HOLDS.get(kind, ()) and not (name in OF_TRAILING and names.TRAILING in chunks)
    ]
    if kind == "TIFF" and "exif" in chunks:
        left_out += metadata.lost_in_tags(chunks["exif"])
    samples = image.info.get(DEEP)
    if samples is not None and (kind not in ("PNG", "TIFF") or samples.shape[:2] != image.size[::-1]):
        left_out.append(f"{image.info[DEPTH]} bits a sample, of which 8 are")
        if dither and samples.shape[:2] == image.size[::-1]:
            shown = Image.fromarray(eight_bits(samples, image.info[DEPTH], dither=True)).convert(image.mode)
            image = _with_info(shown, image)
        samples = None
    if kind in LOSSY:
        left_out.append(f"what {LOSSY[kind]} loses, coded again")
    with foreign(f"cannot be written as {kind}"):
        data = _encoded(image, kind, chunks, samples, left_out)
    file.write(data)
    return left_out


def _writes_colour(kind: str, chunks: dict[str, bytes]) -> bool:
    """Whether files of this format say themselves what these chunks say of colours, if they say anything."""
    if not any(name in chunks for name in names.COLOUR):
        return True
    return kind == "PNG" or (kind == "HEIF" and names.CICP in chunks)


def _with_info(image: Image.Image, source: Image.Image) -> Image.Image:
    image.info = dict(source.info)
    return image


def _encoded(
    image: Image.Image, kind: str, chunks: dict[str, bytes], samples: np.ndarray | None, left_out: list[str]
) -> bytes:
    plain = Image.Image()._new(image.im)  # without `info`, of which encoders take what they like
    options = dict(FORMATS[kind])
    buffer = io.BytesIO()
    if kind == "PNG":
        if samples is not None:
            return writing.png(writing.deep_png(samples, image.info[DEPTH]), chunks)
        plain.save(buffer, kind, **options)
        return writing.png(buffer.getvalue(), chunks)
    if kind == "JPEG":
        plain.save(buffer, kind, **options)
        return writing.jpeg(buffer.getvalue(), chunks, left_out)
    if kind == "TIFF":
        whole = np.asarray(image) if samples is None else samples
        return writing.tiff(whole, 8 if samples is None else image.info[DEPTH], chunks)
    if kind == "HEIF" and names.CICP in chunks:
        primaries, transfer, matrix, full = chunks[names.CICP]
        options |= {
            "color_primaries": primaries,
            "transfer_characteristics": transfer,
            "matrix_coefficients": matrix or 1,  # RGB itself cannot be subsampled
            "full_range_flag": full,
        }
    for key, name in (("exif", "exif"), ("icc_profile", "iccp"), ("xmp", "xmpd")):
        if name in chunks and name in HOLDS.get(kind, ()):
            options[key] = chunks[name]
    if kind == "HEIF":
        import pillow_heif

        encoder = pillow_heif.from_pillow(plain)
        encoder.info.update({key: options.pop(key, None) for key in ("exif", "icc_profile", "xmp")})
        encoder.save(buffer, **options)
    else:
        plain.save(buffer, kind, **options)
    return buffer.getvalue()
