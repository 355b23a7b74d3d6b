"""Samples of more than 8 bits, which Pillow cuts to 8, read whole."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from PIL import ImageFile, TiffImagePlugin

from aecodec.errors import AecodecError
from aecodec.picture.door import open_image
from aecodec.picture.inspect import Contents, png, tiff
from aecodec.picture.inspect.others import pnm_header
from aecodec.picture.types import Pixels, Samples

Deep = tuple[Samples, "Samples | None", int]  # colour and alpha, uint16; bits
NATIVE, OTHER = ("L", "B") if sys.byteorder == "little" else ("B", "L")
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF
ORDERS = {"B": "L", "L": "B", "N": OTHER}  # of bytes, and the other one


def deep_samples(data: bytes, contents: Contents) -> Deep | None:
    """The samples of a file whose bit depth is above 8, at that depth; None if they cannot be had. Call it within
    `foreign`."""
    if contents.floating or not 8 < contents.bit_depth <= 16 or contents.samples not in ("grey", "RGB"):
        return None
    reader = READERS.get(contents.kind)
    return reader(data, contents) if reader else None


def _in_two_halves(data: bytes, contents: Contents) -> Deep | None:
    """Of 16-bit RGB, Pillow unpacks the upper bytes; told that the order of bytes is the other one, the lower ones."""
    if contents.bit_depth != 16:
        return None
    halves = []
    for lower in (False, True):
        image = cast(ImageFile.ImageFile, open_image(data, ("PNG", "TIFF")))
        if image.mode.startswith("I;16"):
            grey = np.asarray(image).astype(np.uint16)
            if (getattr(image, "tag_v2", None) or {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
                grey = 65535 - grey  # which Pillow does at 8 bits only
            return grey, None, 16
        swapped = [_swapped(tile.args) for tile in image.tile]
        if image.mode not in ("RGB", "RGBA") or None in swapped:
            return None
        if lower:
            image.tile = [tile._replace(args=args) for tile, args in zip(image.tile, swapped, strict=True)]
        halves.append(np.asarray(image))
    whole = halves[0].astype(np.uint16) << 8 | halves[1]
    return _parted(whole, 16)


def _tiff(data: bytes, contents: Contents) -> Deep | None:
    if contents.bit_depth == 12 and contents.samples == "grey" and not contents.unheld:
        return _tiff_of_12_bits(data)
    if contents.bit_depth != 16:
        return None
    straight = tiff.premultiplied(data)
    if parts := tiff.planes(data):
        count = (1 if contents.samples == "grey" else 3) + contents.alpha
        found = [_in_two_halves(part, contents) for part in parts[:count]]
        if None in found:
            raise AecodecError("no decoder reads it: 16 bits, each channel by itself")  # Pillow reads bytes instead
        whole = np.dstack([deep[0] for deep in found if deep])
    elif contents.samples == "grey" and (pairs := tiff.pairs(data)):
        order = "<u2" if data[:2] == b"II" else ">u2"
        whole = np.ascontiguousarray(open_image(pairs, ("TIFF",))).view(order)[:, :, : 1 + contents.alpha]
    else:
        deep = _in_two_halves(straight or data, contents)
        if deep is None or straight is None or deep[1] is None:
            return deep
        whole = np.dstack([deep[0], deep[1]])
    whole = whole.astype(np.uint16)
    return _parted(_straightened(whole) if straight else whole, 16)


def _straightened(whole: Samples) -> Samples:
    """Colours that were multiplied by alpha, 16 bits, as they were before."""
    alpha = whole[:, :, -1:].astype(np.float64)
    if (whole > alpha).any():
        raise AecodecError("colours multiplied by alpha that are brighter than it")
    straight = np.round(whole[:, :, :-1] * (65535 / np.maximum(alpha, 1)))
    return np.dstack([straight.astype(np.uint16), whole[:, :, -1]])


def _tiff_of_12_bits(data: bytes) -> Deep | None:
    image = open_image(data, ("TIFF",))
    if not image.mode.startswith("I;16"):
        return None
    grey = np.asarray(image).astype(np.uint16)
    white_is_zero = cast(TiffImagePlugin.TiffImageFile, image).tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    return (4095 - grey if white_is_zero else grey), None, 12


def _swapped(args: Any) -> Any:
    """What a decoder of Pillow's is told, with the other order of bytes; None if these are no 16-bit RGB samples."""
    raw = args if isinstance(args, str) else args[0]
    kind, _, order = raw.rpartition(";16")
    if kind not in ("RGB", "RGBA") or order not in ORDERS:
        return None
    mode = f"{kind};16{ORDERS[order]}"
    return mode if isinstance(args, str) else (mode, *args[1:])


