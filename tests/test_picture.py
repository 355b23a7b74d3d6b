"""The promise: every kind of picture that Pillow reads is taken in, and the table in the README says how."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from aecodec import AecodecError
from aecodec.picture import crop, decode_alpha, encode_alpha, load, pad, save, to_image


@pytest.fixture
def image(photo: np.ndarray) -> Image.Image:
    return Image.fromarray(photo)


@pytest.mark.parametrize(
    ("mode", "colour", "alpha"),
    [
        ("1", 2, False),
        ("L", 2, False),
        ("LA", 2, True),
        ("P", 3, False),
        ("RGB", 3, False),
        ("RGBA", 3, True),
        ("CMYK", 3, False),
        ("YCbCr", 3, False),
        ("I;16", 2, False),
    ],
)
def test_modes(image: Image.Image, mode: str, colour: int, alpha: bool) -> None:
    if mode == "I;16":
        source = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        source = image.convert(mode)
    picture = load(source)
    assert (picture.width, picture.height) == (144, 96)
    assert picture.colour.ndim == colour
    assert (picture.alpha is not None) == alpha
    reference = np.asarray(image.convert("L" if colour == 2 else "RGB")).astype(int)
    if mode not in ("1", "P"):
        assert np.abs(picture.colour - reference).mean() < 2


def test_16_bit_pictures_keep_their_upper_8_bits(image: Image.Image) -> None:
    samples = np.asarray(image.convert("L")).astype(np.uint16) * 256 + 77
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG")
    np.testing.assert_array_equal(load(buffer).colour, samples >> 8)


def test_palette_transparency_becomes_alpha(image: Image.Image) -> None:
    source = image.convert("P")
    source.info["transparency"] = 0
    assert load(source).alpha is not None


def test_unsupported_modes_are_named() -> None:
    with pytest.raises(AecodecError, match="mode F"):
        load(Image.new("F", (4, 4)))


def test_damaged_files_are_errors(image: Image.Image) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        data = buffer.getvalue()
        for broken in (data[: len(data) // 3], data[:10]):
            with pytest.raises(AecodecError):
                load(io.BytesIO(broken))


def test_a_cmyk_profile_is_used_and_dropped(image: Image.Image) -> None:
    cmyk = image.convert("CMYK")
    cmyk.info["icc_profile"] = b"not a profile"
    assert load(cmyk).icc is None
    wide = image.copy()
    wide.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert load(wide).icc == wide.info["icc_profile"]  # kept, and the pixels are not converted
    np.testing.assert_array_equal(load(wide).colour, np.asarray(image))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg"])
def test_metadata_are_written_where_the_format_holds_them(image: Image.Image, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "description"
    image.info.update(exif=exif.tobytes(), icc_profile=b"icc" * 50, xmp=b"<x:xmpmeta/>")
    buffer = io.BytesIO()
    save(to_image(load(image)), buffer, suffix)
    back = load(buffer)
    assert back.icc == b"icc" * 50
    assert back.exif is not None
    if suffix != ".tif":
        assert back.xmp == b"<x:xmpmeta/>"
    if suffix != ".jpg":
        np.testing.assert_array_equal(back.colour, np.asarray(image))


def test_alpha_is_not_lost_in_jpeg(image: Image.Image) -> None:
    image.putalpha(128)
    with pytest.raises(AecodecError, match="alpha"):
        save(image, io.BytesIO(), ".jpg")


def test_padding_repeats_the_edge_and_is_cut_off_again(photo: np.ndarray) -> None:
    padded = pad(photo[:70, :65], (128, 128))
    assert padded.shape == (1, 3, 128, 128)
    assert (padded[0, :, 100, 127].numpy() == photo[69, 64]).all()
    np.testing.assert_array_equal(crop(padded[0], 65, 70, grey=False), photo[:70, :65])
    grey = photo[:, :, 0]
    np.testing.assert_array_equal(crop(pad(grey, (128, 192))[0], 144, 96, grey=True), grey)


def test_alpha_planes_are_lossless_and_checked(photo: np.ndarray) -> None:
    plane = photo[:, :, 1]
    np.testing.assert_array_equal(decode_alpha(encode_alpha(plane), 144, 96), plane)
    for data, size in ((encode_alpha(plane), (96, 144)), (encode_alpha(plane)[:50], (144, 96)), (b"", (144, 96))):
        with pytest.raises(AecodecError):
            decode_alpha(data, *size)
