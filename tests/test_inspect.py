"""The promise: what a file holds is told from its own bytes, and what is not known to be held is named."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import strange_pictures as strange
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from aecodec.picture import read
from aecodec.picture.inspect import Contents, inspect

PLAIN = {
    "JPEG": strange.jpeg(),
    "progressive JPEG": strange.jpeg(progressive=True),
    "JPEG with restarts": strange.jpeg(restart_marker_rows=1),
    "grey JPEG": strange.encoded("JPEG", Image.fromarray(strange.photo()[:, :, 0])),
    "PNG": strange.encoded("PNG"),
    "PNG with sRGB": strange.png(*strange.SRGB),
    "PNG with transparency": strange.encoded("PNG", Image.fromarray(strange.disc("own"))),
    "WebP": strange.encoded("WEBP"),
    "WebP with transparency": strange.encoded("WEBP", Image.fromarray(strange.disc("own")), lossless=True),
    "GIF": strange.encoded("GIF"),
    "TIFF": strange.encoded("TIFF"),
    "TIFF with JPEG": strange.encoded("TIFF", compression="jpeg"),
    "PPM": strange.encoded("PPM"),
    "SGI": strange.encoded("SGI"),
    "TGA": strange.encoded("TGA"),
    "QOI": strange.encoded("QOI"),
    "JPEG 2000": strange.encoded("JPEG2000"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pictures_are_held(name: str) -> None:
    contents = inspect(PLAIN[name])
    assert contents.holdable, contents.reasons
    assert (contents.width, contents.height) == Image.open(io.BytesIO(PLAIN[name])).size
    assert (contents.bit_depth, contents.frames) == (8, 1)


def animation(kind: str) -> bytes:
    image = Image.fromarray(strange.photo())
    return strange.encoded(kind, save_all=True, append_images=[image.rotate(90), image.rotate(180)])


MORE = {
    "raw": (strange.raw(), "raw data"),
    "raw of another maker": (strange.raw(dng=False), "raw data"),
    "linear raw": (strange.raw(34892, dng=False), "raw data"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "raw data"),
    "RAF": (b"FUJIFILMCCD-RAW " + bytes(100), "raw data"),
    "ORF": (b"IIRO\x08\0\0\0" + bytes(100), "raw data"),
    "PostScript": (strange.POSTSCRIPT, "never run"),
    "PDF": (b"%PDF-1.7", "a document"),
    "text": (b"plain text, no picture", "not a picture"),
    "nothing": (b"", "empty"),
    "16-bit PPM": (strange.ppm(strange.deep(), 65535), "16 bits"),
    "10-bit PPM": (strange.ppm(strange.deep() >> 6, 1023), "10 bits"),
    "4-bit PPM": (strange.ppm(strange.photo() >> 4, 15), "scale of 0 to 15"),
    "two PPM in one": (strange.encoded("PPM") * 2, "bytes after the end"),
    "16-bit SGI": (strange.deep_sgi(), "16 bits"),
    "float TIFF": (strange.encoded("TIFF", Image.new("F", (20, 20))), "floating point"),
    "TIFF with channels": (strange.tiff(np.zeros((20, 20, 5), np.uint8)), "2 further channels"),
    "TIFF with layers": (strange.tiff(strange.photo(), (37724, 7, 4, b"8BIM")), "layers"),
    "GeoTIFF": (strange.tiff(strange.photo(), (33550, 12, 1, b"\x08\0\0\0"), head=bytes(8)), "geographic"),
    "TIFF with a private tag": (strange.tiff(strange.photo(), (65001, 4, 1, b"abcd")), "tag 65001"),
    "PSD with layers": (strange.psd(b"x" * 100), "layers"),
    "TIFF whose first picture is the thumbnail": (strange.raw(1, dng=False), "a smaller version of another one"),
    "TIFF with a channel of no meaning": (
        strange.tiff(np.zeros((20, 20, 4), np.uint8), (338, 3, 1, bytes(4))),
        "1 further channel",
    ),
    "TIFF with a palette of 16 bits": (
        strange.tiff(
            strange.photo()[:, :, :1].copy(),
            (262, 4, 1, b"\3\0\0\0"),
            (320, 3, 768, b"\x08\0\0\0"),
            head=np.arange(768, dtype="<u2").tobytes(),
        ),
        "a palette of 16 bits",
    ),
    "PSD with channels": (strange.psd(channels=5), "2 further channels"),
    "PSD with a channel beside grey": (strange.psd(channels=2, mode=1), "1 further channel"),
    "duotone": (strange.psd(channels=1, mode=8, inks=bytes(100)), "inks of a duotone"),
    "still before a film": (strange.still_before_a_film(), "1 further frame"),
    "two XMP in a PNG": (strange.png(strange.xmp_text(b"<a/>"), strange.xmp_text(b"<b/>")), "second XMP"),
    "two EXIF in a PNG": (strange.png((b"eXIf", strange.exif()), (b"eXIf", strange.exif((5, 6)))), "second EXIF"),
    "XMP that nothing names": (
        strange.with_segments(strange.jpeg(), strange.more_xmp(b"A" * 32, b"<x/>")),
        "extended XMP that the XMP does not name",
    ),
    "XMP with a hole": (
        strange.with_segments(
            strange.extended_xmp()[0], strange.more_xmp(b"0123456789ABCDEF" * 2, b"<x/>", 10**6, 10**5)
        ),
        "incomplete extended XMP",
    ),
    "JPEG XT": (strange.with_segments(strange.jpeg(), strange.segment(11, b"JP\0\1\0\0\0\1")), "APP11 'JP'"),
    "JPEG with half a profile": (
        strange.with_segments(strange.jpeg(), strange.segment(2, b"ICC_PROFILE\0\1\2" + bytes(50))),
        "broken ICC profile (50 bytes)",
    ),
    "thumbnail of JFIF": (
        strange.with_segments(strange.jpeg(), strange.segment(0, b"JFXX\0\x13\1\1" + bytes(3))),
        "JFIF thumbnail",
    ),
    "page that says it is smaller": (strange.pages(1, strange.SIZE), "1 further frame"),
    "SubIFD that says it is smaller": (strange.pages(1, strange.SIZE, sub=True), "picture in a SubIFD"),
    "mask of a TIFF": (strange.pages(4, strange.SIZE), "1 further frame"),
    "TIFF before other bytes": (strange.encoded("TIFF") + b"a message", "bytes after the end (9 bytes)"),
    "TIFF around other bytes": (
        strange.tiff(strange.photo(), head=b"a message" * 10),
        "bytes that no tag names (90 bytes)",
    ),
    "stack of which one page is named": (
        strange.tiff(strange.photo(), after=strange.photo().tobytes()),
        "bytes after the end (57,600 bytes)",
    ),
    "TIFF with primaries alone": (strange.adobe_rgb_tiff(white=False), "tag 319"),
    "page 4 of 9": (strange.tiff(strange.photo(), (297, 3, 2, b"\3\0\x09\0")), "tag 297"),
    "TIFF of a narrow scale": (strange.tiff(strange.photo(), (281, 3, 1, b"\xc8\0\0\0")), "tag 281"),
    "PNG of an iPhone": (
        strange.encoded("PNG")[:8] + strange.png_chunk(b"CgBI", bytes(4)) + strange.encoded("PNG")[8:],
        "as programs of iPhones have them",
    ),
    "GIF whose pixels are no squares": (strange.with_byte(strange.encoded("GIF"), 12, 100), "pixel aspect of a GIF"),
    "BMP with something before its pixels": (strange.bmp(before=b"a message"), "bytes before the pixels (9 bytes)"),
    "bytes behind an old BMP": (strange.bmp(12) + b"a message", "bytes after the end"),
    "BMP of colours told by numbers": (strange.bmp(108, more=bytes(20) + b"\1"), "calibrated colours in a BMP"),
    "BMP of masks and a fourth channel": (
        strange.bmp(40, 32, 3, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)),
        "1 further channel",
    ),
    "JPEG in a BMP": (strange.bmp(40, 0, 4), "a JPEG in a BMP"),
    "icon with EXIF": (strange.icon(strange.png((b"eXIf", strange.exif()))), "EXIF of a PNG in an icon"),
    "icon with colours": (strange.icon(strange.png(strange.DISPLAY_P3)), "code points 12/13/0/1 of a PNG in an icon"),
    "bytes behind an icon": (strange.icon(strange.encoded("PNG"), b"a message"), "bytes after the end"),
    "bytes behind a TGA": (strange.encoded("TGA")[:-26] + b"a message", "bytes after the end"),
    "TGA of 32 bits": (
        strange.with_byte(strange.encoded("TGA", Image.fromarray(strange.disc("own"))), 17, 0x20),
        "a fourth channel that is not said to be alpha",
    ),
    "samples behind a PGM of text": (b"P2 2 2 255 1 2 3 4 5", "further samples"),
    "samples behind a PBM of text": (b"P1 2 2 0 1 1 0 1", "further samples"),
    "SGI with a map of colours": (strange.with_byte(strange.encoded("SGI"), 107, 1), "a map of colours"),
    "JPEG 2000 of 4 bits": (strange.jpeg_2000_of_4_bits(), "4 bits a sample, whose white becomes grey"),
    "bytes behind the boxes of a JPEG 2000": (
        strange.encoded("JPEG2000") + b"message",
        "bytes after the end (7 bytes)",
    ),
    "BMP of 32 bits": (strange.bmp_of_32_bits(), "1 further channel"),
    "two PPM of text in one": (b"P3 1 1 255 1 2 3\n" * 2, "further pictures"),
    "two JPEG 2000 in one": (
        strange.encoded("JPEG2000") + strange.box(b"jp2c", strange.encoded("JPEG2000", no_jp2=True)),
        "1 further frame",
    ),
    **{
        f"bytes behind a {kind}": (strange.encoded(kind, **options) + b"a message", "bytes after the end")
        for kind, options in {"BMP": {}, "QOI": {}, "SGI": {}, "JPEG2000": {"no_jp2": True}, "WEBP": {}}.items()
    },
    "bytes behind a PSD": (strange.psd() + b"a message", "bytes after the end"),
    "JPEG XL": (b"\xff\x0a" + bytes(20), "does not read"),
    "JPEG XL with metadata": (b"\0\0\0\x0cJXL \r\n\x87\n" + strange.box(b"ftyp", b"jxl "), "does not read"),
    "drawing": (b'<?xml version="1.0"?><svg/>', "a drawing"),
    "CRW": (b"II\x1a\0\0\0HEAPCCDR" + bytes(40), "raw data"),
    "icon": (
        strange.encoded("ICO", Image.fromarray(strange.disc("own")), sizes=[(16, 16), (32, 32)]),
        "1 further frame",
    ),
    "JPEG-LS": (strange.jpeg_ls(), "does not read"),
    "BMP of 10 bits": (strange.bmp_of_10_bits(), "10 bits a sample"),
    "CMYK": (strange.encoded("JPEG", Image.fromarray(strange.photo()).convert("CMYK")), "CMYK"),
    "C2PA": (strange.with_segments(strange.jpeg(), strange.segment(11, b"JP\0\1jumb")), "APP11"),
    "PNG whose gamma is 0": (strange.png((b"gAMA", bytes(4))), "chunk gAMA"),
    "unknown PNG chunk": (strange.png((b"prIv", b"x")), "prIv"),
    "unknown WebP chunk": (b"RIFF\x1e\0\0\0WEBP" + PLAIN["WebP"][12:26] + b"WHAT\0\0\0\0", "damaged WebP"),
    **{f"{kind} with frames": (animation(kind), "further frame") for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF")},
}


@pytest.mark.parametrize("name", MORE)
def test_what_is_more_or_other_than_a_plain_picture_is_named(name: str) -> None:
    data, reason = MORE[name]
    contents = inspect(data)
    assert not contents.holdable
    assert reason in ", ".join(contents.reasons)


def test_what_follows_a_jpeg_is_told() -> None:
    assert inspect(strange.multi_picture(hdr=True)).trailing.name == "gain map"  # type: ignore[union-attr]
    assert inspect(strange.multi_picture(hdr=False)).trailing.name == "further picture"  # type: ignore[union-attr]
    assert inspect(strange.motion_photo()).trailing.name == "film"  # type: ignore[union-attr]
    assert inspect(strange.jpeg() + b"abc").trailing.name == "bytes after the end"  # type: ignore[union-attr]
    assert inspect(strange.jpeg() + bytes(100)).trailing is None  # padding


def test_metadata_are_found_byte_for_byte() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() * 40  # over several segments
    raw, packet = strange.exif(bias=(0, 0)), b"<x:xmpmeta/>"
    for kind in ("JPEG", "PNG", "WEBP"):
        data = strange.encoded(kind, exif=raw, icc_profile=profile, **({} if kind == "PNG" else {"xmp": packet}))
        contents = inspect(data)
        assert contents.part("ICC profile") == profile
        assert (contents.part("EXIF") or b"").removeprefix(b"Exif\0\0") == raw[6:]
        assert contents.part("XMP") == (None if kind == "PNG" else packet)
    data, first, rest = strange.extended_xmp()
    assert inspect(data).part("XMP") == first
    assert inspect(data).part("extended XMP") == rest
    assert inspect(strange.jpeg(comment=b"a comment")).part("comment") == b"a comment"
    assert inspect(strange.jpeg(dpi=(300, 300))).part("resolution") == struct.pack(">BHH", 1, 300, 300)


def test_comments_that_become_one_are_told() -> None:
    comments = [b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text for text in (b"one", b"another")]
    contents = inspect(strange.with_segments(strange.jpeg(), *comments))
    assert contents.part("comment") == b"one\nanother"
    assert "where one comment ends and another begins" in contents.losses


@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ([strange.GAMMA_1], "gamma"),
        (strange.ADOBE_RGB, "gamma and chromaticities"),
        ([strange.DISPLAY_P3], "12/13/0/1"),
        ([strange.PQ], "9/16/0/1"),
        (strange.SRGB, None),
        ([strange.GAMMA_1, (b"sRGB", b"\0")], None),  # the standard lets sRGB stand above gamma
        ([(b"cICP", bytes([1, 13, 0, 1]))], None),
        ([(b"cICP", bytes([1, 13, 0, 1])), strange.PROFILE], "1/13/0/1"),  # which stands above the profile
        ([strange.GAMMA_1, strange.PROFILE], None),  # which stands below it
    ],
)
def test_colours_that_png_chunks_tell(chunks: list[tuple[bytes, bytes]], told: str | None) -> None:
    colour = inspect(strange.png(*chunks)).colour
    assert (told is None) == (colour is None)
    assert told is None or told in str(colour)


def test_heic_and_avif_tell_depth_colours_and_further_pictures() -> None:
    heif = pytest.importorskip("pillow_heif")
    deep = io.BytesIO()
    heif.from_bytes("RGB;16", strange.SIZE, strange.deep().astype("<u2").tobytes()).save(deep, quality=90)
    assert inspect(deep.getvalue()).bit_depth in (10, 12)
    heif.register_heif_opener()
    plain = strange.encoded("HEIF", exif=strange.exif(), xmp=b"<x/>")
    contents = inspect(plain)
    assert (contents.kind, contents.width, contents.height) == ("HEIC", *strange.SIZE)
    assert contents.holdable, contents.reasons
    assert contents.part("XMP") == b"<x/>"
    assert contents.part("EXIF") == strange.exif()[6:]
    p3 = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 1, "full_range_flag": 1}
    assert inspect(strange.encoded("HEIF", **p3)).colour.cicp == (12, 13, 1, 1)  # type: ignore[union-attr]
    assert inspect(strange.encoded("HEIF", Image.fromarray(strange.disc("own")))).holdable
    several = heif.from_pillow(Image.fromarray(strange.photo()))
    several.add_from_pillow(Image.fromarray(strange.photo()))
    buffer = io.BytesIO()
    several.save(buffer)
    assert inspect(buffer.getvalue()).frames == 2
    avif = inspect(strange.encoded("AVIF", exif=strange.exif()))
    assert (avif.kind, avif.holdable, avif.bit_depth) == ("AVIF", True, 8)


def test_what_follows_the_boxes_of_a_heic_is_no_damage() -> None:
    data = heic_with_auxiliary(b"urn:mpeg:hevc:2015:auxid:1")
    assert "bytes after the end (9 bytes)" in inspect(data + b"a message").losses
    assert "damaged" in str(inspect(data[:-3]).refusal)  # the pixels are cut off
    assert "unknown part box mpvd (4 bytes)" in inspect(data + strange.box(b"mpvd", b"film")).losses


def test_auxiliary_pictures_of_heic_are_told() -> None:
    contents = inspect(heic_with_auxiliary(b"urn:com:apple:photo:2020:aux:hdrgainmap"))
    assert [part.name for part in contents.auxiliaries] == ["gain map"]
    assert inspect(heic_with_auxiliary(b"", media=bytes(15) + b"a film " * 20)).losses[-1] == (
        "unknown part bytes that no item names (155 bytes)"
    )
    told = {
        strange.box(b"pasp", struct.pack(">II", 2, 1)): (),
        strange.box(b"clap", struct.pack(">8I", 100, 1, 100, 1, 0, 1, 0, 1)): (
            "what is outside of the clean aperture",
        ),
        strange.box(b"udes", bytes(8)): ("unknown part property udes (8 bytes)",),
    }
    for content, losses in told.items():
        contents = inspect(heic_with_auxiliary(b"urn:mpeg:hevc:2015:auxid:1", content))
        assert contents.losses == losses
        assert (contents.part("pixel aspect") is not None) == (b"pasp" in content)
    contents = inspect(heic_with_auxiliary(b"urn:mpeg:hevc:2015:auxid:2"))
    assert [part.name for part in contents.auxiliaries] == ["depth map"]
    assert inspect(heic_with_auxiliary(b"urn:mpeg:hevc:2015:auxid:1")).alpha


def heic_with_auxiliary(urn: bytes, more: bytes = b"", media: bytes = bytes(15)) -> bytes:
    """The skeleton of a HEIC of two items, whose second is an auxiliary picture of the first. more: a further property
    of that."""
    box = strange.box
    full = bytes(4)

    def entry(number: int) -> bytes:
        return box(b"infe", b"\2\0\0\0", struct.pack(">HH", number, 0), b"hvc1\0")

    places = struct.pack(">HHHHHII", 0x4400, 2, 1, 0, 1, 0, 10) + struct.pack(">HHHII", 2, 0, 1, 10, 5)
    size = box(b"ispe", full, struct.pack(">II", *strange.SIZE))
    links = struct.pack(">IHB", 2, 1, 1 + bool(more)) + bytes([1, *[3] * bool(more)]) + struct.pack(">HBBB", 2, 2, 1, 2)
    meta = box(
        b"meta",
        full,
        box(b"pitm", full, struct.pack(">H", 1)),
        box(b"iinf", full, struct.pack(">H", 2), entry(1), entry(2)),
        box(b"iloc", full, places),
        box(b"iref", full, box(b"auxl", struct.pack(">HHH", 2, 1, 1))),
        box(b"iprp", box(b"ipco", size, box(b"auxC", full, urn + b"\0"), more), box(b"ipma", full, links)),
    )
    return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + meta + box(b"mdat", media)


@pytest.mark.parametrize("name", PLAIN)
def test_cut_files_are_told_from_whole_ones(name: str) -> None:
    data = PLAIN[name]
    for size in (len(data) // 2, 20):
        contents = inspect(data[:size])
        if not any(
            kind in name for kind in ("BMP", "SGI", "TGA", "QOI", "TIFF", "JPEG 2000")
        ):  # pixels come last there
            assert contents.refusal or contents.oddities or contents.trailing is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted([*PLAIN, *MORE])), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6)
)
def test_no_bytes_make_it_fail(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray((PLAIN | {name: data for name, (data, _) in MORE.items()})[name])
    for place, value in changes:
        if data:
            data[place % len(data)] = value
    inspect(bytes(data))


def test_files_and_open_files_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(PLAIN["PNG"])
    assert inspect(path) == inspect(str(path)) == inspect(PLAIN["PNG"]) == inspect(memoryview(PLAIN["PNG"]))
    with path.open("rb") as file:
        file.read(3)
        assert inspect(file) == inspect(path)
        assert file.tell() == 0
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none")


def test_every_row_of_the_page_names_its_test() -> None:
    root = Path(__file__).parent
    page = (root.parent / "docs" / "pictures.md").read_text()
    tables = page[: page.index("## More than 8 bits")]
    defined = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in root.glob("test_*.py")), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", tables))
    assert named <= defined, named - defined
    rows = [
        line for line in tables.splitlines() if line.startswith("| ") and not line.startswith(("| kind", "| what |"))
    ]
    assert all(re.search(r"`test_\w+`(, `test_\w+`)* \|$", row) for row in rows)


def test_lossless_jpegs_never_reach_a_decoder_that_they_would_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """simplejpeg makes an eighth of a picture, of these all of it, in the room for an eighth."""
    simplejpeg = pytest.importorskip("simplejpeg")
    asked = []
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: asked.append(1))
    assert inspect(strange.jpeg_without_transform()).holdable
    assert not asked
    inspect(strange.jpeg())
    assert asked


def test_damage_in_coded_data_is_told() -> None:
    pytest.importorskip("simplejpeg")
    data = strange.jpeg()
    assert "Corrupt JPEG data" in inspect(data[: len(data) // 2] + b"\xff\xd9").losses[0]
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        broken = bytearray(data)
        broken[rng.integers(700, len(data) - 2)] ^= 1 << rng.integers(8)
        found += not inspect(bytes(broken)).holdable
    assert found > 10  # of others, the codes are as good as before: nothing but a checksum could tell


def test_code_points_beside_a_profile_are_told_or_held() -> None:
    data = strange.encoded("AVIF", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = data.index(b"colrnclx") + 8

    def with_points(primaries: int, transfer: int) -> Contents:
        return inspect(data[:at] + bytes([0, primaries, 0, transfer]) + data[at + 4 :])

    assert with_points(2, 2).holdable
    assert with_points(12, 13).losses == ("colour by code points 12/13/6/1 beside an ICC profile",)
    hdr = with_points(9, 16)
    assert hdr.holdable
    assert hdr.colour is not None
    assert hdr.colour.cicp == (9, 16, 6, 1)
    assert hdr.part("ICC profile")


def test_exif_of_a_bigtiff_is_told() -> None:
    pixels = bytes(range(16))
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 16), (277, 1), (278, 4), (279, 16), (34665, 32)]
    entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags)
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", 48) + pixels + bytes(16)
    data += struct.pack("<Q", len(tags)) + entries + bytes(8)
    found = read(io.BytesIO(data))
    assert found.picture.colour.tobytes() == pixels
    assert (found.losses, found.picture.exif) == (["EXIF of a BigTIFF"], None)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize(
    "pixels", [strange.photo(), strange.photo()[:, :, :1], strange.deep(), strange.deep()[:, :, :1]]
)
def test_a_bigtiff_of_either_order_of_bytes_is_read(pixels: np.ndarray, deflated: bool) -> None:
    found = read(io.BytesIO(strange.bigtiff(pixels, deflated)))
    assert found.losses == []
    assert np.array_equal(found.picture.colour.reshape(pixels.shape), pixels)
