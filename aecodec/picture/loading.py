"""Pictures as people have them, files, Pillow images and arrays, to samples with metadata."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from aecodec.container import MAGIC, check_limit
from aecodec.errors import AecodecError, OddityWarning, PictureWarning
from aecodec.picture import metadata
from aecodec.picture.alpha import fill_hidden
from aecodec.picture.deep import Deep, deep_samples
from aecodec.picture.door import UnreadError, can_open_heif, foreign, open_image
from aecodec.picture.inspect import Contents, inspect, jpeg, png, tiff
from aecodec.picture.turning import turned_from
from aecodec.picture.types import Picture, Pixels, Samples, Source

OPAQUE = {"1": "L", "L": "L", "RGB": "RGB", "RGBX": "RGB", "P": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
SAMPLES_ROWS = 1024  # rows of a picture that are taken from Pillow at a time
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def load(source: Source, pixel_limit: int | None = None) -> Picture:
    """Reads a picture from a file name, an open binary file, a Pillow image or an array; one that is read passes.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, or float32 from 0 to 1, which become 16 bits.
    What happens to each kind of picture is in docs/pictures.md; a PictureWarning names, in one line, what of a file is
    not held, an OddityWarning what is odd about it, if that is all. The EXIF orientation stays in the metadata, pixels
    are not turned.
    pixel_limit: of files, checked before any pixel is decoded.
    Raises AecodecError if the source is not one plain picture or is damaged, LimitError if it has more pixels than the
    limit or Pillow holds it for a decompression bomb, OSError if it cannot be read.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return fill_hidden(_from_array(source))
    found = read(source, pixel_limit)
    phrases = [f"not kept: {', '.join(found.losses)}"] if found.losses else []
    phrases += [f"kept as it is: {', '.join(found.oddities)}"] if found.oddities else []
    if phrases:
        warnings.warn("; ".join(phrases), PictureWarning if found.losses else OddityWarning, stacklevel=2)
    return found.picture


class Found(NamedTuple):
    """What has been read: the picture, phrases for what is not held of its source, and for what is odd about it."""

    picture: Picture
    losses: list[str]
    oddities: list[str]


def read(source: str | Path | BinaryIO | Image.Image, pixel_limit: int | None = None) -> Found:
    """What `load` does, without warnings."""
    oddities: list[str] = []
    if isinstance(source, Image.Image):
        with foreign():
            picture, losses = _from_image(source)
        if getattr(source, "is_animated", False):
            losses.insert(0, "further frames")
    else:
        picture, losses, oddities = _from_file(source, pixel_limit)
    if picture.exif and not metadata.is_readable(picture.exif):
        oddities.append("EXIF that cannot be read")
    return Found(fill_hidden(picture), losses, oddities)


def _from_array(array: npt.NDArray[np.generic]) -> Picture:
    depth = {"uint8": 8, "uint16": 16, "float32": 16}.get(array.dtype.name)
    if depth is None or array.ndim not in (2, 3) or 0 in array.shape:
        raise AecodecError(
            f"array of {array.dtype} and shape {array.shape}; expected uint8, uint16 or float32, "
            "(H, W, 3), (H, W) or (H, W, 4)"
        )
    samples: Samples = array
    if array.dtype == np.float32:
        if not 0 <= float(samples.min()) <= float(samples.max()) <= 1:  # and not for NaN
            raise AecodecError("array of float32 with values outside of 0 to 1; divide samples of 8 bits by 255")
        samples = np.round(samples * 65535).astype(np.uint16)
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    if samples.ndim == 2 or samples.shape[2] == 3:
        return Picture(samples, depth=depth)
    if samples.shape[2] == 4:
        return Picture(samples[:, :, :3], samples[:, :, 3], depth=depth)
    raise AecodecError(f"array of shape {array.shape}; expected 1, 3 or 4 channels")


def _from_file(source: str | Path | BinaryIO, pixel_limit: int | None) -> Found:
    try:
        if isinstance(source, (str, Path)):
            data = Path(source).read_bytes()
        else:
            if source.seekable():
                source.seek(0)  # as Pillow does
            data = source.read()
    except ValueError as error:  # a name with NUL, a closed file
        raise AecodecError(f"not readable ({error})") from error
    if data.startswith(MAGIC):
        if "AEC" not in Image.OPEN:
            raise AecodecError("an .aec file already; after `import aecodec.pillow` it is read as a picture")
        with foreign():
            return Found(*_from_aec(open_image(data, ("AEC",))), [])
    contents = inspect(data)
    if contents.refusal:
        told = contents.kind == "unknown" or contents.kind in contents.refusal
        raise AecodecError(contents.refusal if told else f"{contents.kind}: {contents.refusal}")
    if contents.kind == "TIFF":
        data = tiff.classic(data) or data
    with foreign():
        if contents.kind == "HEIC" and not can_open_heif():
            raise UnreadError("HEIC needs pip install pillow-heif")
        image = _opened(data, contents)
        if pixel_limit is not None:
            check_limit(image.width, image.height, pixel_limit)
        losses = list(contents.losses)
        deep = deep_samples(data, contents)
        if deep is not None:
            losses = [loss for loss in losses if loss != contents.depth_phrase]
        picture, more_losses = _decoded(image, contents, deep)
    losses += [loss for loss in more_losses if loss not in losses]
    return Found(picture, losses, list(contents.oddities))


def _from_aec(image: Image.Image) -> tuple[Picture, list[str]]:
    picture, losses = _from_image(image)
    if "aec_samples" in image.info:
        samples, depth = image.info["aec_samples"], image.info["aec_depth"]
        colour = samples if samples.ndim == 2 else samples[..., :3] if samples.shape[2] > 2 else samples[..., 0]
        alpha = samples[..., -1] if samples.ndim == 3 and samples.shape[2] in (2, 4) else None
        picture = replace(picture, colour=colour, alpha=alpha, depth=depth)
    return picture, losses