def _png(data: bytes, contents: Contents) -> Deep | None:
    if contents.bit_depth != 16:
        return None
    as_bytes, transparent = png.plain(data)
    if contents.samples == "grey" and contents.alpha and transparent is None:
        return _parted(np.ascontiguousarray(open_image(as_bytes, ("PNG",))).view(">u2").astype(np.uint16), 16)
    deep = _in_two_halves(as_bytes, contents)
    if deep is None or transparent is None:
        return deep
    colour = deep[0] if deep[0].ndim == 3 else deep[0][:, :, None]
    alpha = np.where((colour == transparent).all(2), 0, 65535).astype(np.uint16)
    return deep[0], alpha, 16


def _pnm(data: bytes, contents: Contents) -> Deep | None:
    kind, width, height, top, at = pnm_header(data)
    count = width * height * (3 if kind in (b"P3", b"P6") else 1)
    if kind in (b"P2", b"P3"):
        values = np.array(data[at:].split()[:count], np.uint16)
    else:
        values = np.frombuffer(data, ">u2", count, at + 1).astype(np.uint16)
    if len(values) < count:
        raise AecodecError(f"damaged picture ({len(values)} samples of {count})")
    depth = top.bit_length()
    if top != 2**depth - 1:  # a scale that does not end at a power of two
        values = np.round(np.minimum(values, top) * (65535 / top)).astype(np.uint16)
        depth = 16
    return values.reshape((height, width, 3)[: 3 if kind in (b"P3", b"P6") else 2]), None, depth


def _sgi(data: bytes, contents: Contents) -> Deep | None:
    packed, channels = data[2], int.from_bytes(data[10:12], "big")
    if packed or channels not in (1, 3, 4):
        return None
    count = contents.width * contents.height * channels
    planes = np.frombuffer(data, ">u2", count, 512).astype(np.uint16)
    whole = planes.reshape(channels, contents.height, contents.width)[:, ::-1].transpose(1, 2, 0)
    return (np.ascontiguousarray(whole[:, :, 0]), None, 16) if channels == 1 else _parted(whole, 16)


def _heic(data: bytes, contents: Contents) -> Deep | None:
    try:
        import pillow_heif
    except ImportError:
        return None
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    whole = np.asarray(file)
    depth = int(file.info.get("bit_depth", contents.bit_depth))
    if whole.dtype != np.uint16 or not 8 < depth <= 16:
        return None
    whole = whole >> 16 - depth  # they are told as 16 bits
    return (whole, None, depth) if whole.ndim == 2 else _parted(whole, depth)


def _with_imagecodecs(data: bytes, contents: Contents) -> Deep | None:
    try:
        import imagecodecs
    except ImportError:
        return None
    whole = imagecodecs.avif_decode(data) if contents.kind == "AVIF" else imagecodecs.jpeg2k_decode(data)
    if whole.dtype != np.uint16:
        return None
    return (whole, None, contents.bit_depth) if whole.ndim == 2 else _parted(whole, contents.bit_depth)


def _parted(whole: Samples, depth: int) -> Deep | None:
    """(H, W, C) to colour and alpha, if C is 2 or 4."""
    if whole.ndim != 3 or whole.shape[2] > 4:
        return None
    alpha = np.ascontiguousarray(whole[:, :, -1]) if whole.shape[2] in (2, 4) else None
    return np.ascontiguousarray(whole[:, :, :3] if whole.shape[2] > 2 else whole[:, :, 0]), alpha, depth


READERS: Mapping[str, Callable[[bytes, Contents], Deep | None]] = {
    "PNG": _png,
    "TIFF": _tiff,
    "PNM": _pnm,
    "SGI": _sgi,
    "HEIC": _heic,
    "AVIF": _with_imagecodecs,
    "JPEG 2000": _with_imagecodecs,
}


def eight_bits(samples: Samples, depth: int, dither: bool = False) -> Pixels:
    """Samples of `depth` bits as uint8. dither: with noise of one level, the same at each call, instead of bands."""
    scaled = samples.astype(np.float32) * (255 / (2**depth - 1))
    if dither:
        scaled += np.random.default_rng(0).random(samples.shape, np.float32) - 0.5
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def sixteen_bits(samples: Samples, depth: int) -> Samples:
    """Samples of `depth` bits as 16 bits: white stays white."""
    if depth == 16:
        return samples
    return np.round(samples.astype(np.float64) * (65535 / (2**depth - 1))).astype(np.uint16)
