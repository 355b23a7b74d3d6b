"""The promise: every kind of picture that Pillow reads is taken in, and the table in docs/pictures.md says how."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, features

from aecodec import AecodecError
from aecodec.errors import PictureWarning
from aecodec.picture import load, save, to_image
from aecodec.picture.alpha import decode_alpha, encode_alpha
from aecodec.picture.inspect import png
from aecodec.picture.padding import grey_of, pad


@pytest.fixture
def image(photo: np.ndarray) -> Image.Image:
    return Image.fromarray(photo)


@pytest.mark.filterwarnings("ignore::aecodec.errors.PictureWarning")
@pytest.mark.parametrize(
    ("mode", "colour", "alpha"),
    [
        ("1", 2, False),
        ("L", 2, False),
        ("LA", 2, True),
        ("P", 3, False),
        ("RGB", 3, False),
        ("RGBA", 3, True),
        ("RGBX", 3, False),
        ("PA", 3, True),
        ("La", 2, True),
        ("RGBa", 3, True),
        ("CMYK", 3, False),
        ("LAB", 3, False),
        ("YCbCr", 3, False),
        ("HSV", 3, False),
        ("I;16", 2, False),
    ],
)
def test_modes(image: Image.Image, mode: str, colour: int, alpha: bool) -> None:
    if mode == "I;16":
        source = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        between = {"PA": "P", "La": "LA", "RGBa": "RGBA", "LAB": "RGB"}.get(mode, mode)
        source = image.convert(between)
        if mode == "LAB":
            profiles = (ImageCms.createProfile(space) for space in ("sRGB", "LAB"))
            source = ImageCms.profileToProfile(source, *profiles, outputMode="LAB")
        elif mode != between:
            source = source.convert(mode)
    picture = load(source)
    assert (picture.width, picture.height) == (144, 96)
    assert picture.colour.ndim == colour
    assert (picture.alpha is not None) == alpha
    reference = np.asarray(image.convert("L" if colour == 2 else "RGB")).astype(int)
    if mode not in ("1", "P", "PA"):
        assert np.abs(picture.colour / (257 if picture.depth == 16 else 1) - reference).mean() < 2


def test_a_transparent_level_of_16_bits_becomes_alpha() -> None:
    samples = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG", transparency=5000)
    picture = load(buffer)
    assert picture.alpha is not None
    assert picture.alpha.ravel().tolist() == [65535] * 5 + [0] + [65535] * 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_animations_the_first_frame_is_kept_with_a_warning(image: Image.Image, kind: str) -> None:
    buffer = io.BytesIO()
    image.save(buffer, kind, save_all=True, append_images=[image.rotate(180), image.rotate(90)])
    with pytest.warns(PictureWarning, match="further frame"):
        picture = load(buffer)
    assert np.abs(picture.colour.astype(int) - np.asarray(image)).mean() < 8
    buffer = io.BytesIO()
    image.save(buffer, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(buffer)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_pictures_of_phones_are_read_where_pillow_can(image: Image.Image, kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()  # to write it
    exif = Image.Exif()
    exif[0x010E] = "a description"
    path = tmp_path / ("x.avif" if kind == "AVIF" else "x.heic")
    image.save(path, kind, quality=90, exif=exif.tobytes())
    picture = load(path)
    assert np.abs(picture.colour.astype(int) - np.asarray(image)).mean() < 8
    assert picture.exif is not None
    assert b"a description" in picture.exif


def test_heic_without_a_plugin_is_an_error_that_helps(image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()  # to write it
    image.save(buffer := io.BytesIO(), "HEIF")
    monkeypatch.delitem(Image.OPEN, "HEIF")
    assert load(buffer).width == image.width  # without Pillow knowing of it
    monkeypatch.setattr("aecodec.picture.loading.can_open_heif", lambda: False)
    with pytest.raises(AecodecError, match="pip install pillow-heif"):
        load(buffer)


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


def test_exif_is_kept_byte_by_byte_unless_it_was_edited(image: Image.Image) -> None:
    thumbnail = b"\xff\xd8" + b"a thumbnail" + b"\xff\xd9"
    orientation = struct.pack("<HHHII", 1, 0x112, 3, 1, 6) + struct.pack("<I", 26)
    pointers = struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, len(thumbnail), 0)
    raw = b"Exif\0\0II*\0\x08\0\0\0" + orientation + pointers + thumbnail
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=raw)
    assert load(buffer).exif == raw
    opened = Image.open(buffer)
    opened.getexif()[0x0112] = 1
    edited = Image.Exif()
    edited.load(load(opened).exif or b"")
    assert edited[0x0112] == 1


def test_a_position_that_was_removed_does_not_come_back(image: Image.Image) -> None:
    exif = Image.Exif()
    exif.get_ifd(34853)[1] = "N"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    opened = Image.open(buffer)
    assert opened.getexif().get_ifd(34853) == {1: "N"}
    opened.getexif().get_ifd(34853).clear()
    edited = Image.Exif()
    edited.load(load(opened).exif or b"")
    assert edited.get_ifd(34853) == {}


@pytest.mark.parametrize("kind", ["TIFF", "HEIF", "AVIF", "JPEG", "PNG", "WEBP"])
def test_a_turned_picture_is_turned_once(image: Image.Image, kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()  # to write it
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(buffer := io.BytesIO(), kind, exif=exif.tobytes(), quality=95)
    shown = ImageOps.exif_transpose(to_image(load(buffer)))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(upright)).mean() < 8


def test_of_tiff_tags_those_that_describe_the_picture_become_exif(image: Image.Image) -> None:
    buffer = io.BytesIO()
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(buffer, "TIFF", icc_profile=icc, description="a description", compression="tiff_lzw")
    picture = load(buffer)
    assert picture.icc == icc
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    assert dict(exif) == {0x010E: "a description"}


def test_alpha_is_not_lost_in_jpeg(image: Image.Image) -> None:
    image.putalpha(128)
    with pytest.raises(AecodecError, match="alpha"):
        save(image, io.BytesIO(), ".jpg")


def test_padding_repeats_the_edge_and_is_cut_off_again(photo: np.ndarray) -> None:
    padded = pad(photo[:70, :65], (128, 128))
    assert padded.shape == (128, 128, 3)
    assert (padded[100, 127] == photo[69, 64]).all()
    np.testing.assert_array_equal(padded[:70, :65], photo[:70, :65])
    grey = photo[:, :, 0]
    np.testing.assert_array_equal(grey_of(pad(grey, (128, 192)))[:96, :144], grey)


def test_alpha_planes_are_lossless_and_checked(photo: np.ndarray) -> None:
    plane = photo[:, :, 1]
    np.testing.assert_array_equal(decode_alpha(encode_alpha(plane), 144, 96), plane)
    for data, size in ((encode_alpha(plane), (96, 144)), (encode_alpha(plane)[:50], (144, 96)), (b"", (144, 96))):
        with pytest.raises(AecodecError):
            decode_alpha(data, *size)


def test_alpha_planes_have_no_other_chunks(photo: np.ndarray) -> None:
    """Pillow's reader would look into them, and raise whatever it likes."""
    data = encode_alpha(photo[:, :, 1])
    end = data.rindex(b"IEND") - 4
    with pytest.raises(AecodecError, match=f"chunk b'iCCP' at byte {end}"):
        decode_alpha(data[:end] + png.chunk(b"iCCP", b"") + data[end:], 144, 96)
