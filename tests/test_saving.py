"""The promise: files that are written hold all of a picture that their format can hold, byte for byte, and the rest is
named."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
import strange_pictures as strange
from PIL import Image, ImageCms, ImageOps

from aecodec.errors import AecodecError, PictureWarning
from aecodec.picture import Picture, load, metadata, names, save, strip, to_image
from aecodec.picture.colour import profile_of
from aecodec.picture.inspect import inspect


def written(picture: Picture, suffix: str) -> tuple[bytes, str]:
    """The file, and what is told about it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PictureWarning)
        save(to_image(picture), buffer, suffix)
    return buffer.getvalue(), "; ".join(str(warning.message) for warning in caught)


def loaded(data: bytes) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PictureWarning)
        return load(io.BytesIO(data))


def test_exif_with_a_number_that_is_none_stays_as_it_is() -> None:
    raw = strange.exif(bias=(0, 0))
    picture = loaded(strange.jpeg(exif=raw))
    assert picture.exif == raw
    for suffix in (".jpg", ".png", ".webp"):
        data, told = written(picture, suffix)
        assert not told
        assert (loaded(data).exif or b"").removeprefix(b"Exif\0\0") == raw[6:]
    _, told = written(picture, ".tif")
    assert told == "left out of .tif: the thumbnail in the EXIF"


def test_broken_exif_is_kept_and_told_of() -> None:
    data = strange.with_segments(strange.jpeg(), strange.segment(1, b"Exif\0\0no TIFF header"))
    with pytest.warns(PictureWarning, match="kept as it is: EXIF that cannot be read"):
        picture = load(io.BytesIO(data))
    assert picture.exif == b"Exif\0\0no TIFF header"
    assert b"no TIFF header" in written(picture, ".jpg")[0]


def test_extended_xmp_is_joined_and_written_again() -> None:
    data, first, rest = strange.extended_xmp()
    picture = loaded(data)
    assert (picture.xmp, picture.more[names.MORE_XMP]) == (first, rest)
    again = loaded(written(picture, ".jpg")[0])
    assert (again.xmp, again.more[names.MORE_XMP]) == (first, rest)
    assert written(picture, ".png")[1] == "left out of .png: extended XMP"


def test_long_metadata_fit_into_a_jpeg_or_are_named() -> None:
    xmp, icc = b"<x:xmpmeta>" + b"x" * 100_000 + b"</x:xmpmeta>", bytes(200_000)
    picture = Picture(strange.photo(), None, b"Exif\0\0II*\0" + bytes(70_000), icc, xmp)
    data, told = written(picture, ".jpg")
    assert told == "left out of .jpg: EXIF of 70,010 bytes, more than a JPEG holds"
    again = loaded(data)
    assert again.more[names.MORE_XMP] == xmp  # the first part only names it
    assert again.icc == icc


def test_resolution_comments_iptc_and_png_texts_come_back() -> None:
    jpeg = strange.with_segments(
        strange.jpeg(dpi=(300, 240), comment=b"a comment"), strange.segment(13, b"Photoshop 3.0\x008BIM")
    )
    picture = loaded(jpeg)
    assert picture.more[names.IPTC] == b"8BIM"
    again = loaded(written(picture, ".jpg")[0])
    assert again.more == picture.more
    assert to_image(picture).info["dpi"] == (300, 240)
    png = inspect(written(picture, ".png")[0])
    assert png.part("resolution") == struct.pack(">IIB", 11811, 9449, 1)
    texts = strange.png(
        (b"tEXt", b"Title\0a title"), (b"tIME", bytes(7)), (b"iTXt", b"a\0\0\0\0\0" + b"text" * 400_000)
    )
    picture = loaded(texts)
    assert loaded(written(picture, ".png")[0]).more == picture.more
    assert b"a title" in picture.more[names.PNG_CHUNKS]
    assert written(picture, ".jpg")[1] == "left out of .jpg: PNG chunks"


@pytest.mark.parametrize("hdr", [True, False])
def test_an_ultra_hdr_jpeg_comes_back_whole(hdr: bool) -> None:
    data = strange.multi_picture(hdr)
    behind = inspect(data).trailing
    assert behind is not None
    picture = loaded(data)
    assert picture.more[names.TRAILING] == behind.data
    again, told = written(picture, ".jpg")
    assert not told
    contents = inspect(again)
    assert contents.trailing == behind
    index = contents.part("index of pictures")
    assert index is not None
    # The entries of the index: the size of the first picture, the size and place of the second.
    header = again.index(b"MPF\0") + 4
    (size,) = struct.unpack("<I", again[header + 54 : header + 58])
    second, place = struct.unpack("<II", again[header + 70 : header + 78])
    assert again[:size] + behind.data == again
    assert again[header + place : header + place + second] == behind.data
    assert ("gain map" if hdr else "further picture") in written(picture, ".png")[1]


def test_a_motion_photo_keeps_its_film() -> None:
    picture = loaded(strange.motion_photo())
    assert inspect(written(picture, ".jpg")[0]).trailing == inspect(strange.motion_photo()).trailing
    assert written(picture, ".webp")[1] == "left out of .webp: film"


