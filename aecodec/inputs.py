"""What people hand over as a picture or as a file: made what the library takes, or answered with what to do."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec.container import MAGIC, check_limit
from aecodec.errors import AecodecError, FormatError

if TYPE_CHECKING:
    from typing import BinaryIO, TypeAlias

    from PIL import Image

    from aecodec.picture import Picture, Samples

    Bytes: TypeAlias = bytes | bytearray | memoryview
    ImageLike: TypeAlias = str | os.PathLike[str] | BinaryIO | Bytes | Image.Image | Samples | Picture
    Encoded: TypeAlias = Bytes | str | os.PathLike[str] | BinaryIO

PICTURE = "a file name, an open file, the bytes of a picture file, a Pillow image or an array (H, W, 3)"
IMAGE = "a picture that is decoded already, which compress takes"
FILE = "the bytes of an .aec file, its name, or the open file"
# What the first bytes of files say, as far as people mistake one for another.
SIGNATURES = {
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"GIF8": "a GIF",
    b"RIFF": "a WebP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"\0\0\0\x0cJXL": "a JPEG XL",
    b"\xff\x0a": "a JPEG XL",
}
ARCHIVE = b"PK\x03\x04"
CHANNELS = (1, 3, 4)


def load(given: ImageLike, pixel_limit: int) -> Picture:
    """A picture, whatever it is given as. Raises AecodecError that says what to do if it is none or cannot be read,
    LimitError if it has more pixels."""
    from aecodec import picture  # which needs Pillow

    loaded = picture.load(_source(given), pixel_limit)
    check_limit(loaded.width, loaded.height, pixel_limit)  # of arrays and images, too
    return loaded


def _source(given: Any) -> Any:
    """What of `picture.Source` it is."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return io.BytesIO(given)
    if isinstance(given, (list, tuple)):
        raise AecodecError("a list; several pictures are for compress_batch, rows of samples for numpy.asarray")
    kind = type(given)
    if kind.__module__.partition(".")[0] == "torch" and hasattr(given, "permute"):
        raise AecodecError(
            f"a tensor of shape {tuple(given.shape)}; give an array with the channels last, uint8 or float32 from 0 "
            "to 1: tensor.permute(1, 2, 0).cpu().numpy()"
        )
    if isinstance(given, os.PathLike):
        return Path(given)
    if not isinstance(given, str) and not hasattr(given, "read") and not hasattr(given, "width"):
        if not hasattr(given, "__array__"):
            raise AecodecError(f"{_kind(given)}; expected {PICTURE}")
        return _array(given)
    if isinstance(given, io.TextIOBase):
        raise AecodecError("a file that was opened as text; use open(name, 'rb')")
    return given


def encoded(given: Encoded) -> bytes:
    """The bytes of an .aec file. Raises FormatError if it is another file, AecodecError that says what to do if it is
    none, OSError if it cannot be read."""
    if isinstance(given, (bytearray, memoryview)):
        data = bytes(given)
    elif isinstance(given, bytes):
        data = given
    elif isinstance(given, (str, os.PathLike)):
        data = Path(given).read_bytes()
    elif isinstance(given, (list, tuple)):
        raise AecodecError("a list; several files are for decompress_batch")
    elif hasattr(given, "getexif"):
        raise AecodecError(f"{_kind(given)}, {IMAGE}")
    elif hasattr(given, "read"):
        if isinstance(given, io.TextIOBase):
            raise AecodecError("a file that was opened as text; use open(name, 'rb')")
        data = given.read()
    else:
        raise AecodecError(f"{_kind(given)}; expected {FILE}")
    if not data.startswith(MAGIC) and (found := other_kind(data)):
        raise FormatError(found)
    return data


def encoded_if_any(given: Any) -> bytes | None:
    """The bytes of an .aec file, if it is one; None if it may be a picture. An open file stays where it is then."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return encoded(given) if bytes(given[: len(MAGIC)]) == MAGIC else None
    if isinstance(given, (str, os.PathLike)):
        with open(given, "rb") as file:
            return file.read() if file.read(len(MAGIC)) == MAGIC and file.seek(0) == 0 else None
    if isinstance(given, io.TextIOBase) or not (hasattr(given, "read") and hasattr(given, "seek")):
        return None
    at = given.tell()
    found = given.read(len(MAGIC)) == MAGIC
    given.seek(at)
    return encoded(given) if found else None


def other_kind(data: bytes) -> str | None:
    """What to do with a file that is not an .aec file, if it is known."""
    if data.startswith(ARCHIVE):
        return "not an .aec file but a ZIP file; pictures in an archive are for open_archive or aecodec archive extract"
    for signature, kind in SIGNATURES.items():
        if data.startswith(signature):
            return f"not an .aec file but {kind}, which compress makes one of"
    return None


def check_bounds(pixel_limit: object, threads: object) -> None:
    """Raises AecodecError unless these are what a codec can be bound to."""
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise AecodecError(f"threads {threads!r}; expected a whole number, at least 1, or None")
    if not isinstance(pixel_limit, (int, float)) or pixel_limit < 1:
        raise AecodecError(f"pixel_limit {pixel_limit!r}; expected a number of pixels, at least 1")


def several(given: Any, one: str) -> Any:
    """A sequence of pictures or files. one: what does the same with one of them. Raises AecodecError if it is one."""
    if isinstance(given, (str, bytes, bytearray, memoryview, os.PathLike)) or hasattr(given, "read"):
        raise AecodecError(f"{_kind(given)}; one of them is for {one}, several are given as a list")
    if not hasattr(given, "__iter__"):
        raise AecodecError(f"{_kind(given)}; a list is expected, one of them is for {one}")
    if hasattr(given, "__array__") and len(getattr(given, "shape", ())) < 4:
        raise AecodecError(f"{_kind(given)}; one of them is for {one}, several are given as a list")
    return given


def _kind(given: Any) -> str:
    """What something is, with its article."""
    name = type(given).__name__
    if given is None or name == "bytes":
        return "None" if given is None else name
    return f"{'an' if name[0].lower() in 'aeiou' or name == 'ndarray' else 'a'} {name}"


def _array(given: Any) -> Any:
    import numpy as np

    array = np.asarray(given)
    shape = array.shape
    if array.ndim == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS:
        raise AecodecError(f"array of shape {shape}; channels come last: array.transpose(1, 2, 0)")
    if array.ndim == 4:
        raise AecodecError(f"array of shape {shape}; several pictures are for compress_batch")
    cure = {"float64": "numpy.float32", "bool": "numpy.uint8) * numpy.uint8(255", "int64": "numpy.uint8"}
    if array.dtype.name in cure:
        raise AecodecError(
            f"array of {array.dtype} and shape {shape}; expected uint8, uint16, or float32 from 0 to 1: "
            f"array.astype({cure[array.dtype.name]})"
        )
    return array
