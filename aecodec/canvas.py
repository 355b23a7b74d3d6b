"""A file on its way to pixels: which tiles are needed when, and where their pixels go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from aecodec import container, patches, tiling
from aecodec.container import File, Header
from aecodec.errors import AecodecError, FormatError
from aecodec.families.base import Mosaic, Rendering, State
from aecodec.models import Model
from aecodec.picture import Picture, Samples, alpha_of, depth_of, picture_of
from aecodec.picture.names import NEUTRAL
from aecodec.picture.padding import grey_of
from aecodec.pipeline import batches, in_parallel
from aecodec.tiling import Box, Size

Region = tuple[int, int, int, int]  # x, y, width, height, in pixels
Decode = Callable[[Sequence[File], Sequence[Region | None] | None], list[Picture]]  # see `Codec.decode`

LOST = 128  # level of the pixels of tiles that are lost to damage
PIECE_PIXELS = 2**21  # about as many are synthesised in one piece: fewer halos for more memory
PIECE_SLACK = 0.25  # a piece may be larger by so much of that if there is one less then


class Task(NamedTuple):
    """A tile to be decoded: whose, and its number."""

    canvas: Canvas
    number: int

    @property
    def kind(self) -> tuple[object, Size]:
        """Equal for tiles that may be decoded together."""
        return self.canvas.key, self.canvas.tiles[self.number].size


class View(NamedTuple):
    """A piece of a picture that is synthesised at once: the wanted box, the window around it whose states its pixels
    depend on, and the box rounded out to whole strides."""

    canvas: Canvas
    box: Box
    window: Box
    inner: Box

    @property
    def kind(self) -> tuple[object, Size]:
        """Equal for views that may share a pass through the network."""
        return (self.canvas.key, self.inner.within(self.window)), self.window.size

    def mosaic(self) -> Mosaic:
        """What its pixels depend on."""
        return Mosaic(self.window, self.canvas.states_of(self.window))

    def paste(self, pixels: Samples) -> None:
        """Puts the pixels of `inner`, (H, W, 3), where they belong."""
        self.canvas.paste(self.box, pixels[self.box.within(self.inner).slices])


def area_of(header: Header, region: Region | None) -> Box:
    """The wanted part of a picture. Raises AecodecError if the region is none, or not inside it."""
    if region is None:
        region = (0, 0, header.width, header.height)
    try:
        x, y, width, height = map(index, region)
    except (TypeError, ValueError):
        raise AecodecError(f"region {region!r}; expected four whole numbers: x, y, width, height") from None
    if min(x, y) < 0 or min(width, height) < 1 or x + width > header.width or y + height > header.height:
        raise AecodecError(
            f"region {x},{y},{width},{height} (x, y, width, height) is not inside {header.width}x{header.height}"
        )
    return Box(y, y + height, x, x + width)


class Canvas:
    """A file, and the part of its picture that is wanted.

    Attributes: area, the wanted part; tiles, boxes of the padded picture; rows, what is wanted of each tile, by rows of
    tiles; depth, bits of the samples; states, of the tiles in flight by their number; key, equal for files whose tiles
    may share a pass through the network.
    on_device: whether pixels stay on the device of a family that is `Rendering`, for `tensor` instead of `picture`.

    Raises AecodecError if the region is not inside the picture.
    """

    def __init__(self, file: File, model: Model, region: Region | None, *, on_device: bool = False):
        self.file, self.family = file, model.family
        header = file.header
        self.area = area_of(header, region)
        self.depth = depth_of(file.chunks)
        self.key = (header.quality, model.id, self.depth)
        self.padded = tiling.padded((header.height, header.width), self.family.geometry.padding)
        self.tiles = tiling.tiles(self.padded, header.tile)
        boxes = [box for tile in self.tiles if (box := tile.overlap(self.area))]
        self.rows = [[boxes[number] for number in row] for row in tiling.rows(boxes)]
        self.states: dict[int, State] = {}
        self.on_device = on_device
        self._grey = header.channels < 3
        self._neutral = not self._grey and NEUTRAL in file.chunks
        shape = (*self.area.size, 3)
        self._colour: Any = None  # on a device, of the kind of what is pasted
        if not on_device:
            self._colour = np.empty(shape[:2] if self._grey else shape, np.uint8 if self.depth == 8 else np.uint16)

    def advance(self, row: int) -> list[Task]:
        """Forgets the tiles that this row of `rows` and later ones do not need; returns those to decode for it."""
        needed = self._touched(self._window(self._wanted(row), self.family.geometry.synthesis_halo))
        self.states = {number: self.states[number] for number in needed if number in self.states}
        for number in self.file.lost.intersection(needed):
            self.states[number] = self.family.lost(self.tiles[number].size)
        return [Task(self, number) for number in needed if number not in self.states]

    def views(self, row: int) -> list[View]:
        """What is wanted of a row, in pieces that are synthesised at once."""
        geometry = self.family.geometry
        wanted = self._wanted(row)
        # Of a strip, most of what is synthesised is padding and halo: more than half counts.
        high = self._window(wanted, geometry.synthesis_halo).height
        pixels = min(PIECE_PIXELS, 2 * PIECE_PIXELS * wanted.height // high)
        pieces = tiling.pieces(wanted, pixels, PIECE_SLACK, geometry.stride)
        return [View(self, box, self._window(box, geometry.synthesis_halo), self._window(box, 0)) for box in pieces]

    def states_of(self, window: Box) -> list[tuple[Box, State]]:
        """The states of the tiles that a window touches, each with its place."""
        return [(self.tiles[number], self.states[number]) for number in self._touched(window)]

    def paste(self, box: Box, pixels: Samples) -> None:
        """Takes the pixels of a box, (H, W, 3)."""
        if self._colour is None:
            self._colour = pixels.new_empty((*self.area.size, 3))  # type: ignore[attr-defined]
        if not self.on_device and (self._grey or self._neutral):
            pixels = grey_of(pixels)[..., None] if self._neutral else grey_of(pixels)
        self._colour[box.within(self.area).slices] = pixels

    def picture(self) -> Picture:
        """The wanted part, when all is there. Raises FormatError if the alpha plane is missing or damaged."""
        alpha = alpha_of(self.file.header, self.file.chunks)
        self._finish()
        return picture_of(self._colour, None if alpha is None else alpha[self.area.slices], self.file.chunks)

    def tensor(self) -> Any:
        """The colours of the wanted part on the device, (H, W, 3) or (H, W), uint8, or int32 if it is deeper."""
        if self._grey or self._neutral:
            mean = self._colour.sum(2).add_(1).div_(3, rounding_mode="floor").to(self._colour.dtype)
            self._colour = mean[..., None].repeat(1, 1, 3) if self._neutral else mean
        self._finish()
        return self._colour

    def _finish(self) -> None:
        """Puts in place what is not of the network: tiles that are lost, and blocks that are coded without loss."""
        for number in self.file.lost:
            if shared := self.tiles[number].overlap(self.area):
                self._colour[shared.within(self.area).slices] = LOST << self.depth - 8
        data = self.file.chunks.get(container.PATCHES)
        if data is None:
            return
        if self.depth != 8:
            raise FormatError("a file of more than 8 bits has a chunk PTCH")
        size = self.file.header.height, self.file.header.width
        for patch in patches.unpack(data, self.tiles, size):
            tile = self.tiles[patch.tile].overlap(Box.whole(size))
            assert tile is not None
            shared = tile.overlap(self.area)
            if shared is None:
                continue
            here = shared.within(self.area).slices
            colour = self._colour[here].cpu().numpy() if self.on_device else self._colour[here]
            patches.paste(colour, shared, tile, patch)
            if self.on_device:
                self._colour[here] = self._colour.new_tensor(colour)

    def _wanted(self, row: int) -> Box:
        return self.rows[row][0].joined(self.rows[row][-1])

    def _window(self, box: Box, halo: int) -> Box:
        """The pixels of a box, of whole strides, and of a halo around it."""
        return box.rounded_out(self.family.geometry.stride).with_halo(halo, self.padded)

    def _touched(self, window: Box) -> list[int]:
        """Numbers of the tiles that share pixels with a window."""
        header = self.file.header
        side = header.tile or max(self.padded)
        touched = window.rounded_out(side).in_units(side)
        columns = header.tile_grid[1]
        return [
            row * columns + column
            for row in range(touched.top, touched.bottom)
            for column in range(touched.left, touched.right)
        ]


def pictures(canvases: Sequence[Canvas]) -> list[Picture]:
    """What is wanted of all files."""
    _paint(canvases)
    return [one.picture() for one in canvases]


def tensors(canvases: Sequence[Canvas]) -> list[Any]:
    """The same of colours on a device, see `Canvas.tensor`."""
    _paint(canvases)
    return [one.tensor() for one in canvases]


def _paint(canvases: Sequence[Canvas]) -> None:
    """Tiles go through in rows, so that only those of a few rows are ever held."""
    for row in range(max((len(one.rows) for one in canvases), default=0)):
        active = [one for one in canvases if row < len(one.rows)]
        in_parallel(batches(_decode, [task for one in active for task in one.advance(row)], lambda task: task.kind))
        for job in batches(_synthesise, [view for one in active for view in one.views(row)], lambda view: view.kind):
            job.run()  # workers would gain nothing and take more memory


def _decode(tasks: Sequence[Task]) -> None:
    """Finds the states of tiles of equal kind."""
    canvas = tasks[0].canvas
    payloads = [task.canvas.file.tiles[task.number] for task in tasks]
    size, quality = canvas.tiles[tasks[0].number].size, canvas.file.header.quality
    for task, state in zip(tasks, canvas.family.decode(payloads, size, quality), strict=True):
        task.canvas.states[task.number] = state


def _synthesise(views: Sequence[View]) -> None:
    """Makes the pixels of views of equal kind, and puts them where they belong."""
    canvas, _, window, inner = views[0]
    mosaics = [view.mosaic() for view in views]
    family, make = canvas.family, canvas.family.synthesise
    if canvas.on_device:
        assert isinstance(family, Rendering)
        make = family.render
    pixels = make(mosaics, inner.within(window), canvas.file.header.quality, canvas.depth)
    for view, own in zip(views, pixels, strict=True):
        view.paste(own)