@pytest.mark.parametrize(
    "chunks",
    [[strange.GAMMA_1], strange.ADOBE_RGB, [strange.DISPLAY_P3], [strange.PQ]],
    ids=["linear", "adobe", "p3", "pq"],
)
def test_colours_told_by_png_chunks_are_told_again(chunks: list[tuple[bytes, bytes]]) -> None:
    source = strange.png(*chunks)
    picture = loaded(source)
    again, told = written(picture, ".png")
    assert inspect(again).colour == inspect(source).colour
    assert not told
    data, told = written(picture, ".jpg")
    if chunks == [strange.PQ]:  # which no profile of this kind can say
        assert told == "left out of .jpg: colour code points 9/16/0/1"
    else:
        assert not told
        assert loaded(data).icc


def test_profiles_made_of_colours_say_what_little_cms_says_of_them() -> None:
    p3 = ImageCms.ImageCmsProfile(io.BytesIO(profile_of({"cicp": bytes([12, 13, 0, 1])}) or b""))
    srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile_of({"cicp": bytes([1, 13, 0, 1])}) or b""))
    own = ImageCms.createProfile("sRGB")
    image = Image.fromarray(strange.photo())
    same = ImageCms.profileToProfile(image, srgb, own)
    assert same is not None
    assert np.abs(np.asarray(same).astype(int) - strange.photo()).max() <= 1
    red = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (200, 100, 50)), p3, own)
    assert red is not None
    assert np.abs(np.array(red.getpixel((0, 0))) - (214, 96, 34)).max() <= 3  # as other converters have it
    gamma = ImageCms.ImageCmsProfile(io.BytesIO(profile_of({"gama": (100_000).to_bytes(4, "little")}) or b""))
    bright = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (55, 55, 55)), gamma, own)
    assert bright is not None
    assert abs(bright.getpixel((0, 0))[0] - 128) <= 1  # linear 0.2157 is sRGB 128
    assert profile_of({"cicp": bytes([9, 16, 0, 1])}) is None


def test_heic_and_avif_keep_their_colours() -> None:
    pytest.importorskip("pillow_heif")
    picture = loaded(strange.png(strange.DISPLAY_P3))
    data, told = written(picture, ".heic")
    assert "HEIC loses" in told
    colour = inspect(data).colour
    assert colour is not None
    assert colour.cicp is not None
    assert colour.cicp[:2] == (12, 13)
    assert inspect(written(picture, ".avif")[0]).part("ICC profile")
    assert inspect(written(loaded(data), ".png")[0]).colour.cicp[:2] == (12, 13)  # type: ignore[union-attr, index]


def test_no_format_is_written_that_loses_what_nobody_asked_it_to_lose() -> None:
    for suffix in (".gif", ".ico", ".pdf", ".eps", ".xyz", ".mp4", ""):
        with pytest.raises(AecodecError, match=r"use \.png"):
            save(Image.new("RGB", (4, 4)), io.BytesIO(), suffix)
    colours = np.zeros((8, 8, 4), np.uint8)
    colours[..., 0] = np.arange(8)
    image = Image.fromarray(colours)
    save(image, buffer := io.BytesIO(), ".webp")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer).convert("RGBA")), colours)  # hidden colours, too


def test_opaque_alpha_does_not_keep_a_picture_from_being_a_jpeg() -> None:
    picture = loaded(strange.encoded("PNG", Image.fromarray(strange.photo()).convert("RGBA")))
    assert picture.alpha is not None
    assert Image.open(io.BytesIO(written(picture, ".jpg")[0])).mode == "RGB"
    with pytest.raises(AecodecError, match="alpha"):
        written(loaded(strange.encoded("PNG", Image.fromarray(strange.disc("own")))), ".jpg")


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".tga"])
def test_what_formats_without_metadata_leave_out_is_named(suffix: str) -> None:
    picture = Picture(strange.photo(), None, strange.exif(), b"icc", b"<x/>")
    assert written(picture, suffix)[1] == f"left out of {suffix}: EXIF, ICC profile, XMP"


def test_gps_is_stripped_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "description", 6
    exif.get_ifd(34853)[1], exif.get_ifd(34853)[2] = "N", (52.0, 31.0, 12.5)
    raw = exif.tobytes()
    xmp = b'<x><rdf:D exif:GPSLatitude="52,31.2N" dc:title="kept"><exif:GPSAltitude>34</exif:GPSAltitude></rdf:D></x>'
    picture, gone = metadata.strip(Picture(strange.photo(), None, raw, None, xmp), "gps")
    assert not gone
    read = Image.Exif()
    read.load(picture.exif or b"")
    assert dict(read) == {0x010E: "description", 0x0112: 6}
    assert not read.get_ifd(34853)
    assert struct.pack(">II", 125, 10) not in (picture.exif or b"")
    assert picture.xmp == b'<x><rdf:D dc:title="kept"></rdf:D></x>'
    camera = metadata.strip(Picture(strange.photo(), None, strange.exif()), "gps")[0]
    assert camera.exif == strange.exif()  # there is none, so no byte changes


