"""The one door to foreign decoders: a positive list of formats, and every exception of theirs a typed error."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import BinaryIO, cast

from PIL import Image, UnidentifiedImageError

from aecodec.errors import AecodecError, LimitError

# What Pillow may try: never PostScript, which it would hand to Ghostscript.
FORMATS = (
    *("AEC", "AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA"),
    *("TIFF", "WEBP"),
)


DAMAGED = "damaged picture"
# How decoders say that a file is whole, but of a kind that they do not know.
UNSUPPORTED = re.compile(r"(un|not )(supported|implemented)|^unknown ", re.IGNORECASE)


class UnreadError(AecodecError):
    """A whole picture of a kind that no decoder here reads; the message says which."""


@contextmanager
def foreign(what: str = DAMAGED) -> Iterator[None]:
    """Makes whatever a foreign decoder or encoder raises an AecodecError that begins with `what`; errors of the system,
    a lack of memory, and our own pass. What it warns of is about its own rules."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (AecodecError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise LimitError(str(error)) from error
    except UnidentifiedImageError as error:
        raise AecodecError(f"{what} (no decoder knows it)") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = reason_of(error)
        if what == DAMAGED and UNSUPPORTED.search(reason):
            raise UnreadError(f"no decoder reads it ({reason})") from error
        raise AecodecError(f"{what} ({reason})") from error


def reason_of(error: BaseException) -> str:
    """The first line of what an exception says, or its name."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def open_image(source: BinaryIO | bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Opens a picture of these formats only. Call it within `foreign`."""
    if not all(name in Image.OPEN for name in formats):
        Image.init()  # Pillow loads most of its readers only when they are needed
    known = [name for name in formats if name in Image.OPEN]
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        return Image.open(file, formats=known)
    except UnidentifiedImageError:
        file.seek(4)
        if file.read(4) != b"ftyp" or "HEIF" in known or "HEIF" not in formats or not can_open_heif():
            raise
    import pillow_heif

    file.seek(0)
    return cast(Image.Image, pillow_heif.HeifImageFile(file))  # without teaching it to all of the process


def can_open_heif() -> bool:
    """Whether pillow-heif is installed; Pillow itself reads AVIF, but no HEIC."""
    return find_spec("pillow_heif") is not None


def register_heif() -> None:
    """Teaches Pillow to read and write HEIC, in all of the process, where pillow-heif is installed."""
    if can_open_heif():
        import pillow_heif

        pillow_heif.register_heif_opener()
