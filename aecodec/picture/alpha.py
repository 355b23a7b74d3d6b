"""The alpha plane, lossless."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from aecodec.errors import AecodecError, LimitError
from aecodec.picture.types import Pixels


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