def test_what_may_hold_a_position_that_cannot_be_found_goes_with_it() -> None:
    broken = Picture(strange.photo(), None, b"Exif\0\0broken", None, b"<x GPS", {names.TRAILING: b"\0\0\0\x18ftypmp42"})
    picture, gone = metadata.strip(broken, "gps")
    assert picture.exif is None
    assert picture.xmp is None
    assert names.TRAILING not in picture.more
    assert len(gone) == 3


def test_stripping_all_leaves_what_the_picture_looks_like() -> None:
    more = {
        names.CICP: bytes([12, 13, 0, 1]),
        names.COMMENT: b"x",
        names.IPTC: b"8BIM",
        names.TRAILING: b"film",
    }
    picture, _ = metadata.strip(Picture(strange.photo(), None, strange.exif(), b"icc", b"<x/>", more), "all")
    assert metadata.orientation_of(picture.exif) == 6
    assert len(picture.exif or b"") < 100
    assert (picture.icc, picture.xmp, set(picture.more)) == (b"icc", None, {names.CICP})


@pytest.mark.parametrize("order", ["little", "big"])
def test_orientation_is_changed_in_place(order: str) -> None:
    form, head = ("<", b"II*\0") if order == "little" else (">", b"MM\0*")
    raw = head + struct.pack(form + "IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0) + b"rest"
    changed = metadata.with_orientation(raw, 1)
    assert metadata.orientation_of(raw) == 6
    assert metadata.orientation_of(changed) == 1
    assert changed is not None
    assert sum(a != b for a, b in zip(raw, changed, strict=True)) == 1


def test_segments_of_makers_are_held_and_written_again() -> None:
    segments = [
        strange.segment(1, b"FLIR\0\1\0\0" + bytes(range(200))),
        strange.segment(12, b"Ducky\0\1\0\4\0\0\0\x50\0\2\0\3abc\0\0"),
        strange.segment(7, b""),
    ]
    data = strange.with_segments(strange.jpeg(), *segments)
    picture = loaded(data)
    assert picture.more[names.SEGMENTS] == b"".join(segments)
    assert names.describe(picture.more)[names.SEGMENTS] == "APP1 'FLIR', APP12 'Ducky', APP7 ''"
    again, told = written(picture, ".jpg")
    assert told is None or not told
    assert loaded(again).more[names.SEGMENTS] == b"".join(segments)
    assert written(picture, ".png")[1] == "left out of .png: APP1 'FLIR', APP12 'Ducky', APP7 ''"
    assert names.SEGMENTS not in strip(picture, "all")[0].more
    stripped, gone = strip(picture, "gps")
    assert names.SEGMENTS not in stripped.more
    assert gone == ["segments of the JPEG that may tell the position"]
    forged = replace(picture, more={names.SEGMENTS: b"\xff\xe1\0\x05ab\xff\xd9"})
    with pytest.raises(AecodecError, match="cannot be written as JPEG"):
        written(forged, ".jpg")


@pytest.mark.parametrize("kind", ["TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_a_decoder_has_turned_is_turned_back(kind: str, orientation: int) -> None:
    """So that EXIF stays as it is, and the picture is seen as it was meant to be."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "a maker"
    data = strange.encoded(kind, Image.fromarray(strange.photo()), exif=exif.tobytes())
    before = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    picture = loaded(data)
    told = inspect(data).part("EXIF")
    assert kind == "TIFF" or (picture.exif or b"").removeprefix(b"Exif\0\0") == (told or b"").removeprefix(b"Exif\0\0")
    shown = ImageOps.exif_transpose(to_image(picture))
    assert np.array_equal(np.asarray(shown), np.asarray(before))


def test_colours_that_a_tiff_tells_by_primaries_are_told_again() -> None:
    picture = loaded(strange.adobe_rgb_tiff())
    assert struct.unpack("<8I", picture.more[names.CHROMATICITIES])[:2] == (31270, 32900)
    assert loaded(written(picture, ".png")[0]).more[names.CHROMATICITIES] == picture.more[names.CHROMATICITIES]
    assert loaded(written(picture, ".tif")[0]).icc


def test_code_points_of_samples_that_were_no_rgb_are_those_of_the_full_range() -> None:
    """Which is what their decoder has made of them; in a PNG the range is that of the samples."""
    for matrix, full in ((1, 1), (0, 0)):
        picture = replace(loaded(strange.encoded("PNG")), more={names.CICP: bytes([12, 13, matrix, 0])})
        assert loaded(written(picture, ".png")[0]).more[names.CICP] == bytes([12, 13, 0, full])
    narrow = inspect(strange.png((b"cICP", bytes([1, 13, 0, 0]))))
    assert str(narrow.colour) == "colour by code points 1/13/0/0"


def test_a_picture_that_is_hidden_all_over_keeps_its_colours() -> None:
    pixels = np.dstack([strange.photo(), np.zeros(strange.SIZE[::-1], np.uint8)])
    assert np.array_equal(loaded(strange.encoded("PNG", Image.fromarray(pixels))).colour, strange.photo())
