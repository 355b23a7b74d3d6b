"""Pictures to Pillow images and to files."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, PngImagePlugin

from aecodec.errors import AecodecError
from aecodec.picture.types import Picture


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
