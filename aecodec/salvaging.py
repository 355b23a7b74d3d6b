"""What is intact of a damaged file, and colours that go smoothly over where pixels are lost."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec import tiling
from aecodec.canvas import Decode, Region, area_of
from aecodec.container import File
from aecodec.picture import Picture, filling, to_image
from aecodec.picture.turning import turned_upright
from aecodec.tiling import Box


class Salvaged(NamedTuple):
    """What could be had of a damaged file: the picture, lost tiles filled with colours that go smoothly over from what
    is around them; a phrase for each damage, if any; and (H, W) bool, true where pixels were filled."""

    image: Image.Image
    damage: list[str]
    filled: npt.NDArray[np.bool_]


def salvage(file: File, damage: list[str], region: Region | None, upright: bool, decode: Decode) -> Salvaged:
    """The picture in a damaged file, or a region of it. file, damage: as `container.salvage` returns them; upright: see
    `Codec.decompress`."""
    area = area_of(file.header, region)
    whole = Box.whole((file.header.height, file.header.width))
    tiles = tiling.tiles(whole.size, file.header.tile)
    lost = [tile for number in sorted(file.lost) if (tile := tiles[number]).overlap(area)]
    seen = area  # with what lost tiles in it are filled from
    for tile in lost:
        seen = seen.joined(tile.with_halo(filling.MARGIN, whole.size))
    (picture,) = decode([file], [(seen.left, seen.top, seen.width, seen.height)])
    boxes = [tile.within(seen) for tile in lost]
    inside = area.within(seen).slices
    picture = replace(
        picture,
        colour=filling.fill(picture.colour, boxes)[inside],
        alpha=None if picture.alpha is None else picture.alpha[inside],
    )
    filled = np.zeros(seen.size, bool)
    for box in boxes:
        filled[box.slices] = True
    mask = filled[inside]
    if upright:
        mask = turned_upright(Picture(mask, exif=picture.exif)).colour
        picture = turned_upright(picture)
    return Salvaged(to_image(picture), damage, mask)
