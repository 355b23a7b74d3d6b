"""JPEG files as JPEG XL, about a fifth smaller, from which the same bytes come back."""

from __future__ import annotations

from aecodec.errors import AecodecError

WITHOUT = "needs imagecodecs: pip install 'aecodec[jpegxl]'"


def available() -> bool:
    """Whether the library is installed."""
    try:
        from imagecodecs import JPEGXL

        return bool(JPEGXL.available)
    except ImportError:
        return False


def transcode(data: bytes) -> bytes | None:
    """A JPEG file as JPEG XL; None if the same bytes would not come back."""
    from imagecodecs import JpegxlError, jpegxl_decode_jpeg, jpegxl_encode_jpeg

    try:
        packed = bytes(jpegxl_encode_jpeg(data))
        return packed if bytes(jpegxl_decode_jpeg(packed, numthreads=1)) == data else None
    except (JpegxlError, ValueError, RuntimeError):  # kinds of JPEG that it does not know
        return None


def restore(data: bytes) -> bytes:
    """The JPEG file. Raises AecodecError if the library is missing or the data are damaged."""
    try:
        from imagecodecs import JpegxlError, jpegxl_decode_jpeg
    except ImportError as error:
        raise AecodecError(f"a JPEG stored as JPEG XL {WITHOUT}") from error
    try:
        return bytes(jpegxl_decode_jpeg(data, numthreads=1))
    except (JpegxlError, ValueError, RuntimeError) as error:
        raise AecodecError(f"damaged JPEG XL ({error})") from error
