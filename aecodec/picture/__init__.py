"""Pictures as people have them: Pillow images, arrays and files to samples with metadata, and back."""

from aecodec.picture.chunks import alpha_of, chunks_of, depth_of, picture_of
from aecodec.picture.door import register_heif
from aecodec.picture.loading import load, read
from aecodec.picture.metadata import describe, strip
from aecodec.picture.saving import format_of, save, to_image
from aecodec.picture.types import Picture, Pixels, Samples, Source

__all__ = [
    "Picture",
    "Pixels",
    "Samples",
    "Source",
    "alpha_of",
    "chunks_of",
    "depth_of",
    "describe",
    "format_of",
    "load",
    "picture_of",
    "read",
    "register_heif",
    "save",
    "strip",
    "to_image",
]
