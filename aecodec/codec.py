"""Pictures to bytes and back: options in, bytes out, with one model on one device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from PIL import Image

from aecodec import canvas, container, inputs, models
from aecodec.canvas import Canvas, Region
from aecodec.container import DEFAULT_PIXEL_LIMIT, File, Header
from aecodec.description import Description, describe
from aecodec.encoding import Encoder
from aecodec.errors import AecodecError
from aecodec.many import Callback, Errors, Many
from aecodec.options import EncodeArguments, EncodeOptions
from aecodec.picture import Picture, Samples, to_image
from aecodec.picture.preview import preview_of, thumbnail_of
from aecodec.picture.turning import turned_upright
from aecodec.pipeline import Job, in_parallel, session
from aecodec.salvaging import Salvaged, salvage

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from aecodec.inputs import Encoded, ImageLike


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

    def __reduce__(self) -> tuple[object, ...]:
        return Codec, (self.device, self._model_argument, self.pixel_limit, self.threads, self.precision)

    def compress(self, image: ImageLike, quality: float | None = None, **options: Unpack[EncodeArguments]) -> bytes:
        """A picture as the bytes of an .aec file.

        image: file name, open binary file, the bytes of a picture file, Pillow image, or array (H, W, 3), (H, W) or
        (H, W, 4) of uint8, uint16, or float32 from 0 to 1.
        quality, options: see `EncodeOptions`.
        Raises AecodecError if it cannot be read or no quality gives what is asked for, LimitError if it is too large.
        """
        return self.encode([image], EncodeOptions.parse({"quality": quality, **options}))[0]

    def compress_batch(
        self,
        images: Sequence[ImageLike],
        quality: float | None = None,
        *,
        each: Sequence[EncodeOptions] | None = None,
        errors: Errors = "raise",
        done: Callback | None = None,
        **options: Unpack[EncodeArguments],
    ) -> list[Any]:
        """Several pictures, a few at a time; tiles of equal shape share passes through the network. See `compress`.

        quality, options: of all; or each: of each picture its own.
        errors: "raise", or "return": then what fails leaves its AecodecError or OSError in the place of its bytes.
        done: called with the number of a picture and its bytes (or error) as soon as these are there.
        """
        images = inputs.several(images, "compress")
        chosen = EncodeOptions.of_each(len(images), {"quality": quality, **options}, each)
        for one in set(chosen):
            self.model_for(one)  # raises before anything is done

        def work(options: Any, pictures: Sequence[Picture]) -> list[bytes]:
            return self._encoder(options).encode(pictures)

        load = partial(inputs.load, pixel_limit=self.pixel_limit)
        with session(self.threads):
            return Many(load, attrgetter("pixels"), chosen.__getitem__, work, errors, done).run(images)

    def encode(self, images: Sequence[ImageLike], options: EncodeOptions) -> list[bytes]:
        """`compress` of several pictures at once, for options that are made already."""
        with session(self.threads):
            pictures = in_parallel([Job(1, partial(inputs.load, image, self.pixel_limit)) for image in images])
            return self._encoder(options).encode(pictures)

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
        """The picture in an .aec file, with its metadata in its `info`, see `picture.to_image`: L, LA, RGB or RGBA.

        data: the bytes of the file, its name, or the open file.
        region: (x, y, width, height) in pixels as they are stored, before any EXIF orientation: only this part is
        decoded; of a tiled picture, only the tiles that it needs.
        as_array: the samples instead, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), alpha last; uint8, or uint16 if the
        picture has more than 8 bits, from 0 to 2^bits - 1.
        upright: turned as its EXIF orientation says, which becomes 1: for viewers that ignore it.
        Raises FormatError if the data are not an undamaged .aec file, ModelError if its model is not known, LimitError
        if it is too large, AecodecError if the region is not inside the picture, OSError if the file cannot be read.
        """
        (picture,) = self.decode([self._open(data)], [region])
        picture = turned_upright(picture) if upright else picture
        return picture.samples if as_array else to_image(picture)

    def decompress_batch(
        self,
        files: Sequence[Encoded],
        *,
        as_array: bool = False,
        errors: Errors = "raise",
        done: Callback | None = None,
    ) -> list[Any]:
        """Several pictures, a few at a time, see `decompress`; errors, done: see `compress_batch`."""

        def work(_: object, contents: Sequence[File]) -> list[Any]:
            return [picture.samples if as_array else to_image(picture) for picture in self.decode(contents)]

        with session(self.threads):
            many = Many(self._open, attrgetter("header.pixels"), lambda _: None, work, errors, done)
            return many.run(inputs.several(files, "decompress"))

    def decode(self, files: Sequence[File], regions: Sequence[Region | None] | None = None) -> list[Picture]:
        """Pictures in files that are taken apart, or regions of them; equal tiles share passes through the network."""
        wanted = zip(files, regions or [None] * len(files), strict=True)
        with session(self.threads):
            return canvas.pictures([Canvas(file, self.model_of(file.header), region) for file, region in wanted])

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

        device: where they go, as torch names it; None: where the codec is. regions: of each picture the part that
        is wanted, None for all. floating: float32 in 0..1 instead of uint8, to which deeper samples are rounded.
        rgb: always three channels; otherwise one if a picture is grey. Alpha, if any, is left out; colours and
        orientation are as they are stored. Memory is that of channels_last: what needs the other asks `contiguous`.
        """
        from aecodec import tensors

        with session(self.threads):
            contents = list(map(self._open, inputs.several(files, "decompress")))
            found = tensors.colours(contents, regions, self.device, self.model_of, self.decode)
            return [tensors.finished(*each, device or self.device, floating, rgb) for each in found]

    def encode_tensor(
        self, tensors: Iterable[Tensor], quality: float | None = None, **options: Unpack[EncodeArguments]
    ) -> list[bytes]:
        """.aec files of pictures (C, H, W), 1, 3 or 4 channels, uint8 or float in 0..1 (kept in 16 bits); a batch
        (B, C, H, W) will do. See `compress_batch`. From a GPU they go over the host once, to which the bytes go anyway.
        """
        from aecodec.tensors import array

        return self.compress_batch([array(tensor) for tensor in tensors], quality, **options)

    def salvage(self, data: Encoded, region: Region | None = None, *, upright: bool = False) -> Salvaged:
        """What is intact of a damaged .aec file, see `Salvaged`.

        Up to 96 pixels around a lost tile are less exact, because they depend on its latents.
        Raises FormatError if the header or every tile is damaged, otherwise as `decompress` does.
        """
        file, damage = container.salvage(inputs.encoded(data), self.pixel_limit)
        return salvage(file, damage, region, upright, self.decode)

    def thumbnail(self, data: Encoded, size: int = 256) -> Image.Image:
        """The picture in an .aec file as it is meant to be seen, at most `size` pixels each way: from the file's
        preview, if that is large enough, without any network; otherwise decoded and shrunk. 8 bits, with its ICC
        profile and no other metadata. Raises as `decompress` does, and AecodecError if the size is less than 1."""
        file = self._open(data)
        return thumbnail_of(preview_of(file.chunks, file.header, size) or self.decode([file])[0], size)

    def describe(self, given: ImageLike | Encoded, quality: float | None = None) -> Description:
        """What a picture is like: a record of 0.6 kB, for searching among many; see `description.Description`.

        given: an .aec file, its bytes or its name, of which only latents are read, at about 2.5 times the speed of
        decoding; or a picture as `compress` takes it, which is compressed at a quality first (default 50).
        Raises AecodecError if the model cannot describe, otherwise as `decompress` and `compress` do.
        """
        data = inputs.encoded_if_any(given)
        with session(self.threads):
            if data is not None:
                file = self._open(data)
                return describe(file, self.model_of(file.header), len(data))
            encoder = self._encoder(EncodeOptions.parse({"quality": quality, "effort": 0}))
            (file,) = encoder.files([inputs.load(given, self.pixel_limit)])
            bare = replace(file, chunks={})
            return describe(bare, encoder.model, len(container.write(bare)))

    def model_for(self, options: EncodeOptions) -> models.Model:
        """The codec's own model if it was given one, or what `tune` chooses. Raises AecodecError if there are both."""
        if self._model_argument is None:
            return models.load_released(models.DEFAULTS[options.tuned_for], self.device, self.precision)
        if options.tune is not None:
            raise AecodecError("tune chooses between the default models; leave it out, or the codec's model")
        return self.model

    def model_of(self, header: Header) -> models.Model:
        """The model that a file was written with. Raises ModelError if it is not known."""
        if header.model_id == self.model.id:
            return self.model
        return models.load_released(models.released_name(header.model_id), self.device, self.precision)

    def _encoder(self, options: EncodeOptions) -> Encoder:
        return Encoder(self.model_for(options), options, self.decode)

    def _open(self, data: Encoded) -> File:
        return container.read(inputs.encoded(data), self.pixel_limit)
