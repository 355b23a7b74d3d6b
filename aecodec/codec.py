"""Pictures to bytes and back: the one place where the stages meet.

encoding   pixels -> analysis -> hyper latents -> scale indices -> symbols -> entropy coder -> file
decoding   file -> entropy decoder -> hyper latents -> scale indices -> symbols -> latents -> synthesis -> pixels
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aecodec import container, rate
from aecodec.container import DEFAULT_PIXEL_LIMIT, QUALITY_MIN, File, Header
from aecodec.entropy import Indices, Symbols
from aecodec.errors import AecodecError, FormatError
from aecodec.hiding import Passes, sign_groups, tables_of, with_signs, without_signs
from aecodec.integer import POSITION_STEPS
from aecodec.networks import (
    HYPER_STRIDE,
    STRIDE,
    Box,
    network_input,
    pixels_of_squares,
    regroup,
    scale_of_index,
    with_halo,
    within,
)
from aecodec.picture import Picture, Source, decode_alpha, encode_alpha, load, to_image
from aecodec.picture.padding import crop, pad
from aecodec.rate import DEFAULT_EFFORT, DEFAULT_QUALITY
from aecodec.rounding import bits_per_square, round_latents, search, shifts
from aecodec.weights import DEFAULT, Model, load_released, locate, released_name

TILE = 1024  # side of the tiles of large pictures, pixels
UNTILED_PIXELS = 2**21  # a picture of up to so many (padded) pixels is one tile
BATCH_PIXELS = 2**20  # tiles that go through the network together have at most so many pixels
WORKERS = 2  # parts of pictures that are done at the same time: the network works on one, the coder on another
MAX_IMBALANCE = 1.1  # the longest of the workers' times over their mean; with more, working one by one is faster
STRIP_TILES = 2  # neighbours whose pixels are analysed in one piece: fewer halos for more memory
PIECE_PIXELS = 2**21  # about as many are synthesised in one piece, for the same reason
PIECE_SLACK = 0.25  # a piece may be larger by so much of that if there is one less then
OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a")  # in messages of torch, C++ and oneDNN
EFFORT_MAX = 100  # steps; more than 16 bring next to nothing
LOST = 128  # level of the pixels of tiles that are lost to damage


if hasattr(os, "register_at_fork"):
    # The OpenMP of torch waits forever in a forked process for threads that only its parent has. One thread needs none.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Torch reports a lack of memory as a RuntimeError: makes it a MemoryError, as numpy's is."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


class Codec:
    """Compresses and decompresses with one model on one device; keeps both loaded between calls.

    Several threads may use one codec at the same time, with the same results. So may processes: a codec can be pickled,
    which loads the model again on the other side, and may be used after a fork (on the CPU, by one thread there).

    Args:
        device: "auto" (CUDA if there is one), "cpu", "cuda" or another of torch's names.
        model: name of a released model or path of a weights file; None for the default. Files that were written with
            another released model are decoded with that one.
        pixel_limit: pictures of more pixels raise LimitError.

    Raises ModelError if the model cannot be loaded, AecodecError if the device does not exist. Where memory does not
    suffice, all methods raise MemoryError and the codec stays usable.
    """

    def __init__(self, device: str = "auto", model: str | Path | None = None, pixel_limit: int = DEFAULT_PIXEL_LIMIT):
        self._model_argument = model
        self.device = find_device(device)
        self.pixel_limit = pixel_limit
        path, released = locate(model or DEFAULT)
        self.model = load_released(path.stem, self.device) if released else Model(path, self.device)

    def __reduce__(self) -> tuple[object, ...]:
        return Codec, (str(self.device), self._model_argument, self.pixel_limit)

    @_memory_errors()
    def compress(
        self,
        image: Source,
        quality: float | None = None,
        *,
        bpp: float | None = None,
        size: int | None = None,
        psnr: float | None = None,
        min_psnr: float | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> bytes:
        """A picture as the bytes of an .aec file.

        image: file name, open binary file, Pillow image, or uint8 array (H, W, 3), (H, W) or (H, W, 4).
        quality: 1..100; fractions count, to a hundredth. 50 if nothing else is asked for.
        bpp, size: bits per pixel or bytes of the file, at most; it is filled to 98 % if quality 100 needs so much.
        psnr: dB of the decoded 8-bit RGB samples, at least; at most 0.1 dB more if quality 1 is not better.
        min_psnr: dB; the quality is raised where the file would be worse, beyond `bpp` or `size` too.
        effort: steps of a search for better latents, 0..100. At equal PSNR one saves about 3 % of the size and takes
        twice the time of none; 8 save about 3 % more in eight times the time of one, more than 16 nothing more.
        Decompressing takes the same time as ever.
        Raises AecodecError if the image cannot be read or no quality gives what is asked for, LimitError if it is too
        large.
        """
        goal = rate.Goal(quality, bpp, size, psnr, min_psnr)
        if not goal.needs_search:
            return self.compress_batch([image], DEFAULT_QUALITY if quality is None else quality, effort)[0]
        check_effort(effort)
        picture = load(image)
        analysed = _in_parallel(self._analyses([picture]))  # once for all qualities
        kept: list[_Job[list[_Latents]]] = [
            _Job(sum(latents.numel() for _, latents in tiles), partial(list, tiles)) for tiles in analysed
        ]

        def encode(hundredths: int) -> bytes:
            return self._write([picture], kept, hundredths, effort)[0]

        def fidelity(data: bytes) -> float:
            (decoded,) = self._read([container.read(data, self.pixel_limit)], [None])
            return rate.psnr(picture.colour, decoded.colour)

        return rate.choose(goal, picture.width * picture.height, encode, fidelity)

    @_memory_errors()
    def compress_batch(
        self, images: Sequence[Source], quality: float = DEFAULT_QUALITY, effort: int = DEFAULT_EFFORT
    ) -> list[bytes]:
        """Several pictures at once; tiles of equal shape share passes through the network. See `compress`."""
        hundredths = rate.hundredths(quality)
        check_effort(effort)
        pictures = list(_in_parallel([_Job(1, partial(load, image)) for image in images]))
        return self._write(pictures, self._analyses(pictures), hundredths, effort)

    @_memory_errors()
    def decompress(self, data: bytes, region: Region | None = None) -> Image.Image:
        """The picture in an .aec file, with EXIF, ICC profile and XMP in its `info`; mode L, LA, RGB or RGBA.

        region: (x, y, width, height) in pixels as they are stored, before any EXIF orientation: only this part is
        decoded; of a tiled picture, only the tiles that it needs.
        Raises FormatError if the data are not an undamaged .aec file, ModelError if its model is not known, LimitError
        if it is too large, AecodecError if the region is not inside the picture.
        """
        (picture,) = self._read([container.read(data, self.pixel_limit)], [region])
        return to_image(picture)

    @_memory_errors()
    def decompress_batch(self, files: Sequence[bytes]) -> list[Image.Image]:
        """Several pictures at once; tiles of equal shape and quality share passes through the network."""
        contents = [container.read(data, self.pixel_limit) for data in files]
        return [to_image(picture) for picture in self._read(contents, [None] * len(contents))]

    @_memory_errors()
    def salvage(self, data: bytes, region: Region | None = None) -> tuple[Image.Image, list[str]]:
        """What is intact of a damaged .aec file: the picture, lost tiles grey, and a phrase for each damage, if any.

        Up to 96 pixels around a lost tile are less exact, because they depend on its latents.
        Raises FormatError if the header or every tile is damaged, otherwise as `decompress` does.
        """
        file, damage = container.salvage(data, self.pixel_limit)
        (picture,) = self._read([file], [region])
        return to_image(picture), damage

    def _analyses(self, pictures: Sequence[Picture]) -> list[_Job[list[_Latents]]]:
        """What there is to do to get the latents of all tiles: calls of `_analyse`, independent of each other."""
        strips = []
        for p, picture in enumerate(pictures):
            container.check_limit(picture.width, picture.height, self.pixel_limit)
            header = self._header(picture, QUALITY_MIN)
            tiles = _tiles(header)
            for numbers in _strips(tiles):
                boxes = [tiles[t] for t in numbers]
                window = with_halo(_union(boxes), header.padded_size, self.model.network.config.analysis_halo)
                strips.append(_Strip([(p, t) for t in numbers], boxes, window))
        return _batches(
            partial(self._analyse, pictures),
            strips,
            lambda strip: (within(_union(strip.boxes), strip.window), _size(strip.window)),
        )

    def _analyse(self, pictures: Sequence[Picture], strips: Sequence[_Strip]) -> list[_Latents]:
        """The latents of the tiles of strips of equal shape."""
        _, boxes, window = strips[0]
        whole = _union(boxes)
        pixels = [pad(pictures[strip.places[0][0]].colour[strip.window], _size(window)) for strip in strips]
        latents = self._latents(torch.cat(pixels), within(whole, window))
        result = []
        for k, box in enumerate(boxes):  # strips of equal shape are divided equally
            _, columns = _in_latents(within(box, whole))
            own = latents[:, :, :, columns].contiguous(memory_format=torch.channels_last)
            result.append(([strip.places[k] for strip in strips], own))
        return result

    def _write(
        self, pictures: Sequence[Picture], analyses: Sequence[_Job[list[_Latents]]], quality: int, effort: int
    ) -> list[bytes]:
        """Files of what `_analyses` returns, at a quality in hundredths."""
        headers = [self._header(picture, quality) for picture in pictures]
        tiles = [_tiles(header) for header in headers]

        def encode(analyse: Callable[[], list[_Latents]]) -> list[tuple[_Place, bytes]]:
            result: list[tuple[_Place, bytes]] = []
            for places, latents in analyse():
                pixels = None
                if effort:
                    boxes = [(pictures[p].colour, tiles[p][t]) for p, t in places]
                    pixels = torch.cat([pad(colour[box], _size(box)) for colour, box in boxes])
                result += zip(places, self._encode(latents, quality, pixels, effort), strict=True)
            return result

        payloads = [[b""] * len(boxes) for boxes in tiles]
        workers = 1 if effort > 1 else WORKERS  # more steps gain nothing by it and take twice the memory
        for coded in _in_parallel([_Job(job.size, partial(encode, job.run)) for job in analyses], workers):
            for (p, t), payload in coded:
                payloads[p][t] = payload
        return [
            container.write(File(header, _chunks(picture), payload))
            for header, picture, payload in zip(headers, pictures, payloads, strict=True)
        ]

    def _header(self, picture: Picture, quality: int) -> Header:
        channels = (1 if picture.colour.ndim == 2 else 3) + (picture.alpha is not None)
        whole = Header(picture.width, picture.height, channels, self.model.id, quality)
        height, width = whole.padded_size
        return replace(whole, tile=TILE) if height * width > UNTILED_PIXELS else whole

    def _read(self, files: Sequence[File], regions: Sequence[Region | None]) -> list[Picture]:
        """Pictures or regions of them. Tiles go through in rows, so that only those of a few rows are ever held."""
        parts = [_Part(file, self._model_of(file.header), region) for file, region in zip(files, regions, strict=True)]
        for row in range(max((len(part.rows) for part in parts), default=0)):
            active = [part for part in parts if row < len(part.rows)]
            missing = [(part, number) for part in active for number in part.advance(row)]
            _in_parallel(_batches(self._decode, missing, lambda tile: (tile[0].key, _size(tile[0].tiles[tile[1]]))))
            views = [view for part in active for view in part.views(row)]
            for job in _batches(self._synthesise, views, lambda view: (view.key, _size(view.outer))):
                job.run()  # workers would gain nothing and take more memory
        return [part.picture() for part in parts]

    def _model_of(self, header: Header) -> Model:
        if header.model_id == self.model.id:
            return self.model
        return load_released(released_name(header.model_id), self.device)

    @torch.inference_mode()
    def _latents(self, pixels: Tensor, inside: Box) -> Tensor:
        """See `latents_of_tiles`. pixels: (B, 3, H, W) uint8, tiles with their halo."""
        x = network_input(pixels.to(self.device)).to(memory_format=torch.channels_last)
        return latents_of_tiles(self.model, x, inside)

    @torch.inference_mode()
    def _encode(self, latents: Tensor, quality: int, pixels: Tensor | None, effort: int) -> list[bytes]:
        """Payloads of tiles. See `symbols_of_latents`."""
        model = self.model
        z, symbols, index, groups = symbols_of_latents(model, latents, quality, pixels, effort)
        hyper, z_indices = _array(model.scale_model.z_residual(z), torch.int32), _z_indices(model, z.shape[1:], quality)
        coded, tables = without_signs(symbols, groups), tables_of(index, groups)
        tiles = zip(hyper, _array(coded, torch.int32), _array(tables, torch.uint8), strict=True)
        return [model.tables.encode([(z, z_indices), (symbols, tables)]) for z, symbols, tables in tiles]

    @torch.inference_mode()
    def _decode(self, tiles: Sequence[tuple[_Part, int]]) -> None:
        """Finds the latents of tiles of equal shape, model and quality, given by their parts and numbers."""
        part, number = tiles[0]
        model, quality, size = part.model, part.file.header.quality, _size(part.tiles[number])
        position = quality - QUALITY_MIN
        decoders = [model.tables.decoder(part.file.tiles[number]) for part, number in tiles]
        shape = (model.network.config.hyper_channels, size[0] // HYPER_STRIDE, size[1] // HYPER_STRIDE)
        z_indices = _z_indices(model, shape, quality)
        z = model.scale_model.z_of_residual(np.stack([decoder.take(z_indices) for decoder in decoders]))
        z_hat = torch.from_numpy(z).to(self.device, torch.float32, memory_format=torch.channels_last)
        features, index = model.scale_model(z_hat, position)
        groups = sign_groups(model.network.config, index)
        indices = _array(tables_of(index, groups), torch.uint8)
        symbols = []
        for decoder, tile in zip(decoders, indices, strict=True):
            symbols.append(decoder.take(tile))
            decoder.finish()
        r_hat = torch.from_numpy(np.stack(symbols)).to(self.device, torch.float32, memory_format=torch.channels_last)
        r_hat = with_signs(r_hat, groups)
        r_hat, means = model.network.entropy_model.passes(features, scale_of_index(index), lambda *_: r_hat)
        latents = torch.cat([means.add_(r_hat), features], 1)
        for (part, number), own in zip(tiles, latents, strict=True):
            part.latents[number] = own

    @torch.inference_mode()
    def _synthesise(self, views: Sequence[_View]) -> None:
        """Makes the pixels of views of equal shape, model and quality, and puts them where they belong."""
        part, _, outer, inner = views[0]
        network, quality = part.model.network, part.file.header.quality
        latents = torch.cat([view.part.gather(view.outer) for view in views])
        position = _row_position(quality, len(latents), self.device)
        m = network.config.latent_channels
        y_hat, features = (v.contiguous(memory_format=torch.channels_last) for v in (latents[:, :m], latents[:, m:]))
        inside = _in_latents(within(inner, outer))
        x = network.synthesis(y_hat, y_hat * network.decoder_gain(position), features, position, inside)
        pixels = pixels_of_squares(x.add_(0.5).mul_(255).round_().clamp_(0, 255).to(torch.uint8))
        for view, plane in zip(views, pixels, strict=True):
            rows, columns = within(view.box, view.inner)
            view.part.paste(view.box, plane[:, rows, columns])


def check_effort(effort: int) -> None:
    """Raises AecodecError unless it is 0 to EFFORT_MAX."""
    if not 0 <= effort <= EFFORT_MAX:
        raise AecodecError(f"effort {effort}; expected 0 to {EFFORT_MAX}")


Region = tuple[int, int, int, int]  # x, y, width, height, in pixels
_Place = tuple[int, int]  # number of a picture and of a tile in it
_I = TypeVar("_I")
_T = TypeVar("_T")
_Latents = tuple[list[_Place], Tensor]  # of tiles of equal shape, before gain: (B, M, h, w), and whose they are


@dataclass(frozen=True)
class _Job(Generic[_T]):
    """Something to do, and how much it is, in pixels."""

    size: int
    run: Callable[[], _T]


class _Strip(NamedTuple):
    """Neighbouring tiles that are analysed in one piece: whose they are, where, and the window with their halo."""

    places: list[_Place]
    boxes: list[Box]
    window: Box


def _in_parallel(jobs: Sequence[_Job[_T]], workers: int = WORKERS) -> list[_T]:
    """Results of jobs, larger ones first, computed by workers which share the threads of torch. Where jobs are so few
    or so unequal that a worker would wait, they run one after the other with all threads."""
    jobs = sorted(jobs, key=lambda job: -job.size)
    threads = torch.get_num_threads()
    workers = min(workers, threads)
    loads = [0] * workers
    for job in jobs:  # as they will be taken: each by the worker that is free first
        loads[loads.index(min(loads))] += job.size
    if workers < 2 or workers * max(loads) > MAX_IMBALANCE * sum(loads):
        return [job.run() for job in jobs]
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            return list(pool.map(lambda job: job.run(), jobs))
    finally:
        torch.set_num_threads(threads)  # what a worker sets is also the default of threads begun later


class _Part:
    """A file on its way to pixels: the part of the picture that is wanted, and what is known of its tiles.

    Attributes: area, the part of the picture; tiles, boxes of the padded picture; rows, what is wanted of each tile, by
    rows of tiles; latents, of the tiles in flight by their number, what synthesis needs of them: (M + trunk, h, w)
    float32, latents in quantisation steps and after them features; key, equal for parts that may share a pass through
    the network.
    """

    def __init__(self, file: File, model: Model, region: Region | None):
        self.file, self.model = file, model
        header = file.header
        x, y, width, height = region or (0, 0, header.width, header.height)
        if min(x, y) < 0 or min(width, height) < 1 or x + width > header.width or y + height > header.height:
            raise AecodecError(
                f"region {x},{y},{width},{height} (x, y, width, height) is not inside {header.width}x{header.height}"
            )
        self.area = slice(y, y + height), slice(x, x + width)
        self.key = (header.quality, header.model_id)
        self.tiles = _tiles(header)
        wanted = (_overlap(tile, self.area) for tile in self.tiles)
        boxes = [box for box in wanted if box]
        self.rows = [[boxes[number] for number in row] for row in _rows(boxes)]
        self.latents: dict[int, Tensor] = {}
        self._colour = np.empty((height, width, 3)[: 3 if header.channels > 2 else 2], np.uint8)

    def views(self, row: int) -> list[_View]:
        """What is wanted of a row, in pieces that are synthesised at once."""
        halo = self.model.network.config.synthesis_halo
        return [
            _View(self, box, self._window(box, halo), self._window(box, 0)) for box in _pieces(_union(self.rows[row]))
        ]

    def advance(self, row: int) -> list[int]:
        """Forgets the tiles that this row of `rows` and later ones do not need; returns those to decode for it."""
        needed = self._touched(self._window(_union(self.rows[row]), self.model.network.config.synthesis_halo))
        self.latents = {number: self.latents[number] for number in needed if number in self.latents}
        for number in self.file.lost.intersection(needed):
            self.latents[number] = self._no_latents(number)
        return [number for number in needed if number not in self.latents]

    def _touched(self, window: Box) -> list[int]:
        """Numbers of the tiles that share pixels with a window."""
        header = self.file.header
        side = header.tile or max(header.padded_size)
        rows, columns = (range(part.start // side, -(-part.stop // side)) for part in window)
        return [row * header.tile_grid[1] + column for row in rows for column in columns]

    def _no_latents(self, number: int) -> Tensor:
        config = self.model.network.config
        height, width = (side // STRIDE for side in _size(self.tiles[number]))
        return torch.zeros(config.latent_channels + config.trunk_channels, height, width, device=self.model.device)

    def _window(self, box: Box, halo: int) -> Box:
        """The pixels of a box, of whole latents, and of a halo of so many latents around it."""
        rows, columns = (slice(side.start // STRIDE * STRIDE, -(-side.stop // STRIDE) * STRIDE) for side in box)
        return with_halo((rows, columns), self.file.header.padded_size, halo * STRIDE)

    def gather(self, window: Box) -> Tensor:
        """The latents of a window, (1, M + trunk, h, w), from the tiles that it touches."""
        height, width = (side // STRIDE for side in _size(window))
        one = next(iter(self.latents.values()))
        shape = (1, len(one), height, width)
        result = torch.empty(shape, device=one.device, memory_format=torch.channels_last)
        for number in self._touched(window):
            shared = _overlap(self.tiles[number], window)
            assert shared is not None
            there, here = (_in_latents(within(shared, box)) for box in (window, self.tiles[number]))
            result[0, :, there[0], there[1]] = self.latents[number][:, here[0], here[1]]
        return result

    def paste(self, box: Box, pixels: Tensor) -> None:
        """Takes the pixels of a box, (3, H, W) uint8."""
        height, width = _size(box)
        self._colour[within(box, self.area)] = crop(pixels, width, height, grey=self._colour.ndim == 2)

    def picture(self) -> Picture:
        header, chunks = self.file.header, self.file.chunks
        alpha = None
        if header.channels in (2, 4):
            if container.ALPHA not in chunks:
                raise FormatError("the header promises an alpha channel, but there is none")
            alpha = decode_alpha(chunks[container.ALPHA], header.width, header.height)[self.area]
        for number in self.file.lost:
            if shared := _overlap(self.tiles[number], self.area):
                self._colour[within(shared, self.area)] = LOST
        metadata = (chunks.get(name) for name in (container.EXIF, container.ICC, container.XMP))
        return Picture(self._colour, alpha, *metadata)


class _View(NamedTuple):
    """A piece of a picture that is synthesised at once: the wanted box, the window around it whose latents its pixels
    depend on, and the box rounded up to whole latents."""

    part: _Part
    box: Box
    outer: Box
    inner: Box

    @property
    def key(self) -> object:
        """Equal for views that may share a pass through the network, if their sizes are equal, too."""
        return self.part.key, within(self.inner, self.outer)


def symbols_of_tiles(model: Model, x: Tensor, inside: Box, quality: int) -> tuple[Symbols, Symbols, Indices]:
    """`symbols_of_latents` of `latents_of_tiles`, without the groups."""
    z, symbols, index, _ = symbols_of_latents(model, latents_of_tiles(model, x, inside), quality)
    return _array(z, torch.int32), _array(symbols, torch.int32), _array(index, torch.uint8)


@torch.inference_mode()
def latents_of_tiles(model: Model, x: Tensor, inside: Box) -> Tensor:
    """The latents of a batch of tiles before gain, (B, M, h, w) float32; they do not depend on quality.

    x: (B, 192, H/8, W/8), see `network_input`. inside: rows and columns of the tile, in pixels of x; what is around
    it is halo.
    """
    rows, columns = _in_latents(inside)
    return model.network.analysis(x)[:, :, rows, columns]


@torch.inference_mode()
def symbols_of_latents(
    model: Model, latents: Tensor, quality: int, pixels: Tensor | None = None, effort: int = 0
) -> tuple[Tensor, Tensor, Tensor, list[Passes]]:
    """What is entropy-coded of a batch of tiles.

    latents: see `latents_of_tiles`. quality: hundredths. effort: steps of `rounding.search`, which needs the pixels of
    the tiles, (B, 3, H, W) uint8.
    Returns hyper latents (B, hyper, h/4, w/4), symbols (B, M, h, w) and their scale indices of the same shape, all as
    integers in float32, and the groups that hide signs, if the model hides any.
    """
    network = model.network
    position = _row_position(quality, len(latents), latents.device)
    y = latents * network.encoder_gain(position)
    z_index = model.scale_model.z_scale_index(quality - QUALITY_MIN).to(y.device)
    z_coded = model.prices[z_index].isfinite()  # what is not coded arrives as 0
    z = network.entropy_model.hyper_latents(y).round().mul_(z_coded[:, None, None])
    features, index = model.scale_model(z, quality - QUALITY_MIN)
    groups = sign_groups(network.config, index)
    if effort:
        assert pixels is not None
        target = regroup(network_input(pixels.to(y.device)))
        with torch.inference_mode(mode=False):
            y, shift = search(network, y, features, index, model.prices, position, target, effort, groups)
    else:
        shift = shifts(index, model.prices, bits_per_square(position))
    symbols, _ = round_latents(network, y, features, index, shift, groups)
    return z, symbols, index, groups


def _array(values: Tensor, dtype: torch.dtype) -> np.ndarray:
    return values.to(dtype).cpu().contiguous().numpy()


def _z_indices(model: Model, shape: Sequence[int], quality: int) -> Indices:
    index = model.scale_model.z_scale_index(quality - QUALITY_MIN).to(torch.uint8).numpy()
    return np.broadcast_to(index[:, None, None], tuple(shape))


def _row_position(quality: int, count: int, device: torch.device) -> Tensor:
    return torch.full((count,), (quality - QUALITY_MIN) / POSITION_STEPS, device=device)


def find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AecodecError(f"device {name!r} is not available ({str(error).splitlines()[0]})") from error
    return device


def _tiles(header: Header) -> list[Box]:
    """Where the tiles of a picture are, row by row, in pixels of the padded picture."""
    height, width = header.padded_size
    side = header.tile or max(height, width)
    return [
        (slice(top, min(top + side, height)), slice(left, min(left + side, width)))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def _overlap(a: Box, b: Box) -> Box | None:
    rows, columns = (slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _rows(boxes: Sequence[Box]) -> list[range]:
    """Numbers of the boxes of each row; the boxes are given row by row."""
    rows = [list(row) for _, row in groupby(range(len(boxes)), lambda number: boxes[number][0].start)]
    return [range(row[0], row[-1] + 1) for row in rows]


def _strips(boxes: Sequence[Box]) -> list[range]:
    """Numbers of the boxes that go through the analysis in one piece: up to STRIP_TILES neighbours in a row."""
    return [row[start : start + STRIP_TILES] for row in _rows(boxes) for start in range(0, len(row), STRIP_TILES)]


def _pieces(box: Box) -> list[Box]:
    """The box cut into pieces of about PIECE_PIXELS, from left to right, at borders of latents."""
    rows, columns = box
    height, width = _size(box)
    count = max(1, math.ceil(height * width / PIECE_PIXELS - PIECE_SLACK))
    borders = [(columns.start + width * k // count) // STRIDE * STRIDE for k in range(1, count)]
    return [(rows, slice(*ends)) for ends in pairwise([columns.start, *borders, columns.stop])]


def _union(boxes: Sequence[Box]) -> Box:
    """Of neighbours in a row, from left to right."""
    return boxes[0][0], slice(boxes[0][1].start, boxes[-1][1].stop)


def _size(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _in_latents(box: Box) -> Box:
    rows, columns = (slice(side.start // STRIDE, side.stop // STRIDE) for side in box)
    return rows, columns


def _batches(
    run: Callable[[list[_I]], _T], items: Sequence[_I], kind: Callable[[_I], tuple[object, tuple[int, int]]]
) -> list[_Job[_T]]:
    """What there is to do to run items in batches: such of equal kind, and few enough.

    kind: a key, and (height, width) in pixels.
    """
    groups: dict[str, list[_I]] = {}
    for item in items:
        groups.setdefault(repr(kind(item)), []).append(item)
    jobs = []
    for group in groups.values():
        _, (height, width) = kind(group[0])
        count = max(1, BATCH_PIXELS // (height * width))
        for start in range(0, len(group), count):
            batch = group[start : start + count]
            jobs.append(_Job(len(batch) * height * width, partial(run, batch)))
    return jobs


def _chunks(picture: Picture) -> dict[str, bytes]:
    alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
    named = {
        container.ALPHA: alpha,
        container.EXIF: picture.exif,
        container.ICC: picture.icc,
        container.XMP: picture.xmp,
    }
    return {name: data for name, data in named.items() if data is not None}
