"""Pictures as people have them: Pillow images, arrays and files to samples with metadata, and back."""

from aecodec.picture.alpha import decode_alpha, encode_alpha
from aecodec.picture.loading import load
from aecodec.picture.saving import format_of, save, to_image
from aecodec.picture.types import Picture, Pixels, Source

__all__ = [
    "Picture",
    "Pixels",
    "Source",
    "decode_alpha",
    "encode_alpha",
    "format_of",
    "load",
    "save",
    "to_image",
]
