"""Pictures as people have them: Pillow images, arrays and files to 8-bit samples with metadata."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from aecodec.errors import AecodecError, LimitError, PictureWarning
from aecodec.picture.metadata import exif_of
from aecodec.picture.types import Picture, Pixels, Source

with contextlib.suppress(ImportError):  # HEIC, where pillow-heif is installed; Pillow itself reads AVIF
    import pillow_heif

    pillow_heif.register_heif_opener()

OPAQUE = {"1": "L", "L": "L", "RGB": "RGB", "RGBX": "RGB", "P": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
SAMPLES_ROWS = 1024  # rows of a picture that are taken from Pillow at a time
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def load(source: Source) -> Picture:
    """Reads a picture from a file name, an open binary file, a Pillow image or a uint8 array; one that is read passes.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). What happens to each kind of picture is in docs/pictures.md;
    PictureWarning tells of frames and bits that are not kept. The EXIF orientation stays in the metadata, pixels are
    not turned.
    Raises AecodecError if the source is not a picture, LimitError if Pillow holds it for a decompression bomb, OSError
    if it cannot be read.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error at twice the size stays
            with Image.open(source) as image:
                return _from_image(image)
    except Image.DecompressionBombError as error:
        raise LimitError(str(error)) from error
    except UnidentifiedImageError as error:
        heic = isinstance(source, (str, Path)) and Path(source).suffix.lower() in (".heic", ".heif", ".hif")
        hint = "; HEIC needs pip install pillow-heif" if heic else ""
        raise AecodecError(f"not a picture in a format that Pillow can read{hint}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: not found, no permission
        raise AecodecError(f"damaged picture ({error})") from error


def _from_array(array: npt.NDArray[np.generic]) -> Picture:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise AecodecError(
            f"array of {array.dtype} and shape {array.shape}; expected uint8 (H, W, 3), (H, W) or (H, W, 4)"
        )
    pixels: Pixels = array.astype(np.uint8, copy=False)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return Picture(pixels)
    if pixels.shape[2] == 4:
        return Picture(pixels[:, :, :3], pixels[:, :, 3])
    raise AecodecError(f"array of shape {array.shape}; expected 1, 3 or 4 channels")


def _from_image(image: Image.Image) -> Picture:
    if 0 in image.size:
        raise AecodecError("the picture has no pixels")
    if getattr(image, "is_animated", False):
        warnings.warn("has more than one frame; only one is kept", PictureWarning, stacklevel=2)
    sixteen_bits = ";16" in str(getattr(image, "tile", ""))  # of 16-bit RGB, Pillow itself keeps the upper 8 bits
    image.load()
    exif, icc, xmp = exif_of(image), image.info.get("icc_profile"), image.info.get("xmp")
    alpha: Pixels | None = None
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and _fits_16_bits(image)):
        sixteen_bits = True
        samples = np.asarray(image)
        if "transparency" in image.info:
            alpha = np.where(samples == image.info["transparency"], 0, 255).astype(np.uint8)
        image = Image.fromarray((samples >> 8).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        whole = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = np.asarray(whole.getchannel("A"))
        image = whole.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    elif image.mode in ("CMYK", "LAB"):
        image, icc = _to_rgb(image, icc)
    elif image.mode not in OPAQUE:
        raise AecodecError(f"pictures of Pillow mode {image.mode} are not supported; convert it to RGB or L first")
    elif image.mode != OPAQUE[image.mode]:
        image = image.convert(OPAQUE[image.mode])
    if sixteen_bits:
        warnings.warn("has 16 bits per sample; the upper 8 are kept", PictureWarning, stacklevel=2)
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Picture(_samples(image), alpha, exif, icc or None, xmp or None)


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


def _to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, None]:
    """CMYK or Lab to sRGB, through the picture's profile if it has one; the profile does not describe the result."""
    if icc and image.mode == "CMYK":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted, None
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile says nothing: convert as if there were none
    return image.convert("RGB"), None
