"""Pictures as people have them: Pillow images, arrays and files to 8-bit samples with metadata, and back."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from aecodec.errors import AecodecError, LimitError, PictureWarning

with contextlib.suppress(ImportError):  # HEIC, where pillow-heif is installed; Pillow itself reads AVIF
    import pillow_heif

    pillow_heif.register_heif_opener()

Pixels = npt.NDArray[np.uint8]
OPAQUE = {"1": "L", "L": "L", "RGB": "RGB", "RGBX": "RGB", "P": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
# Tags of a TIFF file that describe the picture; the others tell how the file is laid out. Description, maker, model,
# orientation, resolution (3), software, time, artist, host, copyright, EXIF, GPS.
TIFF_DESCRIPTION = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853}
SUB_EXIF = (34665, 34853, 40965)  # tags that lead to further EXIF: camera, GPS, interoperability
SAMPLES_ROWS = 1024  # rows of a picture that are taken from Pillow at a time
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Picture:
    """colour: (H, W, 3) uint8, or (H, W) if the picture is grey. alpha: (H, W) uint8 or None. Metadata as raw bytes."""

    colour: Pixels
    alpha: Pixels | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None

    @property
    def width(self) -> int:
        return int(self.colour.shape[1])

    @property
    def height(self) -> int:
        return int(self.colour.shape[0])


Source = str | Path | BinaryIO | Image.Image | Pixels | Picture


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
    exif, icc, xmp = _exif_of(image), image.info.get("icc_profile"), image.info.get("xmp")
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


def _exif_of(image: Image.Image) -> bytes | None:
    """EXIF byte by byte as the file has it (with thumbnail and maker's notes), unless it was edited through Pillow."""
    raw, edited = image.info.get("exif"), image.getexif()
    if raw:
        read = Image.Exif()
        read.load(raw)
        if dict(read) == dict(edited) and all(_sub_exif(read, tag) == _sub_exif(edited, tag) for tag in SUB_EXIF):
            return bytes(raw)
    if getattr(image, "tag_v2", None):  # Pillow gives all tags of a TIFF file
        kept = Image.Exif()
        kept.load(edited.tobytes())
        for tag in set(kept) - TIFF_DESCRIPTION:
            del kept[tag]
        edited = kept
    return edited.tobytes() if edited else None


def _sub_exif(exif: Image.Exif, tag: int) -> dict[int, object]:
    try:
        return dict(exif.get_ifd(tag))
    except KeyError:  # Pillow before 13, where the camera's part holds no pointer to it
        return {}


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


def to_image(picture: Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA with the metadata in its `info`."""
    image = Image.fromarray(picture.colour)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    for key, value in (("exif", picture.exif), ("icc_profile", picture.icc), ("xmp", picture.xmp)):
        if value is not None:
            image.info[key] = value
    return image


def format_of(suffix: str) -> str:
    """Pillow's name of the format in which files with this suffix are written. Raises AecodecError if there is none."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE or kind == "AEC":
        raise AecodecError(f"Pillow cannot write files that end in {suffix!r}; use .png, .webp, .jpg or another")
    return kind


def save(image: Image.Image, file: BinaryIO, suffix: str) -> None:
    """Writes an image in the format of a file name's suffix, with its metadata where the format can hold them.

    Raises AecodecError if Pillow cannot write that format.
    """
    kind = format_of(suffix)
    if kind == "JPEG" and image.mode in ("LA", "RGBA"):
        raise AecodecError("JPEG cannot hold the alpha channel of this picture; use .png or .webp")
    options: dict[str, object] = {k: image.info[k] for k in ("exif", "icc_profile", "xmp") if k in image.info}
    if kind == "PNG":
        if xmp := options.pop("xmp", None):
            text = PngImagePlugin.PngInfo()
            text.add_itxt("XML:com.adobe.xmp", bytes(xmp).decode("utf-8", "replace"))  # type: ignore[call-overload]
            options["pnginfo"] = text
        options["compress_level"] = 3  # a third of the time of the default for 3 % more bytes
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options["lossless"] = True
    try:
        image.save(file, kind, **options)
    except Exception as error:  # Pillow's encoders raise many kinds for damaged metadata
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise AecodecError(f"cannot be written as {kind}: {error}") from error


def pad(colour: Pixels, size: tuple[int, int]) -> Tensor:
    """(H, W, 3) or (H, W) uint8 to (1, 3, *size) uint8, by repeating the last row and column; grey as three equal
    channels."""
    if colour.ndim == 2:
        colour = np.broadcast_to(colour[:, :, None], (*colour.shape, 3))
    below, right = size[0] - colour.shape[0], size[1] - colour.shape[1]
    padded = np.pad(colour, ((0, below), (0, right), (0, 0)), mode="edge")
    return torch.from_numpy(padded).permute(2, 0, 1).unsqueeze(0)


def crop(pixels: Tensor, width: int, height: int, grey: bool) -> Pixels:
    """(3, H', W') uint8 to (height, width, 3) uint8, or (height, width), the rounded mean of the channels, if grey."""
    cut = pixels[:, :height, :width].permute(1, 2, 0).cpu().numpy()
    if grey:
        total: npt.NDArray[np.uint16] = cut.sum(2, dtype=np.uint16)
        return ((total + 1) // 3).astype(np.uint8)
    return np.ascontiguousarray(cut)


def encode_alpha(alpha: Pixels) -> bytes:
    """The alpha plane, (H, W) uint8, as a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def decode_alpha(data: bytes, width: int, height: int) -> Pixels:
    """Raises AecodecError if the plane is damaged or has not this size, LimitError if it is too large for Pillow."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size != (width, height) or image.mode != "L":
                raise AecodecError(f"alpha plane of {image.size}, {image.mode}; expected {width}x{height}, L")
            return np.asarray(image)
    except Image.DecompressionBombError as error:
        raise LimitError(str(error)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise AecodecError(f"damaged alpha plane ({error})") from error
