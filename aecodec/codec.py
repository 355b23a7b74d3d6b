"""Pictures to bytes and back: the one place where the stages meet.

encoding   pixels -> analysis -> hyper latents -> scale indices -> symbols -> entropy coder -> file
decoding   file -> entropy decoder -> hyper latents -> scale indices -> symbols -> latents -> synthesis -> pixels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aecodec import container
from aecodec.container import DEFAULT_PIXEL_LIMIT, QUALITY_MAX, QUALITY_MIN, File, Header
from aecodec.entropy import ESCAPE_TOP, Indices, Symbols
from aecodec.errors import AecodecError, FormatError, LimitError
from aecodec.integer import POSITION_STEPS
from aecodec.networks import HYPER_STRIDE, STRIDE, first_pass_mask, network_input, scale_of_index, shuffle
from aecodec.picture import Picture, Source, crop, decode_alpha, encode_alpha, load, pad, to_image
from aecodec.weights import DEFAULT, Model, load_released, released_name

DEFAULT_QUALITY = 50.0
TILE = 1024  # side of the tiles of large pictures, pixels
UNTILED_PIXELS = 2**21  # a picture of up to so many (padded) pixels is one tile
ANALYSIS_HALO = 96  # pixels around a tile that its latents depend on: 88 by the kernels of `Analysis`, in whole latents
SYNTHESIS_HALO = 6  # latents around a tile that its pixels depend on: 5.5 by the kernels of `Synthesis`
BATCH_PIXELS = 2**21  # tiles that go through the network together have at most so many pixels


class Codec:
    """Compresses and decompresses with one model on one device; keeps both loaded between calls.

    Args:
        device: "auto" (CUDA if there is one), "cpu", "cuda" or another of torch's names.
        model: name of a released model or path of a weights file; None for the default. Files that were written with
            another released model are decoded with that one.
        pixel_limit: pictures of more pixels raise LimitError.

    Raises ModelError if the model cannot be loaded, AecodecError if the device does not exist.
    """

    def __init__(self, device: str = "auto", model: str | Path | None = None, pixel_limit: int = DEFAULT_PIXEL_LIMIT):
        self.device = find_device(device)
        self.pixel_limit = pixel_limit
        if isinstance(model, Path) or (model or "").endswith(".safetensors"):
            self.model = Model(Path(str(model)), self.device)
        else:
            self.model = load_released(model or DEFAULT, self.device)

    def compress(self, image: Source, quality: float = DEFAULT_QUALITY) -> bytes:
        """A picture as the bytes of an .aec file.

        image: file name, open binary file, Pillow image, or uint8 array (H, W, 3), (H, W) or (H, W, 4).
        quality: 1..100; fractions count, to a hundredth.
        Raises AecodecError if the image cannot be read or the quality is out of range, LimitError if it is too large.
        """
        return self.compress_batch([image], quality)[0]

    def compress_batch(self, images: Sequence[Source], quality: float = DEFAULT_QUALITY) -> list[bytes]:
        """Several pictures at once; tiles of equal shape share passes through the network. See `compress`."""
        hundredths = _hundredths(quality)
        pictures = [load(image) for image in images]
        planes: list[Tensor] = []
        headers: list[Header] = []
        for picture in pictures:
            if picture.width * picture.height > self.pixel_limit:
                raise LimitError(
                    f"{picture.width}x{picture.height} pixels are more than the limit of {self.pixel_limit}; "
                    "raise the limit to compress it"
                )
            plane = pad(picture.colour, HYPER_STRIDE)
            tile = TILE if plane.shape[2] * plane.shape[3] > UNTILED_PIXELS else 0
            channels = (1 if picture.colour.ndim == 2 else 3) + (picture.alpha is not None)
            planes.append(plane)
            headers.append(Header(picture.width, picture.height, channels, self.model.id, hundredths, tile))

        payloads: list[list[bytes]] = [[b""] * len(list(_tiles(header))) for header in headers]
        jobs = [(p, t, box) for p, header in enumerate(headers) for t, box in enumerate(_tiles(header))]
        windows = [_window(box, planes[p].shape[2:], ANALYSIS_HALO) for p, _, box in jobs]
        shapes = [(_inside(box, window), _size(window)) for (_, _, box), window in zip(jobs, windows, strict=True)]
        for batch in _batches(shapes):
            pixels = torch.cat([planes[jobs[j][0]][:, :, windows[j][0], windows[j][1]] for j in batch])
            for j, payload in zip(batch, self._encode(pixels, shapes[batch[0]][0], hundredths), strict=True):
                payloads[jobs[j][0]][jobs[j][1]] = payload
        return [
            container.write(File(header, _chunks(picture), tiles))
            for header, picture, tiles in zip(headers, pictures, payloads, strict=True)
        ]

    def decompress(self, data: bytes) -> Image.Image:
        """The picture in an .aec file, with EXIF, ICC profile and XMP in its `info`; mode L, LA, RGB or RGBA.

        Raises FormatError if the data are not an undamaged .aec file, ModelError if its model is not known, LimitError
        if it is too large.
        """
        return self.decompress_batch([data])[0]

    def decompress_batch(self, files: Sequence[bytes]) -> list[Image.Image]:
        """Several pictures at once; tiles of equal shape and quality share passes through the network."""
        contents = [container.read(data, self.pixel_limit) for data in files]
        # One entry per file: latents and features of the whole picture, filled tile by tile.
        latents: list[Tensor] = []
        features: list[Tensor] = []
        models = [self._model_of(file.header) for file in contents]
        for file, model in zip(contents, models, strict=True):
            grid = [
                -(-side // HYPER_STRIDE) * HYPER_STRIDE // STRIDE for side in (file.header.height, file.header.width)
            ]
            config = model.network.config
            latents.append(torch.empty(1, config.latent_channels, *grid, device=self.device))
            features.append(torch.empty(1, config.trunk_channels, *grid, device=self.device))
        jobs = [(f, t, box) for f, file in enumerate(contents) for t, box in enumerate(_tiles(file.header))]
        keys = [((contents[f].header.quality, contents[f].header.model_id), _size(box)) for f, _, box in jobs]
        for batch in _batches(keys):
            first = jobs[batch[0]][0]
            payloads = [contents[jobs[j][0]].tiles[jobs[j][1]] for j in batch]
            y, context = self._decode(models[first], payloads, keys[batch[0]][1], contents[first].header.quality)
            for item, j in enumerate(batch):
                f, _, box = jobs[j]
                rows, columns = _in_latents(box)
                latents[f][0, :, rows, columns] = y[item]
                features[f][0, :, rows, columns] = context[item]

        pixels = [torch.empty(3, 16 * y.shape[2], 16 * y.shape[3], dtype=torch.uint8) for y in latents]
        windows = [_window(box, pixels[f].shape[1:], SYNTHESIS_HALO * STRIDE) for f, _, box in jobs]
        shapes = [
            (key, _inside(box, window), _size(window))
            for (key, _), (_, _, box), window in zip(keys, jobs, windows, strict=True)
        ]
        for batch in _batches([((key, inside), size) for key, inside, size in shapes]):
            first = jobs[batch[0]][0]
            places = [(jobs[j][0], *_in_latents(windows[j])) for j in batch]
            decoded = self._synthesise(
                models[first],
                torch.cat([latents[f][:, :, rows, columns] for f, rows, columns in places]),
                torch.cat([features[f][:, :, rows, columns] for f, rows, columns in places]),
                contents[first].header.quality,
            )
            inside = shapes[batch[0]][1]
            for j, tile in zip(batch, decoded, strict=True):
                f, _, box = jobs[j]
                pixels[f][:, box[0], box[1]] = tile[:, inside[0], inside[1]].cpu()
        return [_to_image(file, plane) for file, plane in zip(contents, pixels, strict=True)]

    def _model_of(self, header: Header) -> Model:
        if header.model_id == self.model.id:
            return self.model
        return load_released(released_name(header.model_id), self.device)

    @torch.inference_mode()
    def _encode(self, pixels: Tensor, inside: Box, quality: int) -> list[bytes]:
        """Payloads of tiles. pixels: (B, 3, H, W) uint8, tiles with their halo; inside: where the tile is in it."""
        model = self.model
        x = network_input(pixels.to(self.device)).to(memory_format=torch.channels_last)
        z, symbols, indices = symbols_of_tiles(model, x, inside, quality)
        z_indices = _z_indices(model, z.shape[1:], quality)
        return [model.tables.encode([(z[b], z_indices), (symbols[b], indices[b])]) for b in range(len(z))]

    @torch.inference_mode()
    def _decode(
        self, model: Model, payloads: Sequence[bytes], size: tuple[int, int], quality: int
    ) -> tuple[Tensor, Tensor]:
        """Latents (B, M, h, w) in quantisation steps and features (B, trunk, h, w) of tiles of size (H, W) pixels."""
        position = quality - QUALITY_MIN
        decoders = [model.tables.decoder(payload) for payload in payloads]
        shape = (model.network.config.hyper_channels, size[0] // HYPER_STRIDE, size[1] // HYPER_STRIDE)
        z_indices = _z_indices(model, shape, quality)
        z = np.stack([decoder.take(z_indices) for decoder in decoders])
        # An honest encoder stays within these bounds; a forged file must not leave the exact range.
        z_hat = torch.from_numpy(z.clip(-127, 127)).to(self.device, torch.float32, memory_format=torch.channels_last)
        features, index = model.scale_model(z_hat, position)
        indices = index.to(torch.uint8).cpu().contiguous().numpy()
        symbols = []
        for decoder, tile in zip(decoders, indices, strict=True):
            symbols.append(decoder.take(tile))
            decoder.finish()
        r_hat = torch.from_numpy(np.stack(symbols)).to(self.device, torch.float32, memory_format=torch.channels_last)
        scale = scale_of_index(index)
        entropy = model.network.entropy_model
        mask = first_pass_mask(index)
        y = entropy.mean_of_first_pass(features, scale) + r_hat
        first = torch.where(mask, y, 0)
        return torch.where(mask, y, entropy.mean_of_second_pass(features, scale, first) + r_hat), features

    @torch.inference_mode()
    def _synthesise(self, model: Model, y_hat: Tensor, features: Tensor, quality: int) -> Tensor:
        """(B, 3, 16 h, 16 w) uint8."""
        position = _row_position(quality, len(y_hat), self.device)
        network = model.network
        y_hat, features = (v.contiguous(memory_format=torch.channels_last) for v in (y_hat, features))
        x = network.synthesis(y_hat, y_hat * network.decoder_gain(position), features, position)
        return shuffle(((x + 0.5) * 255).round_().clamp_(0, 255).to(torch.uint8), 8)


Box = tuple[slice, slice]  # rows and columns


@torch.inference_mode()
def symbols_of_tiles(model: Model, x: Tensor, inside: Box, quality: int) -> tuple[Symbols, Symbols, Indices]:
    """What is entropy-coded of a batch of tiles.

    x: (B, 192, H/8, W/8), see `network_input`. inside: rows and columns of the tile, in pixels of x; what is around
    it is halo. quality: hundredths.
    Returns hyper latents (B, hyper, h/4, w/4), symbols (B, M, h, w) and their scale indices of the same shape.
    """
    network, entropy = model.network, model.network.entropy_model
    rows, columns = _in_latents(inside)
    gain = network.encoder_gain(_row_position(quality, len(x), x.device))
    y = network.analysis(x)[:, :, rows, columns] * gain
    z = entropy.hyper_latents(y).round()
    features, index = model.scale_model(z, quality - QUALITY_MIN)
    scale = scale_of_index(index)
    mask = first_pass_mask(index)
    mean = entropy.mean_of_first_pass(features, scale)
    symbols = quantise(y - mean, index, model.rounding)
    first = torch.where(mask, mean + symbols, 0)
    mean = entropy.mean_of_second_pass(features, scale, first)
    symbols = torch.where(mask, symbols, quantise(y - mean, index, model.rounding))

    def array(values: Tensor, dtype: torch.dtype) -> np.ndarray:
        return values.to(dtype).cpu().contiguous().numpy()

    return array(z, torch.int32), array(symbols, torch.int32), array(index, torch.uint8)


def quantise(residual: Tensor, index: Tensor, rounding: Tensor) -> Tensor:
    """Rate-distortion optimised rounding: towards zero where the bits of the larger symbol are worth more.

    residual, index: (B, M, h, w) float32. rounding: (64, K), see `Tables.rounding`. Returns integers as float32.
    """
    magnitude = residual.abs()
    nearest = magnitude.round().clamp_(0, ESCAPE_TOP)
    top = rounding.shape[1] - 1
    place = nearest.clamp(max=top).add_(index, alpha=top + 1).long()
    # Above the listed magnitudes the price of one more is that of the last.
    threshold = rounding.view(-1)[place] + (nearest - top).clamp_(min=0)
    return torch.where(magnitude < threshold, nearest - 1, nearest).copysign(residual)


def _z_indices(model: Model, shape: Sequence[int], quality: int) -> Indices:
    index = model.scale_model.z_scale_index(quality - QUALITY_MIN).to(torch.uint8).numpy()
    return np.broadcast_to(index[:, None, None], tuple(shape))


def _row_position(quality: int, count: int, device: torch.device) -> Tensor:
    return torch.full((count,), (quality - QUALITY_MIN) / POSITION_STEPS, device=device)


def _hundredths(quality: float) -> int:
    if not 1 <= quality <= 100:
        raise AecodecError(f"quality {quality}; expected 1 to 100")
    return min(max(round(100 * quality), QUALITY_MIN), QUALITY_MAX)


def find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AecodecError(f"device {name!r} is not available ({str(error).splitlines()[0]})") from error
    return device


def _tiles(header: Header) -> Iterator[Box]:
    """Where the tiles of a picture are, row by row, in pixels of the padded picture."""
    height, width = (-(-side // HYPER_STRIDE) * HYPER_STRIDE for side in (header.height, header.width))
    side = header.tile or max(height, width)
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def _window(box: Box, limits: Sequence[int], halo: int) -> Box:
    """The box with a halo, cut at the borders of the picture."""
    rows, columns = (
        slice(max(side.start - halo, 0), min(side.stop + halo, limit)) for side, limit in zip(box, limits, strict=True)
    )
    return rows, columns


def _inside(box: Box, window: Box) -> Box:
    rows, columns = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, window, strict=True))
    return rows, columns


def _size(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _in_latents(box: Box) -> Box:
    rows, columns = (slice(side.start // STRIDE, side.stop // STRIDE) for side in box)
    return rows, columns


def _batches(jobs: Sequence[tuple[object, tuple[int, int]]]) -> Iterator[list[int]]:
    """Numbers of jobs that may go through the network together: of equal key, and few enough.

    jobs: (key, (height, width)) of each.
    """
    groups: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(repr(job), []).append(number)
    for group in groups.values():
        height, width = jobs[group[0]][1]
        count = max(1, BATCH_PIXELS // (height * width))
        for start in range(0, len(group), count):
            yield group[start : start + count]


def _chunks(picture: Picture) -> dict[str, bytes]:
    alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
    named = {
        container.ALPHA: alpha,
        container.EXIF: picture.exif,
        container.ICC: picture.icc,
        container.XMP: picture.xmp,
    }
    return {name: data for name, data in named.items() if data is not None}


def _to_image(file: File, plane: Tensor) -> Image.Image:
    header, chunks = file.header, file.chunks
    alpha = None
    if header.channels in (2, 4):
        if container.ALPHA not in chunks:
            raise FormatError("the header promises an alpha channel, but there is none")
        alpha = decode_alpha(chunks[container.ALPHA], header.width, header.height)
    colour = crop(plane, header.width, header.height, grey=header.channels < 3)
    metadata = (chunks.get(name) for name in (container.EXIF, container.ICC, container.XMP))
    return to_image(Picture(colour, alpha, *metadata))
