"""What a picture is like, in a record of fixed size: made of its latents, for searching among many pictures.

A description needs no pixels: hyper latents, symbols and the features between them tell colours, texture and how
unusual a picture is. Values are kept in a byte each, companded: they are for distances between pictures, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec import container, patches, tiling
from aecodec.container import File
from aecodec.errors import AecodecError, FormatError
from aecodec.families.base import Describing, Traits
from aecodec.models import Model
from aecodec.picture import Samples
from aecodec.tiling import Box

VERSION = 1
SIDE = 8  # of the small picture
HUES, SATURATIONS, VALUES = 8, 3, 3  # bins of the histogram
FEATURES, HYPER, BITS = 128, 96, 64  # numbers that are kept, however many channels a model has
MODEL_ID_BYTES = container.MODEL_ID_BYTES

# One record. Its fields are the columns of what archives keep, and may only be added to under another version.
RECORD = np.dtype(
    [
        ("model", np.uint8, (MODEL_ID_BYTES,)),
        ("quality", "<u2"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("bpp", "<f4"),
        ("luma", np.uint8, (SIDE, SIDE)),
        ("chroma", np.uint8, (2, SIDE, SIDE)),
        ("histogram", np.uint8, (HUES * SATURATIONS * VALUES,)),
        ("features", np.uint8, (FEATURES,)),
        ("hyper", np.uint8, (2, HYPER)),
        ("bits", np.uint8, (BITS,)),
    ]
)
# A byte b of companded values stands for sinh(b / rate) / 4, of signed ones b - 128 does.
RATES = {"signed": 18.0, "unsigned": 36.0}

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Description:
    """What a picture is like.

    model: the id of the model that made the latents, hexadecimal; quality: 1..100, at which they were coded; what
    depends on the two, all but luma, chroma and histogram, compares only with what has both equal. width, height:
    pixels. bpp: of the file, bits per pixel. luma: (8, 8), chroma: (2, 8, 8), Cb and Cr, uint8: the picture, as JFIF
    defines them, shrunk to 8x8 as it is stored, whatever its shape. histogram: (72,) uint8, 255 times the square root
    of the share of each colour, by hue (8), saturation (3), value (3). features: (128,) uint8, 16 times the square root
    of the mean activations of the integer network. hyper: (2, 96) uint8, mean (companded, signed) and standard
    deviation (companded) of the hyper latents. bits: (64,) uint8, companded: of 16x16 pixels, by groups of neighbouring
    latent channels; 0 where all is coded without loss.
    """

    model: str
    quality: float
    width: int
    height: int
    bpp: float
    luma: Bytes
    chroma: Bytes
    histogram: Bytes
    features: Bytes
    hyper: Bytes
    bits: Bytes

    def record(self) -> npt.NDArray[np.void]:
        """The same as an array of one `RECORD`."""
        row = np.zeros(1, RECORD)
        row["model"] = np.frombuffer(bytes.fromhex(self.model), np.uint8)
        row["quality"] = round(100 * self.quality)
        for name in RECORD.names or ():
            if name not in ("model", "quality"):
                row[name] = getattr(self, name)
        return row

    def to_bytes(self) -> bytes:
        """The version, one byte, and the record: 667 bytes."""
        return bytes([VERSION]) + self.record().tobytes()

    @classmethod
    def of_record(cls, row: npt.NDArray[np.void]) -> Description:
        """From an array of one `RECORD`."""
        (one,) = row
        values = {name: one[name] if np.ndim(one[name]) else one[name].item() for name in RECORD.names or ()}
        values["model"], values["quality"] = bytes(values["model"]).hex(), values["quality"] / 100
        return cls(**values)

    @classmethod
    def from_bytes(cls, data: bytes) -> Description:
        """What `to_bytes` made. Raises FormatError if it is not that, or of another version."""
        if not data or data[0] != VERSION:
            raise FormatError(f"a description of version {data[0] if data else 'none'}; this aecodec reads {VERSION}")
        if len(data) != 1 + RECORD.itemsize:
            raise FormatError(f"a description of {len(data)} bytes; expected {1 + RECORD.itemsize}")
        return cls.of_record(np.frombuffer(data[1:], RECORD))


def expanded(values: Bytes, signed: bool = False) -> Floats:
    """Companded bytes as the numbers that they stand for, float32."""
    centred = values.astype(np.float32) - (128 if signed else 0)
    return (np.sinh(centred / RATES["signed" if signed else "unsigned"]) / 4).astype(np.float32)


def describe(file: File, model: Model, file_bytes: int) -> Description:
    """The description of a file, from its latents; of blocks that are coded without loss, from these.

    file_bytes: its size. Raises AecodecError if the family of the model cannot describe, FormatError if a tile is no
    tile.
    """
    family, header = model.family, file.header
    if not isinstance(family, Describing):
        raise AecodecError(f"models of the family {model.family_name} do not describe pictures; aec1 and aec2 do")
    size = header.height, header.width
    padded = tiling.padded(size, family.geometry.padding)
    boxes = tiling.tiles(padded, header.tile)
    traits = [_traits(family, data, box, header.quality) for data, box in zip(file.tiles, boxes, strict=True)]
    side = boxes[0].height // len(traits[0].colour)
    colour = np.empty((padded[0] // side, padded[1] // side, 3), np.float32)
    for box, one in zip(boxes, traits, strict=True):
        colour[box.in_units(side).slices] = one.colour
    if container.PATCHES in file.chunks:
        _paste_patches(colour, file.chunks[container.PATCHES], boxes, size, side)
    areas = np.array([box.area for box in boxes], np.float64) / (padded[0] * padded[1])
    features, hyper, bits = _joined(traits, areas)
    shown = _shown(colour, size, side)
    small = Image.fromarray(_shrunk(shown, size, side).clip(0, 255).round().astype(np.uint8))
    planes = np.asarray(small.convert("YCbCr"))
    return Description(
        model=header.model_id.hex(),
        quality=header.quality / 100,
        width=header.width,
        height=header.height,
        bpp=float(np.float32(8 * file_bytes / (size[0] * size[1]))),
        luma=planes[:, :, 0].copy(),
        chroma=planes[:, :, 1:].transpose(2, 0, 1).copy(),
        histogram=_histogram(shown),
        features=(16 * np.sqrt(_folded(features, FEATURES).clip(0))).round().clip(0, 255).astype(np.uint8),
        hyper=np.stack([_companded(_folded(hyper[0], HYPER), True), _companded(_folded(hyper[1], HYPER))]),
        bits=_companded(_folded(bits, BITS)),
    )


def _traits(family: Describing, data: bytes, box: Box, quality: int) -> Traits:
    (found,) = family.traits([data], box.size, quality)
    return found if data else found._replace(bits=np.zeros_like(found.bits))  # all of it is coded without loss


def _joined(traits: Sequence[Traits], areas: npt.NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    """Features, hyper latents and bits of all tiles together, from those of each and its share of the area."""
    features = sum(area * one.features for area, one in zip(areas, traits, strict=True))
    bits = sum(area * one.bits for area, one in zip(areas, traits, strict=True))
    mean = sum(area * one.hyper[0] for area, one in zip(areas, traits, strict=True))
    square = sum(area * (one.hyper[1] ** 2 + one.hyper[0] ** 2) for area, one in zip(areas, traits, strict=True))
    return np.asarray(features), np.stack([mean, np.sqrt((square - mean**2).clip(0))]), np.asarray(bits)


def _paste_patches(colour: Floats, data: bytes, tiles: Sequence[Box], size: tuple[int, int], side: int) -> None:
    """Puts the means of blocks that are coded without loss where these are."""
    for patch in patches.unpack(data, tiles, size):
        box = tiles[patch.tile]
        inside = box.overlap(Box.whole(size))
        assert inside is not None  # every tile has pixels of the picture
        pixels: Samples = np.zeros((*inside.size, 3), np.uint8)
        patches.paste(pixels, inside, inside, patch)
        mask = patches.of_pixels(patch.mask, inside.size)[:, :, None]
        count, total = (_sums(values, box.size, side) for values in (mask, pixels * mask))
        target = colour[box.in_units(side).slices]
        share = count / np.maximum(_sums(np.ones_like(mask), box.size, side), 1)
        target[:] = target * (1 - share) + share * total / np.maximum(count, 1)


def _sums(values: npt.NDArray[Any], size: tuple[int, int], side: int) -> Floats:
    """(H, W, C) to sums over squares of a tile of this size; what is missing of it is 0."""
    whole = np.zeros((*size, values.shape[2]), np.float32)
    whole[: values.shape[0], : values.shape[1]] = values
    return whole.reshape(size[0] // side, side, size[1] // side, side, -1).sum((1, 3))


def _shown(colour: Floats, size: tuple[int, int], side: int) -> Floats:
    """The squares that show something of the picture."""
    return colour[: -(-size[0] // side), : -(-size[1] // side)].clip(0, 255)


def _shrunk(colour: Floats, size: tuple[int, int], side: int) -> Floats:
    """(h, w, 3) to (SIDE, SIDE, 3), the mean of what each pixel covers of the picture without its padding."""
    box = (0, 0, size[1] / side, size[0] / side)
    planes = [Image.fromarray(np.ascontiguousarray(colour[:, :, k])) for k in range(3)]
    small = [np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.BOX, box)) for plane in planes]
    return np.stack(small, 2)


def _histogram(colour: Floats) -> Bytes:
    hsv = np.asarray(Image.fromarray(colour.round().astype(np.uint8)).convert("HSV")).reshape(-1, 3).astype(int)
    h, s, v = (hsv[:, k] * bins // 256 for k, bins in enumerate((HUES, SATURATIONS, VALUES)))
    counts = np.bincount((h * SATURATIONS + s) * VALUES + v, minlength=HUES * SATURATIONS * VALUES)
    return (255 * np.sqrt(counts / len(hsv))).round().astype(np.uint8)


def _folded(values: Floats, count: int) -> Floats:
    """So many numbers: means of neighbours if there are more, zeros behind them if there are fewer."""
    if len(values) <= count:
        return np.pad(values, (0, count - len(values)))
    return np.array([part.mean() for part in np.array_split(values, count)], np.float32)


def _companded(values: Floats, signed: bool = False) -> Bytes:
    levels = np.arcsinh(4 * values) * RATES["signed" if signed else "unsigned"]
    return (levels.round() + (128 if signed else 0)).clip(0, 255).astype(np.uint8)
