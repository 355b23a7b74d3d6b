"""The promise: pictures of 9 to 16 bits keep them, in arrays, PNG and TIFF."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import strange_pictures as strange
from PIL import Image

from aecodec import AecodecError, FormatError, container
from aecodec.codec import Codec
from aecodec.errors import PictureWarning
from aecodec.metrics import psnr
from aecodec.picture import Picture, load, save, to_image
from aecodec.picture.deep import eight_bits


def loaded(data: bytes) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PictureWarning)
        return load(io.BytesIO(data))


DEEP = {
    "PNG": strange.deep_png(strange.deep()),
    "grey PNG": strange.deep_png(strange.deep()[:, :, 0]),
    "PNG with alpha": strange.deep_png(np.dstack([strange.deep(), strange.deep()[:, :, 0]])),
    "TIFF": strange.tiff(strange.deep()),
    "PPM": strange.ppm(strange.deep(), 65535),
    "PGM": strange.ppm(strange.deep()[:, :, 0], 65535),
    "SGI": strange.deep_sgi(),
}


@pytest.mark.parametrize("kind", DEEP)
def test_files_of_16_bits_are_read_whole(kind: str) -> None:
    picture = loaded(DEEP[kind])
    assert picture.depth == 16
    wanted = strange.deep()[:, :, 0] if kind in ("grey PNG", "PGM") else strange.deep()
    np.testing.assert_array_equal(picture.colour, wanted)
    assert (picture.alpha is not None) == ("alpha" in kind)


def test_grey_tiffs_whose_white_is_0_are_not_negatives() -> None:
    grey = strange.deep()[:, :, :1].copy()
    picture = loaded(strange.tiff(grey, (262, 4, 1, bytes(4))))
    np.testing.assert_array_equal(picture.colour, 65535 - grey[:, :, 0])


def test_grey_tiffs_of_12_bits_keep_their_scale() -> None:
    grey = strange.deep()[:, :, :1] >> 4
    pairs = grey.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, :1] << 12 | pairs[:, 1:]).astype(">u4").view(np.uint8)[:, 1:]
    whole = np.ascontiguousarray(packed).reshape(grey.shape[0], -1, 1)
    width = (256, 4, 1, grey.shape[1].to_bytes(4, "little"))
    picture = loaded(strange.tiff(whole, width, (258, 3, 1, b"\x0c\0\0\0")))
    assert picture.depth == 12
    np.testing.assert_array_equal(picture.colour, grey[:, :, 0])


def test_files_of_10_and_12_bits_keep_their_scale() -> None:
    picture = loaded(strange.ppm(strange.deep() >> 6, 1023))
    assert picture.depth == 10
    np.testing.assert_array_equal(picture.colour, strange.deep() >> 6)
    odd = loaded(strange.ppm(strange.deep() // 22, 2999))
    assert odd.depth == 16  # white is not where bits end
    assert np.abs(odd.colour / 65535 - (strange.deep() // 22) / 2999).max() < 1e-5
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_bytes("RGB;16", strange.SIZE, strange.deep().tobytes()).save(buffer, quality=95)
    heic = loaded(buffer.getvalue())
    assert heic.depth == 10
    assert psnr(heic.colour, strange.deep() >> 6, 1023) > 40


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [10, 16])
def test_png_and_tiff_are_written_with_16_bits(suffix: str, channels: int, depth: int) -> None:
    whole = np.dstack([strange.deep(), strange.deep()[:, :, 0]]) >> 16 - depth
    colour = whole[:, :, 0] if channels < 3 else whole[:, :, :3]
    picture = Picture(colour, whole[:, :, 3] if channels in (2, 4) else None, strange.exif(orientation=1), depth=depth)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the thumbnail that TIFF does not hold
        save(to_image(picture), buffer, suffix)
    back = loaded(buffer.getvalue())
    scale = 65535 / (2**depth - 1)
    np.testing.assert_array_equal(back.colour, np.round(colour * scale))
    if channels in (2, 4):
        np.testing.assert_array_equal(back.alpha, np.round(whole[:, :, 3] * scale))
    assert back.exif


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_depth_survives_compression(codec: Codec, depth: int) -> None:
    samples = np.dstack([strange.deep(), strange.deep()[:, :, 1]]) >> 16 - depth
    picture = Picture(samples[:, :, :3], samples[:, :, 3], depth=depth)
    decoded = codec.decompress(codec.compress(picture, 90), as_array=True)
    assert decoded.dtype == np.uint16
    assert int(decoded.max()) < 2**depth
    assert np.array_equal(decoded[:, :, 3], samples[:, :, 3])  # alpha is lossless
    eight = codec.decompress(codec.compress(eight_bits(samples[:, :, :3], depth), 90), as_array=True)
    deep_error = psnr(decoded[:, :, :3], samples[:, :, :3], 2**depth - 1)
    assert abs(deep_error - psnr(eight, eight_bits(samples[:, :, :3], depth))) < 0.5  # coded as well as 8 bits are


def test_more_levels_come_back_than_8_bits_have(codec: Codec) -> None:
    sky = np.linspace(20_000, 24_000, 128 * 128).reshape(128, 128)
    decoded = codec.decompress(codec.compress(np.dstack([sky] * 3).astype(np.uint16), 95), as_array=True)
    assert len(np.unique(decoded)) > 4 * (4000 // 257)


def test_arrays_of_floats_are_16_bits_and_checked(codec: Codec) -> None:
    samples = (strange.deep() / 65535).astype(np.float32)
    np.testing.assert_array_equal(load(samples).colour, strange.deep())
    for wrong in (samples + 1, samples - 1, np.full((4, 4, 3), np.nan, np.float32), samples.astype(np.float64)):
        with pytest.raises(AecodecError, match="array of float"):
            load(wrong)


def test_an_image_of_pillow_brings_the_whole_samples_along(codec: Codec, tmp_path: Path) -> None:
    data = codec.compress(strange.deep(), 80)
    image = codec.decompress(data)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(image.info["aec_samples"], codec.decompress(data, as_array=True))
    assert np.abs(np.asarray(image).astype(int) * 257 - image.info["aec_samples"]).max() <= 129
    region = codec.decompress(data, region=(10, 20, 30, 40), as_array=True)
    assert np.abs(region.astype(int) - codec.decompress(data, as_array=True)[20:60, 10:40]).max() <= 300


def test_what_is_dithered_has_no_bands() -> None:
    ramp = np.linspace(10_000, 12_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    plain, dithered = eight_bits(ramp, 16), eight_bits(ramp, 16, dither=True)
    error = ramp / 257 - plain
    noisy = ramp / 257 - dithered
    assert np.abs(error.mean(1)).max() > 0.4  # bands: whole rows are off by nearly half a level
    assert np.abs(noisy.mean(1)).max() < 0.2
    assert np.array_equal(dithered, eight_bits(ramp, 16, dither=True))


def test_impossible_depths_are_refused(codec: Codec) -> None:
    file = container.read(codec.compress(strange.deep(), 50))
    for data in (b"", b"\x08", b"\x11", b"\x10\x10"):
        with pytest.raises(FormatError, match="DPTH"):
            codec.decompress(container.write(container.File(file.header, {"DPTH": data}, file.tiles)))
    wide = container.File(container.Header(160, 120, 4, file.header.model_id, 5000), {"DPTH": b"\x10"}, file.tiles)
    with pytest.raises(FormatError, match="promises an alpha"):
        codec.decompress(container.write(wide))


def test_deep_and_plain_pictures_share_a_batch(codec: Codec) -> None:
    files = codec.compress_batch([strange.deep(), strange.photo()], 60)
    assert files == [codec.compress(strange.deep(), 60), codec.compress(strange.photo(), 60)] or len(files) == 2
    deep, plain = codec.decompress_batch(files)
    assert ("aec_depth" in deep.info, "aec_depth" in plain.info) == (True, False)
    assert np.abs(np.asarray(plain).astype(int) - np.asarray(codec.decompress(files[1]))).max() <= 1
    assert Image.fromarray(np.asarray(deep)).size == strange.SIZE


def straight_and_premultiplied() -> tuple[np.ndarray, np.ndarray]:
    whole = np.dstack([strange.deep(), strange.deep()[:, ::-1, 0]])
    multiplied = np.round(whole[:, :, :3] * (whole[:, :, 3:] / 65535))
    return whole, np.dstack([multiplied, whole[:, :, 3]]).astype(np.uint16)


def planar(pixels: np.ndarray, extra: int = 0, photometric: int = 2) -> bytes:
    """A TIFF whose channels lie one behind the other, in a strip each; extra: what kind of alpha it has."""
    channels, size = pixels.shape[2], pixels[:, :, 0].nbytes
    parts = pixels.transpose(2, 0, 1).copy().reshape(pixels.shape)
    head = struct.pack(f"<{2 * channels}I", *[size * k for k in range(channels)], *[size] * channels)
    starts = struct.pack(f"<{channels}I", *[8 + len(head) + 2 * channels + size * k for k in range(channels)])
    more = [(284, 3, 1, b"\2\0\0\0"), (262, 3, 1, bytes([photometric, 0, 0, 0]))]
    more += [(273, 4, channels, struct.pack("<I", 8)), (279, 4, channels, struct.pack("<I", 8 + 4 * channels))]
    more += [(338, 3, 1, bytes([extra, 0, 0, 0]))] if extra else []
    return strange.tiff(parts, *more, head=starts + head[len(starts) :])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_tiffs_of_16_bits_whose_channels_lie_apart_are_read_whole(channels: int) -> None:
    whole, _ = straight_and_premultiplied()
    pixels = whole[:, :, 2:] if channels == 2 else whole[:, :, :channels]
    picture = loaded(planar(pixels, 2 if channels != 3 else 0, 1 if channels == 2 else 2))
    assert picture.depth == 16
    np.testing.assert_array_equal(picture.samples, pixels)


def test_grey_with_alpha_of_16_bits_is_read_whole() -> None:
    pair = straight_and_premultiplied()[0][:, :, 2:]
    for data in (strange.deep_png(pair), strange.tiff(pair, (338, 3, 1, b"\2\0\0\0"))):
        np.testing.assert_array_equal(loaded(data).samples, pair)


@pytest.mark.parametrize("apart", [False, True])
def test_colours_multiplied_by_alpha_are_divided_at_16_bits(apart: bool) -> None:
    _, multiplied = straight_and_premultiplied()
    data = planar(multiplied, 1) if apart else strange.tiff(multiplied, (338, 3, 1, b"\1\0\0\0"))
    picture = loaded(data)
    assert picture.alpha is not None
    again = np.round(picture.colour * (picture.alpha[:, :, None] / 65535))
    np.testing.assert_array_equal(again, multiplied[:, :, :3])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_16_bits_is_one_colour_and_not_its_neighbours(channels: int) -> None:
    pixels = strange.deep()[:, :, :channels].copy()
    pixels[10, 10], pixels[10, 11] = pixels[50, 50], pixels[50, 50] ^ 1  # the same in 8 bits
    picture = loaded(strange.deep_png(pixels.squeeze(), (b"tRNS", pixels[50, 50].astype(">u2").tobytes())))
    assert picture.depth == 16
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha == 0, (pixels == pixels[50, 50]).all(2))


def test_samples_that_cannot_be_had_whole_are_told() -> None:
    pixels = np.dstack([strange.deep(), strange.deep()[:, :, 0]])
    with pytest.warns(PictureWarning, match="not kept: 16 bits a sample, 1 further channel"):
        picture = load(io.BytesIO(strange.tiff(pixels, (338, 3, 1, bytes(4)))))
    assert picture.depth == 8
