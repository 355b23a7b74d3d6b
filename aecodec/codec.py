"""Pictures to bytes and back: the one place where the rooms meet.

encoding   picture -> analysis -> family: latents, payloads -> container
decoding   container -> family: states of tiles, pixels of windows -> canvas -> picture
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec import canvas, container, inputs, models, rate, tiling
from aecodec.analysis import STRIP_TILES, Analysis, analyses, kept, padded_size, pixels_of, side_of_tiles
from aecodec.canvas import Canvas, Region
from aecodec.container import DEFAULT_PIXEL_LIMIT, File, Header
from aecodec.description import Description, describe
from aecodec.errors import AecodecError
from aecodec.families.base import Rendering
from aecodec.many import Done, Errors, Many
from aecodec.metrics import psnr
from aecodec.models import Model
from aecodec.options import ESTIMATED, EncodeOptions
from aecodec.patching import Drawing
from aecodec.picture import Picture, Samples, chunks_of, filling, load, to_image
from aecodec.picture.names import DENOISED
from aecodec.picture.noise import estimated_noise
from aecodec.picture.preview import preview_of, thumbnail_of, with_preview
from aecodec.picture.turning import turned_upright
from aecodec.pipeline import Job, in_parallel, session
from aecodec.tiling import Box

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from aecodec.inputs import Encoded, Given
    from aecodec.options import EncodeArguments


class Salvaged(NamedTuple):
    """What could be had of a damaged file: the picture, lost tiles filled with colours that go smoothly over from what
    is around them; a phrase for each damage, if any; and (H, W) bool, true where pixels were filled."""

    image: Image.Image
    damage: list[str]
    filled: npt.NDArray[np.bool_]


class Codec:
    """Compresses and decompresses with one model on one device; keeps both loaded between calls.

    Several threads may use one codec at the same time, with the same results. So may processes: a codec can be pickled,
    which loads the model again on the other side, and may be used after a fork (on the CPU, by one thread there).

    Args:
        device: "auto" (CUDA if there is one), "cpu", "cuda" or another of torch's names.
        model: name of a released model or path of a weights file; None for the default ones, of which `tune` chooses
            one. Files that were written with another released model are decoded with that one.
        pixel_limit: pictures of more pixels raise LimitError.
        threads: of the CPU, for the length of a call; None: as many as torch has been told to use.
        precision: what the encoder computes in: "auto" (what is fast), "float32" or "bfloat16"; decoding is float32.

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
        inputs.check_bounds(pixel_limit, threads)
        self._model_argument = model
        self.pixel_limit, self.threads, self.precision = pixel_limit, threads, precision
        self.device = models.find_device(device)
        self.model = models.find(model or models.DEFAULT, self.device, precision)
        self.strip_tiles = STRIP_TILES

    def __reduce__(self) -> tuple[object, ...]:
        return Codec, (self.device, self._model_argument, self.pixel_limit, self.threads, self.precision)

    def compress(self, image: Given, quality: float | None = None, **options: Unpack[EncodeArguments]) -> bytes:
        """A picture as the bytes of an .aec file.

        image: file name, open binary file, the bytes of a picture file, Pillow image, or array (H, W, 3), (H, W) or
        (H, W, 4) of uint8, uint16, or float32 from 0 to 1.
        quality, options: see `EncodeOptions`.
        Raises AecodecError if the image cannot be read or no quality gives what is asked for, LimitError if it is too
        large.
        """
        (data,) = self.encode([image], self._asked(EncodeOptions.parse({"quality": quality, **options})))
        return data

    def compress_batch(
        self,
        images: Sequence[Given],
        quality: float | None = None,
        *,
        each: Sequence[EncodeOptions] | None = None,
        errors: Errors = "raise",
        done: Done | None = None,
        **options: Unpack[EncodeArguments],
    ) -> list[Any]:
        """Several pictures, a few at a time; tiles of equal shape share passes through the network. See `compress`.

        quality, options: of all; or each: of each picture its own.
        errors: "raise", or "return": then what fails leaves its AecodecError or OSError in the place of its bytes.
        done: called with the number of a picture and its bytes (or error) as soon as these are there.
        """
        images = inputs.several(images, "compress")
        if isinstance(quality, (list, tuple)):
            raise AecodecError(
                "quality is that of all pictures; for one of each: each=[EncodeOptions(quality=40), ...]"
            )
        common = {name: value for name, value in {"quality": quality, **options}.items() if value is not None}
        if each is None:
            each = [EncodeOptions.parse(common)] * len(images)
        elif common or len(each) != len(images):
            raise AecodecError(f"{len(each)} options for {len(images)} pictures, and none beside them, are expected")
        chosen = [self._asked(one) for one in each]

        def work(options: Any, pictures: Sequence[Picture]) -> list[bytes]:
            return self._encode(pictures, options)

        with session(self.threads):
            read = self._load
            return Many(read, lambda p: p.width * p.height, chosen.__getitem__, work, errors, done).run(images)

    def _asked(self, options: EncodeOptions) -> EncodeOptions:
        if options.tune is not None and self._model_argument is not None:
            raise AecodecError("tune chooses between the default models; leave it out, or the codec's model")
        return options

    def encode(self, images: Sequence[Given], options: EncodeOptions) -> list[bytes]:
        """`compress` of several pictures at once, for options that are made already."""
        with session(self.threads):
            return self._encode(in_parallel([Job(1, partial(self._load, image)) for image in images]), options)

    def _load(self, image: Given) -> Picture:
        picture = load(inputs.picture(image), self.pixel_limit)
        container.check_limit(picture.width, picture.height, self.pixel_limit)  # of arrays and images, too
        return picture

    def _encode(self, pictures: Sequence[Picture], options: EncodeOptions) -> list[bytes]:
        if options.denoise == ESTIMATED:
            return [self._encode([p], replace(options, denoise=estimated_noise(p)))[0] for p in pictures]
        if options.preview is not None:
            pictures = [with_preview(picture, options.preview) for picture in pictures]
        if options.needs_search:
            return [self._meet(picture, options) for picture in pictures]
        files = self._write(pictures, self._analyses(pictures, options), options.first_quality, options)
        drawings = [self._drawing(picture, options) for picture in pictures]
        return [self._patched(*each, options) for each in zip(drawings, files, strict=True)]

    @overload
    def decompress(
        self, data: Encoded, region: Region | None = None, *, as_array: Literal[False] = False, upright: bool = False
    ) -> Image.Image: ...

    @overload
    def decompress(
        self, data: Encoded, region: Region | None = None, *, as_array: Literal[True], upright: bool = False
    ) -> Samples: ...

    def decompress(
        self, data: Encoded, region: Region | None = None, *, as_array: bool = False, upright: bool = False
    ) -> Image.Image | Samples:
        """The picture in an .aec file, with its metadata in its `info`, see `picture.to_image`; mode L, LA, RGB or
        RGBA.

        data: the bytes of the file, its name, or the open file.
        region: (x, y, width, height) in pixels as they are stored, before any EXIF orientation: only this part is
        decoded; of a tiled picture, only the tiles that it needs.
        as_array: the samples instead, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), alpha last; uint8, or uint16 if the
        picture has more than 8 bits, from 0 to 2^bits - 1.
        upright: turned as its EXIF orientation says, which becomes 1: for viewers that ignore it.
        Raises FormatError if the data are not an undamaged .aec file, ModelError if its model is not known, LimitError
        if it is too large, AecodecError if the region is not inside the picture, OSError if the file cannot be read.
        """
        content = container.read(inputs.encoded(data), self.pixel_limit)
        with session(self.threads):
            (picture,) = self._read([content], [region])
            picture = turned_upright(picture) if upright else picture
            return picture.samples if as_array else to_image(picture)

    def decompress_batch(
        self, files: Sequence[Encoded], *, as_array: bool = False, errors: Errors = "raise", done: Done | None = None
    ) -> list[Any]:
        """Several pictures, a few at a time; tiles of equal shape and quality share passes through the network. See
        `decompress`; errors, done: see `compress_batch`."""

        def work(_: object, contents: Sequence[File]) -> list[Any]:
            return [picture.samples if as_array else to_image(picture) for picture in self._read(contents)]

        def read(file: Encoded) -> File:
            return container.read(inputs.encoded(file), self.pixel_limit)

        files = inputs.several(files, "decompress")
        with session(self.threads):
            pixels: Callable[[File], int] = lambda file: file.header.width * file.header.height  # noqa: E731
            return Many(read, pixels, lambda _: None, work, errors, done).run(files)

    def decode_tensor(
        self,
        files: Sequence[Encoded],
        device: str | None = None,
        *,
        regions: Sequence[Region | None] | None = None,
        floating: bool = False,
        rgb: bool = False,
    ) -> list[Tensor]:
        """Pictures as tensors (C, H, W), all at once; on a GPU, pixels do not go over the host. See `decompress`.

        device: where they shall be, as torch names it; None: where the codec is. regions: of each picture the part that
        is wanted, None for all. floating: float32 in 0..1 instead of uint8, to which deeper samples are rounded.
        rgb: always three channels; otherwise one if a picture is grey. Alpha, if any, is left out; colours and
        orientation are as they are stored. Memory is that of channels_last: what needs the other asks `contiguous`.
        """
        from aecodec import tensors

        contents = [container.read(inputs.encoded(file), self.pixel_limit) for file in files]
        with session(self.threads):
            found = self._tensors(contents, regions or [None] * len(files))
            return [tensors.finished(*each, device or self.device, floating, rgb) for each in found]

    def encode_tensor(
        self, tensors: Iterable[Tensor], quality: float | None = None, **options: Unpack[EncodeArguments]
    ) -> list[bytes]:
        """.aec files of pictures (C, H, W), 1, 3 or 4 channels, uint8 or float in 0..1 (kept in 16 bits); a batch
        (B, C, H, W) will do. See `compress_batch`. From a GPU they go over the host once, to which the bytes go anyway.
        """
        from aecodec.tensors import array

        return self.compress_batch([array(tensor) for tensor in tensors], quality, **options)

    def _tensors(self, files: Sequence[File], regions: Sequence[Region | None]) -> list[tuple[Any, int]]:
        """Colours, (H, W, 3) or (H, W), as tensors or arrays, and bits of a sample."""
        found = [self._model_of(file.header) for file in files]
        if self.device == "cpu" or not all(isinstance(model.family, Rendering) for model in found):
            return [(picture.colour, picture.depth) for picture in self._read(files, regions)]
        wanted = [Canvas(*each, on_device=True) for each in zip(files, found, regions, strict=True)]
        return [(tensor, one.depth) for one, tensor in zip(wanted, canvas.tensors(wanted), strict=True)]

    def salvage(self, data: Encoded, region: Region | None = None, *, upright: bool = False) -> Salvaged:
        """What is intact of a damaged .aec file, see `Salvaged`.

        Up to 96 pixels around a lost tile are less exact, because they depend on its latents.
        Raises FormatError if the header or every tile is damaged, otherwise as `decompress` does.
        """
        with session(self.threads):
            file, damage = container.salvage(inputs.encoded(data), self.pixel_limit)
            area = canvas.area_of(file.header, region)
            whole = Box.whole((file.header.height, file.header.width))
            tiles = tiling.tiles(whole.size, file.header.tile)
            lost = [tile for number in sorted(file.lost) if (tile := tiles[number]).overlap(area)]
            seen = area  # with what lost tiles in it are filled from
            for tile in lost:
                seen = seen.joined(tile.with_halo(filling.MARGIN, whole.size))
            (picture,) = self._read([file], [(seen.left, seen.top, seen.width, seen.height)])
            boxes = [tile.within(seen) for tile in lost]
            inside = area.within(seen).slices
            colour = filling.fill(picture.colour, boxes)[inside]
            alpha = None if picture.alpha is None else picture.alpha[inside]
            filled = np.zeros(seen.size, bool)
            for box in boxes:
                filled[box.slices] = True
            picture, mask = replace(picture, colour=colour, alpha=alpha), filled[inside]
            if upright:
                mask = turned_upright(Picture(mask, exif=picture.exif)).colour
                picture = turned_upright(picture)
            return Salvaged(to_image(picture), damage, mask)

    def thumbnail(self, data: Encoded, size: int = 256) -> Image.Image:
        """The picture in an .aec file as it is meant to be seen, at most `size` pixels each way: from the file's
        preview, if that is large enough, without any network; otherwise decoded and shrunk. 8 bits, with its ICC
        profile and no other metadata. Raises as `decompress` does, and AecodecError if the size is less than 1."""
        if not isinstance(size, int) or size < 1:
            raise AecodecError(f"a thumbnail of {size!r} pixels; expected a whole number, at least 1")
        file = container.read(inputs.encoded(data), self.pixel_limit)
        small = preview_of(file.chunks, file.header)
        if small is None or max(small.width, small.height) < min(size, max(file.header.width, file.header.height)):
            with session(self.threads):
                (small,) = self._read([file])
        return thumbnail_of(small, size)

    def describe(self, given: Given | Encoded, quality: float | None = None) -> Description:
        """What a picture is like: a record of 0.6 kB, for searching among many; see `description.Description`.

        given: an .aec file, its bytes or its name, of which only latents are read, at about 2.5 times the speed of
        decoding; or a picture as `compress` takes it, which is compressed at a quality first (default 50).
        Raises AecodecError if the model cannot describe, otherwise as `decompress` and `compress` do.
        """
        data = inputs.encoded_if_any(given)
        with session(self.threads):
            if data is not None:
                file = container.read(data, self.pixel_limit)
                return describe(file, self._model_of(file.header), len(data))
            options = EncodeOptions.parse({"quality": quality, "effort": 0})
            picture = self._load(given)
            (file,) = self._write([picture], self._analyses([picture], options), options.first_quality, options)
            bare = replace(file, chunks={})
            return describe(bare, self.model_for(options), len(container.write(bare)))

    def model_for(self, options: EncodeOptions) -> Model:
        """The model that codes what is asked for: the codec's own if one was given, otherwise what `tune` chooses."""
        if self._model_argument is not None:
            return self.model
        return models.load_released(models.DEFAULTS[options.tuned_for], self.device, self.precision)

    def _meet(self, picture: Picture, options: EncodeOptions) -> bytes:
        """The file at the quality that gives what is asked for; the picture is analysed once for all qualities."""
        latents = kept(in_parallel(self._analyses([picture], options)))
        drawing = self._drawing(picture, options)

        def write(quality: int) -> File:
            (file,) = self._write([picture], latents, quality, options)
            return file

        from aecodec.perceptual import score

        white = 2**picture.depth - 1

        def decoded(data: bytes) -> Samples:
            return self._read([container.read(data, self.pixel_limit)])[0].colour

        return rate.choose(
            options,
            picture.width * picture.height,
            lambda quality: self._patched(drawing, write(quality), options),
            lambda data: psnr(picture.colour, decoded(data), white),
            lambda data: score(picture.colour, decoded(data), white),
            (lambda quality: container.write(write(quality))) if drawing.mask.any() else None,
        )

    def _drawing(self, picture: Picture, options: EncodeOptions) -> Drawing:
        model = self.model_for(options)
        side = side_of_tiles(model.family, picture, options.tile)
        tiles = tiling.tiles(padded_size(model.family, picture), side)
        return Drawing(picture, tiles, models.tune_of(model.name) == "visual")

    def _patched(self, drawing: Drawing, file: File, options: EncodeOptions) -> bytes:
        """The bytes of the file, with a lossless code of what looks drawn where that is better."""

        def write(rest: Picture) -> File:
            return self._write([rest], self._analyses([rest], options), file.header.quality, options)[0]

        return drawing.patched(file, write, lambda file, region: self._read([file], [region])[0])

    def _analyses(self, pictures: Sequence[Picture], options: EncodeOptions) -> list[Analysis]:
        sides = [side_of_tiles(self.model_for(options).family, picture, options.tile) for picture in pictures]
        return analyses(self.model_for(options).family, pictures, sides, self.strip_tiles)

    def _write(
        self, pictures: Sequence[Picture], latents: Sequence[Analysis], quality: int, options: EncodeOptions
    ) -> list[File]:
        """Files of what `_analyses` returns, at a quality in hundredths."""
        family = self.model_for(options).family
        headers = [self._header(picture, quality, options) for picture in pictures]
        payloads = [[b""] * (header.tile_grid[0] * header.tile_grid[1]) for header in headers]

        def encode(job: Analysis) -> None:
            for tiles, own in job.run():
                coded = family.encode(own, partial(pixels_of, pictures, tiles), quality, options)
                for (p, t, _), payload in zip(tiles, coded, strict=True):
                    payloads[p][t] = payload

        in_parallel([Job(job.size, partial(encode, job)) for job in latents], family.encoders(options))
        local = {} if family.portable else {container.LOCAL: self.model_for(options).family_name.encode()}
        if options.denoise:
            local[DENOISED] = round(100 * options.denoise).to_bytes(2, "little")
        files = zip(headers, pictures, payloads, strict=True)
        return [File(header, chunks_of(picture) | local, payload) for header, picture, payload in files]

    def _read(self, files: Sequence[File], regions: Sequence[Region | None] | None = None) -> list[Picture]:
        """Pictures, or regions of them."""
        wanted = zip(files, regions or [None] * len(files), strict=True)
        return canvas.pictures([Canvas(file, self._model_of(file.header), region) for file, region in wanted])

    def _model_of(self, header: Header) -> Model:
        if header.model_id == self.model.id:
            return self.model
        return models.load_released(models.released_name(header.model_id), self.device, self.precision)

    def _header(self, picture: Picture, quality: int, options: EncodeOptions) -> Header:
        channels = (1 if picture.colour.ndim == 2 else 3) + (picture.alpha is not None)
        side = side_of_tiles(self.model_for(options).family, picture, options.tile)
        return Header(picture.width, picture.height, channels, self.model_for(options).id, quality, side)
