"""Pictures to bytes and back: the one place where the rooms meet.

encoding   picture -> tiles -> family: latents, payloads -> container
decoding   container -> family: states of tiles, pixels of windows -> canvas -> picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from aecodec import container, models, patches, rate, tiling
from aecodec.canvas import Canvas, Region, Task, View
from aecodec.container import DEFAULT_PIXEL_LIMIT, QUALITY_MIN, File, Header
from aecodec.errors import FormatError, LimitError
from aecodec.families.base import Latents
from aecodec.metrics import psnr
from aecodec.models import Model
from aecodec.options import EncodeOptions
from aecodec.picture import Picture, Samples, Source, chunks_of, load, to_image
from aecodec.picture.padding import pad
from aecodec.pipeline import Job, batches, in_parallel, session
from aecodec.tiling import Box, Size

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from aecodec.options import EncodeArguments

STRIP_TILES = 2  # neighbours whose pixels are analysed in one piece: fewer halos for more memory


class _Strip(NamedTuple):
    """Neighbouring tiles of a picture that are analysed in one piece: their numbers, where, and the window with their
    halo."""

    picture: int
    numbers: list[int]
    boxes: list[Box]
    window: Box

    @property
    def kind(self) -> tuple[object, Size]:
        """Equal for strips that may share a pass through the network."""
        return tuple(box.within(self.window) for box in self.boxes), self.window.size


class _Analysed(NamedTuple):
    """Latents of a batch of tiles of equal size, and of each the number of its picture, its own, and its box."""

    tiles: list[tuple[int, int, Box]]
    latents: Latents


class Codec:
    """Compresses and decompresses with one model on one device; keeps both loaded between calls.

    Several threads may use one codec at the same time, with the same results. So may processes: a codec can be pickled,
    which loads the model again on the other side, and may be used after a fork (on the CPU, by one thread there).

    Args:
        device: "auto" (CUDA if there is one), "cpu", "cuda" or another of torch's names.
        model: name of a released model or path of a weights file; None for the default. Files that were written with
            another released model are decoded with that one.
        pixel_limit: pictures of more pixels raise LimitError.
        threads: of the CPU, for the length of a call; None: as many as torch has been told to use.
        precision: of all that need not be exact: "auto" (what is fast), "float32" or "bfloat16".

    Raises ModelError if the model cannot be loaded, AecodecError if the device does not exist. Where memory does not
    suffice, all methods raise MemoryError and the codec stays usable.
    """

    def __init__(
        self,
        device: str = "auto",
        model: str | Path | None = None,
        pixel_limit: int = DEFAULT_PIXEL_LIMIT,
        threads: int | None = None,
        precision: str = "auto",
    ):
        self._model_argument = model
        self.pixel_limit, self.threads, self.precision = pixel_limit, threads, precision
        self.device = models.find_device(device)
        self.model = models.find(model or models.DEFAULT, self.device, precision)
        self.strip_tiles = STRIP_TILES

    def __reduce__(self) -> tuple[object, ...]:
        return Codec, (self.device, self._model_argument, self.pixel_limit, self.threads, self.precision)

    def compress(self, image: Source, quality: float | None = None, **options: Unpack[EncodeArguments]) -> bytes:
        """A picture as the bytes of an .aec file.

        image: file name, open binary file, Pillow image, or array (H, W, 3), (H, W) or (H, W, 4) of uint8, uint16, or
        float32 from 0 to 1.
        quality, options: see `EncodeOptions`.
        Raises AecodecError if the image cannot be read or no quality gives what is asked for, LimitError if it is too
        large.
        """
        return self.encode([image], EncodeOptions.parse({"quality": quality, **options}))[0]

    def compress_batch(
        self, images: Sequence[Source], quality: float | None = None, **options: Unpack[EncodeArguments]
    ) -> list[bytes]:
        """Several pictures at once; tiles of equal shape share passes through the network. See `compress`."""
        return self.encode(images, EncodeOptions.parse({"quality": quality, **options}))

    def encode(self, images: Sequence[Source], options: EncodeOptions) -> list[bytes]:
        """What `compress` and `compress_batch` do, for options that are made already."""
        with session(self.threads):
            if options.needs_search:
                return [self._meet(load(image, self.pixel_limit), options) for image in images]
            pictures = list(in_parallel([Job(1, partial(load, image, self.pixel_limit)) for image in images]))
            quality = options.first_quality
            files = self._write(pictures, self._analyses(pictures, options), quality, options)
            return [self._patched(*each, quality, options) for each in zip(pictures, files, strict=True)]

    def decompress(self, data: bytes, region: Region | None = None) -> Image.Image:
        """The picture in an .aec file, with its metadata in its `info`, see `picture.to_image`; mode L, LA, RGB or
        RGBA.

        region: (x, y, width, height) in pixels as they are stored, before any EXIF orientation: only this part is
        decoded; of a tiled picture, only the tiles that it needs.
        Raises FormatError if the data are not an undamaged .aec file, ModelError if its model is not known, LimitError
        if it is too large, AecodecError if the region is not inside the picture.
        """
        with session(self.threads):
            (picture,) = self._read([container.read(data, self.pixel_limit)], region)
            return to_image(picture)

    def decompress_array(self, data: bytes, region: Region | None = None) -> Samples:
        """The samples alone, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), alpha last; uint8, or uint16 if the picture has
        more than 8 bits, from 0 to 2^bits - 1. See `decompress`."""
        with session(self.threads):
            (picture,) = self._read([container.read(data, self.pixel_limit)], region)
            return picture.samples

    def decompress_batch(self, files: Sequence[bytes]) -> list[Image.Image]:
        """Several pictures at once; tiles of equal shape and quality share passes through the network."""
        with session(self.threads):
            return [to_image(each) for each in self._read([container.read(data, self.pixel_limit) for data in files])]

    def salvage(self, data: bytes, region: Region | None = None) -> tuple[Image.Image, list[str]]:
        """What is intact of a damaged .aec file: the picture, lost tiles grey, and a phrase for each damage, if any.

        Up to 96 pixels around a lost tile are less exact, because they depend on its latents.
        Raises FormatError if the header or every tile is damaged, otherwise as `decompress` does.
        """
        with session(self.threads):
            file, damage = container.salvage(data, self.pixel_limit)
            (picture,) = self._read([file], region)
            return to_image(picture), damage

    def _meet(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The file at the quality that gives what is asked for; the picture is analysed once for all qualities."""
        analysed = in_parallel(self._analyses([picture], options))
        kept: list[Job[list[_Analysed]]] = [
            Job(sum(box.area for each in group for _, _, box in each.tiles), partial(list, group)) for group in analysed
        ]

        def encode(quality: int) -> bytes:
            return self._patched(picture, self._write([picture], kept, quality, options)[0], quality, options)

        def fidelity(data: bytes) -> float:
            (decoded,) = self._read([container.read(data, self.pixel_limit)])
            return psnr(picture.colour, decoded.colour, 2**picture.depth - 1)

        return rate.choose(options, picture.width * picture.height, encode, fidelity)

    def _patched(self, picture: Picture, data: bytes, quality: int, options: EncodeOptions) -> bytes:
        """The file, or one in which blocks that look drawn are coded without loss, if it is the better one: by what a
        bit is worth at this quality."""
        if picture.depth != 8 or not patches.drawn(picture.colour)[1].any():
            return data
        (decoded,) = self._read([container.read(data, self.pixel_limit)])
        tiles = tiling.tiles(self._padded(picture), self._header(picture, quality, options).tile)
        chosen = patches.choose(picture, decoded.colour, quality, tiles)
        if chosen is None:
            return data
        mask, lossless = chosen
        chunk = patches.pack(lossless)
        if mask.all() and (whole := self._without_network(picture, data, chunk)) is not None:
            other = whole
        else:
            rest = replace(picture, colour=patches.without(picture.colour, mask, tiles))
            (smooth,) = self._write([rest], self._analyses([rest], options), quality, options)
            other = self._with_patches(smooth, chunk)
        gain = float(patches.squared_errors(picture.colour, decoded.colour)[mask].sum())
        more_bits = 8 * (len(other) - len(data))
        return other if patches.worth_of_a_bit(quality) * more_bits < gain else data

    def _with_patches(self, data: bytes, chunk: bytes) -> bytes:
        file = container.read(data, self.pixel_limit)
        return container.write(replace(file, chunks={**file.chunks, container.PATCHES: chunk}))

    def _without_network(self, picture: Picture, data: bytes, chunk: bytes) -> bytes | None:
        """The file in which patches cover all, so that it does not matter what the network makes of empty payloads;
        None if the family has no meaning for these."""
        file = container.read(data, self.pixel_limit)
        chunks = {**file.chunks, container.PATCHES: chunk}
        other = replace(file, chunks=chunks, tiles=[b""] * len(file.tiles))
        try:
            (shown,) = self._read([other])
        except FormatError:
            return None
        return container.write(other) if np.array_equal(shown.colour, picture.colour) else None

    def _analyses(self, pictures: Sequence[Picture], options: EncodeOptions) -> list[Job[list[_Analysed]]]:
        """What there is to do to get the latents of all tiles: calls of `_analyse`, independent of each other."""
        strips = []
        for number, picture in enumerate(pictures):
            container.check_limit(picture.width, picture.height, self.pixel_limit)
            header = self._header(picture, QUALITY_MIN, options)
            size = self._padded(picture)
            tiles = tiling.tiles(size, header.tile)
            for numbers in tiling.strips(tiles, self.strip_tiles):
                boxes = [tiles[t] for t in numbers]
                window = boxes[0].joined(boxes[-1]).with_halo(self.model.family.geometry.analysis_halo, size)
                strips.append(_Strip(number, numbers, boxes, window))
        return batches(partial(self._analyse, pictures), strips, lambda strip: strip.kind)

    def _analyse(self, pictures: Sequence[Picture], strips: Sequence[_Strip]) -> list[_Analysed]:
        """The latents of the tiles of strips of equal kind."""
        pixels = [_padded(pictures[strip.picture], strip.window) for strip in strips]
        inside = [box.within(strips[0].window) for box in strips[0].boxes]
        latents = self.model.family.analyse(np.stack(pixels), inside)
        places = [[(strip.picture, strip.numbers[k], strip.boxes[k]) for strip in strips] for k in range(len(inside))]
        return list(map(_Analysed, places, latents))

    def _write(
        self,
        pictures: Sequence[Picture],
        analyses: Sequence[Job[list[_Analysed]]],
        quality: int,
        options: EncodeOptions,
    ) -> list[bytes]:
        """Files of what `_analyses` returns, at a quality in hundredths."""
        family = self.model.family
        headers = [self._header(picture, quality, options) for picture in pictures]
        payloads = [[b""] * (header.tile_grid[0] * header.tile_grid[1]) for header in headers]

        def encode(job: Job[list[_Analysed]]) -> None:
            for tiles, latents in job.run():
                coded = family.encode(latents, partial(_pixels, pictures, tiles), quality, options)
                for (p, t, _), payload in zip(tiles, coded, strict=True):
                    payloads[p][t] = payload

        in_parallel([Job(job.size, partial(encode, job)) for job in analyses], family.encoders(options))
        files = zip(headers, pictures, payloads, strict=True)
        return [container.write(File(header, chunks_of(picture), payload)) for header, picture, payload in files]

    def _read(self, files: Sequence[File], region: Region | None = None) -> list[Picture]:
        """Pictures, or regions of them. Tiles go through in rows, so that only those of a few rows are ever held."""
        canvases = [Canvas(file, self._model_of(file.header), region) for file in files]
        for row in range(max((len(canvas.rows) for canvas in canvases), default=0)):
            active = [canvas for canvas in canvases if row < len(canvas.rows)]
            missing = [task for canvas in active for task in canvas.advance(row)]
            in_parallel(batches(_decode, missing, lambda task: task.kind))
            views = [view for canvas in active for view in canvas.views(row)]
            for job in batches(_synthesise, views, lambda view: view.kind):
                job.run()  # workers would gain nothing and take more memory
        return [canvas.picture() for canvas in canvases]

    def _model_of(self, header: Header) -> Model:
        if header.model_id == self.model.id:
            return self.model
        return models.load_released(models.released_name(header.model_id), self.device, self.precision)

    def _padded(self, picture: Picture) -> Size:
        return tiling.padded((picture.height, picture.width), self.model.family.geometry.padding)

    def _header(self, picture: Picture, quality: int, options: EncodeOptions) -> Header:
        channels = (1 if picture.colour.ndim == 2 else 3) + (picture.alpha is not None)
        size = self._padded(picture)
        side = tiling.side_of_tiles(size, options.tile)
        if not side and size[0] * size[1] > container.MAX_TILE_PIXELS:
            raise LimitError(f"{picture.width}x{picture.height} pixels are too many for one tile")
        return Header(picture.width, picture.height, channels, self.model.id, quality, side)


def _pixels(pictures: Sequence[Picture], tiles: Sequence[tuple[int, int, Box]]) -> Samples:
    """(B, H, W, 3) of tiles of equal size."""
    return np.stack([_padded(pictures[p], box) for p, _, box in tiles])


def _padded(picture: Picture, box: Box) -> Samples:
    """(*box.size, 3), as families take them: uint8, or float32 of pictures of more than 8 bits."""
    return pad(picture.colour[box.slices], box.size, picture.depth)


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
    pixels = canvas.family.synthesise(mosaics, inner.within(window), canvas.file.header.quality, canvas.depth)
    for view, own in zip(views, pixels, strict=True):
        view.paste(own)
