"""Pillow reads and writes .aec files, after `import aecodec.pillow`: Image.open("x.aec"), image.save("x.aec", psnr=38).

Opening reads and verifies the file, but neither torch nor the network is loaded before pixels are asked for.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import fields, replace
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from aecodec import container
from aecodec.errors import AecodecError, PictureWarning
from aecodec.options import EncodeOptions

if TYPE_CHECKING:
    from aecodec.codec import Codec

FORMAT = "AEC"
OPTIONS = tuple(field.name for field in fields(EncodeOptions))  # of `save`; Pillow may be given others, too
METADATA = {"exif": container.EXIF, "icc_profile": container.ICC, "xmp": container.XMP}  # in Pillow's `info`

_registered: Codec | None = None


def register(codec: Codec | None = None) -> None:
    """Makes Pillow read and write .aec files; `import aecodec.pillow` does so.

    codec: what pixels are coded with from now on. None: the default model on the best device.
    """
    global _registered
    _registered = codec
    Image.register_open(FORMAT, AecImageFile, lambda prefix: prefix.startswith(container.MAGIC))
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_one)
    Image.register_extension(FORMAT, ".aec")
    Image.register_mime(FORMAT, "image/x-aecodec")


def _codec() -> Codec:
    from aecodec.codec import Codec

    # Pillow's own limit is in force; the model is shared by all codecs.
    return _registered or Codec(pixel_limit=sys.maxsize)


def _decoder() -> Codec:
    from aecodec.native import decoder

    return _registered or decoder(pixel_limit=sys.maxsize)


class AecImageFile(ImageFile.ImageFile):
    """An opened .aec file. All checksums are verified on opening; a damaged file is an OSError."""

    format = FORMAT
    format_description = "aecodec learned image"
    _data: bytes | None = None  # the file, until its pixels are decoded
    _small: Image.Image | None = None  # what `draft` found

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        try:
            content = container.read(self._data, pixel_limit=sys.maxsize)  # Image.open checks Pillow's own limit
        except AecodecError as error:
            raise OSError(str(error)) from error
        self._size = content.header.width, content.header.height
        self._mode = ("L", "LA", "RGB", "RGBA")[content.header.channels - 1]
        for key, chunk in METADATA.items():
            if chunk in content.chunks:
                self.info[key] = content.chunks[chunk]

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> Any:
        """The file's preview from now on, if it is large enough; `Image.thumbnail` asks for it."""
        if self._data is None or size is None:
            return None
        from aecodec.picture import to_image
        from aecodec.picture.preview import preview_of

        content = container.read(self._data, pixel_limit=sys.maxsize)
        small = preview_of(content.chunks, content.header, side=1)
        if small is None or small.width < size[0] or small.height < size[1]:
            return None
        whole = self._size
        self._small = to_image(small)
        self._size, self._mode = self._small.size, self._small.mode
        return self.mode, (0, 0, *whole)

    def load(self) -> Any:
        if self._data is not None:
            try:
                decoded = self._small or _decoder().decompress(self._data)
            except AecodecError as error:
                raise OSError(str(error)) from error
            self.im = decoded.im
            self.info.update(decoded.info)
            self._data = None
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from aecodec.picture import load
    from aecodec.picture.metadata import with_orientation

    options: dict[str, Any] = image.encoderinfo
    metadata: dict[str, Any] = {}  # what is not given comes from the image's `info`
    for key, field in (("exif", "exif"), ("icc_profile", "icc"), ("xmp", "xmp")):
        if key in options:
            value = options[key].tobytes() if isinstance(options[key], Image.Exif) else options[key]
            metadata[field] = value or None
    try:
        picture = load(image)
        if image.format is None:  # it was made of another one, maybe turned: as Pillow's own formats, tell no turn
            picture = replace(picture, exif=with_orientation(picture.exif, 1))
        picture = replace(picture, **metadata)
        wanted = EncodeOptions.parse({name: options[name] for name in OPTIONS if name in options})
        (data,) = _codec().encode([picture], wanted)
    except AecodecError as error:
        raise OSError(f"cannot be written as {FORMAT}: {error}") from error
    file.write(data)


def _save_one(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """What `save_all` asks for, as far as a file of one picture can: the image's current frame."""
    if getattr(image, "n_frames", 1) > 1 or image.encoderinfo.get("append_images"):
        warnings.warn(f"{FORMAT} holds one picture: only the current frame is saved", PictureWarning, stacklevel=3)
    _save(image, file, filename)