def _opened(data: bytes, contents: Contents) -> Image.Image:
    essential = data
    if contents.kind == "PNG":
        essential = png.essential(data)  # else long texts or a broken profile are errors
    elif contents.kind == "JPEG":
        essential = _with_end(data, contents)
    elif contents.kind == "TIFF" and contents.bit_depth == 16 and contents.samples == "grey":
        # Pillow knows no grey with alpha of 16 bits; what it opens instead has the same tags.
        essential = tiff.pairs(data) or next(iter(tiff.planes(data)), data)
    try:
        return open_image(essential)
    except UnidentifiedImageError as error:
        raise _unread(contents) from error


def _unread(contents: Contents) -> UnreadError:
    what = ", ".join(contents.losses)
    return UnreadError(f"no decoder reads this {contents.kind}" + (f": {what}" if what else ""))


def _decoded(image: Image.Image, contents: Contents, deep: Deep | None) -> tuple[Picture, list[str]]:
    """The picture in a file by what `inspect` says of it: Pillow gives the samples, the file its metadata."""
    exif = contents.part("EXIF")
    if contents.kind == "TIFF":
        exif = metadata.exif_of_image(image)
    icc = contents.part("ICC profile")
    if deep is None:
        image.info["icc_profile"] = icc  # a PNG was stripped of it; CMYK is converted by it
        picture, losses = _from_image(image, contents)
        if image.mode in ("CMYK", "LAB"):
            icc = None  # it does not describe the result
    else:
        picture, losses = Picture(*deep[:2], depth=deep[2]), []
    told = turned = metadata.orientation_of(exif)
    if contents.kind in ("HEIC", "TIFF"):  # their decoders turn the picture upright
        turned = 1
    elif contents.kind == "AVIF":  # its decoder tells the turn of the boxes
        turned = image.getexif().get(metadata.ORIENTATION, 1)
    picture = turned_from(picture, turned, told)
    return (
        Picture(
            picture.colour,
            picture.alpha,
            exif or None,
            icc or None,
            contents.part("XMP") or None,
            metadata.of_contents(contents),
            picture.depth,
        ),
        losses,
    )


def _with_end(data: bytes, contents: Contents) -> bytes:
    """The JPEG with an end marker, if that is all that it lacks; raises AecodecError if it was cut before."""
    if jpeg.NO_END not in contents.oddities:
        return data
    # Where the coded data are all there, it makes no difference what follows them.
    ends = [data + more + jpeg.END for more in (b"", b"\x5a" * 64)]
    one, other = (np.asarray(open_image(end, ("JPEG",))) for end in ends)
    if not np.array_equal(one, other):
        raise AecodecError("damaged picture (it is cut off)")
    return ends[0]


def _from_image(image: Image.Image, told: Contents | None = None) -> tuple[Picture, list[str]]:
    """told: what is in the file of it, depth and colours among it, if it was inspected."""
    if 0 in image.size:
        raise AecodecError("the picture has no pixels")
    losses = []
    cut = ";16" in str(getattr(image, "tile", ""))  # of 16-bit RGB, Pillow itself keeps the upper 8 bits
    image.load()
    mode, icc, xmp = image.mode, image.info.get("icc_profile"), image.info.get("xmp")
    if icc is not None and not isinstance(icc, bytes):
        raise AecodecError(f"an ICC profile that is a {type(icc).__name__}; expected bytes")
    alpha: Samples | None = None
    depth = 8
    colour: Samples
    if mode in SIXTEEN_BITS or (mode == "I" and _fits_16_bits(image)):
        colour, depth, cut = np.asarray(image).astype(np.uint16), 16, False
        if "transparency" in image.info:
            alpha = np.where(colour == image.info["transparency"], 0, 65535).astype(np.uint16)
    elif mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        whole = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        alpha = np.asarray(whole.getchannel("A"))
        colour = _samples(whole.convert("L" if mode in ("1", "L", "LA", "La") else "RGB"))
    elif mode in ("CMYK", "LAB"):
        colour, icc = _samples(_to_rgb(image, icc)), None
        losses.append(f"{'Lab' if mode == 'LAB' else mode} samples")
    elif mode not in OPAQUE:
        if told:
            raise _unread(told)
        raise UnreadError(f"pictures of Pillow mode {mode} are not supported; convert it to RGB or L first")
    else:
        colour = _samples(image if mode == OPAQUE[mode] else image.convert(OPAQUE[mode]))
    if cut and not told:
        losses.append("16 bits a sample")
    if told:
        return Picture(colour, alpha, depth=depth), losses
    if isinstance(xmp, str):
        xmp = xmp.encode()
    more = metadata.of_image(image)
    return Picture(colour, alpha, metadata.exif_of_image(image), icc or None, xmp or None, more, depth), losses


def _fits_16_bits(image: Image.Image) -> bool:
    samples = np.asarray(image)
    return bool(samples.min() >= 0 and samples.max() < 2**16)


def _samples(image: Image.Image) -> Pixels:
    """np.asarray of an L or RGB image, some rows at a time: all at once, Pillow holds the picture twice more."""
    result: Pixels = np.empty((image.height, image.width, 3)[: 3 if image.mode == "RGB" else 2], np.uint8)
    for top in range(0, image.height, SAMPLES_ROWS):
        bottom = min(top + SAMPLES_ROWS, image.height)
        result[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return result


def _to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """CMYK or Lab to sRGB, through the picture's profile if it has one; the profile does not describe the result."""
    if icc and image.mode == "CMYK":
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile says nothing: convert as if there were none
    return image.convert("RGB")
