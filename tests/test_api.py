"""The promise: what people hand over works, or the error says what to do; batches lose nothing but what is bad."""

from __future__ import annotations

import doctest
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import aecodec
from aecodec import AecodecError, EncodeOptions, FormatError, LimitError, OutOfReachError
from aecodec.codec import Codec


@pytest.fixture
def file(codec: Codec, photo: np.ndarray) -> bytes:
    return codec.compress(photo, 70)


def test_everything_public_is_there_and_nothing_else_is_shown() -> None:
    for name in aecodec.__all__:
        assert getattr(aecodec, name) is not None
    assert set(dir(aecodec)) == {*aecodec.__all__, "archive", "__version__"}


@pytest.mark.parametrize("module", ["aecodec", "aecodec.options", "aecodec.training.modules"])
def test_examples_of_docstrings_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.failed == 0


def test_a_picture_may_come_in_any_form(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    expected = codec.compress(photo)
    raw = path.read_bytes()
    with path.open("rb") as opened:
        forms = [str(path), path, opened, raw, bytearray(raw), memoryview(raw), Image.fromarray(photo)]
        assert all(codec.compress(form) == expected for form in forms)


def test_a_file_may_come_in_any_form(codec: Codec, file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(file)
    expected = np.asarray(codec.decompress(file))
    for form in (str(path), path, bytearray(file), memoryview(file), io.BytesIO(file)):
        np.testing.assert_array_equal(np.asarray(codec.decompress(form)), expected)
        assert aecodec.info(path) == aecodec.info(file)


def test_numbers_may_be_text(codec: Codec, photo: np.ndarray) -> None:
    assert codec.compress(photo, "60") == codec.compress(photo, 60)  # type: ignore[arg-type]
    assert len(codec.compress(photo, size="1.5kB")) <= 1500


PICTURE = np.zeros((8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (PICTURE.transpose(2, 0, 1), "transpose(1, 2, 0)"),
        (np.stack([PICTURE] * 2), "compress_batch"),
        ([PICTURE], "compress_batch"),
        (torch.zeros(3, 8, 9), "tensor.permute(1, 2, 0)"),
        (PICTURE.astype(float), "astype(numpy.float32)"),
        (PICTURE.astype(int), "astype(numpy.uint8)"),
        (PICTURE > 1, "astype(numpy.uint8)"),
        (None, "expected a file name"),
        (60, "expected a file name"),
        (io.StringIO("x"), "'rb'"),
    ],
)
def test_what_is_no_picture_is_answered_with_what_to_do(codec: Codec, given: object, advice: str) -> None:
    with pytest.raises(AecodecError) as caught:
        codec.compress(given)  # type: ignore[arg-type]
    assert advice in str(caught.value)


@pytest.mark.parametrize("value", [[60], "sixty", object(), float("nan"), True])
def test_what_is_no_number_is_said(codec: Codec, value: object) -> None:
    with pytest.raises(AecodecError, match="quality"):
        codec.compress(PICTURE, value)  # type: ignore[arg-type]


def test_what_is_no_file_is_answered_with_what_to_do(codec: Codec, file: bytes, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg")
    for given, kind, advice in (
        (tmp_path / "a.jpg", FormatError, "a JPEG, which compress"),
        (b"PK\x03\x04 and more", FormatError, "open_archive"),
        ([file], AecodecError, "decompress_batch"),
        (Image.fromarray(PICTURE), AecodecError, "decoded already, which compress takes"),
        (PICTURE, AecodecError, "expected the bytes of an .aec file"),
        (io.StringIO("x"), AecodecError, "'rb'"),
    ):
        with pytest.raises(kind) as caught:
            codec.decompress(given)  # type: ignore[call-overload]
        assert advice in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"missing\.aec"):
        codec.decompress(tmp_path / "missing.aec")


def test_info_tells_what_the_file_says(codec: Codec, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image.info["exif"] = exif.tobytes()
    image.putalpha(200)
    data = codec.compress(image, 33.25)
    said = aecodec.info(data)
    assert (said.width, said.height, said.mode, said.depth, said.quality) == (144, 96, "RGBA", 8, 33.25)
    assert (said.bytes, said.tiles, said.tile) == (len(data), 1, 0)
    assert said.bpp == 8 * len(data) / (144 * 96)
    assert said.metadata["EXIF"] == len(exif.tobytes())
    assert said.model == codec.model.id.hex()  # it is not a released one
    with pytest.raises(FormatError):
        aecodec.info(data[:-1])


def test_pixels_come_as_an_array_if_asked(codec: Codec, file: bytes) -> None:
    whole = codec.decompress(file, as_array=True)
    np.testing.assert_array_equal(whole, np.asarray(codec.decompress(file)))
    np.testing.assert_array_equal(codec.decompress_batch([file], as_array=True)[0], whole)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_pictures_are_turned_as_their_exif_says(codec: Codec, photo: np.ndarray, orientation: int) -> None:
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    data = codec.compress(image, 80)
    stored, upright = codec.decompress(data), codec.decompress(data, upright=True)
    assert stored.getexif()[0x0112] == orientation
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(stored)))
    assert upright.getexif()[0x0112] == 1


def test_pictures_of_a_batch_may_each_have_their_options(codec: Codec, photo: np.ndarray) -> None:
    each = [EncodeOptions(quality=20), EncodeOptions(size=1500), EncodeOptions(quality=20), EncodeOptions(quality=80)]
    pictures = [photo, photo, photo[:50], photo]
    expected = [codec.encode([picture], options)[0] for picture, options in zip(pictures, each, strict=True)]
    assert codec.compress_batch(pictures, each=each) == expected
    for wrong in ({"each": each[:2]}, {"each": each, "quality": 50}):
        with pytest.raises(AecodecError, match="options for 4 pictures"):
            codec.compress_batch(pictures, **wrong)


def test_errors_of_a_batch_cost_only_their_own_picture(codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pictures = [photo, tmp_path / "bad.png", tmp_path / "missing.png", photo[:, :, 0]]
    told: dict[int, object] = {}
    made = codec.compress_batch(pictures, 60, errors="return", done=told.__setitem__)
    assert [type(each) for each in made] == [bytes, AecodecError, FileNotFoundError, bytes]
    assert str(tmp_path / "bad.png") in str(made[1])
    assert [told[number] for number in range(4)] == made
    with pytest.raises(AecodecError, match=r"bad\.png: "):
        codec.compress_batch(pictures, 60)
    files = [made[0], made[0][:-1], made[3]]
    images = codec.decompress_batch(files, errors="return")
    assert [type(each) for each in images] == [Image.Image, FormatError, Image.Image]
    with pytest.raises(FormatError, match="item 1: "):
        codec.decompress_batch(files)
    with pytest.raises(AecodecError, match="expected 'raise' or 'return'"):
        codec.decompress_batch(files, errors="ignore")  # type: ignore[arg-type]


def test_one_picture_is_not_taken_for_several(codec: Codec, photo: np.ndarray, file: bytes) -> None:
    for one in (photo, "photo.png", io.BytesIO()):
        with pytest.raises(AecodecError, match="one of them is for compress, several are given as a list"):
            codec.compress_batch(one)  # type: ignore[arg-type]
    with pytest.raises(AecodecError, match="one of them is for decompress"):
        codec.decompress_batch(file)  # type: ignore[arg-type]
    with pytest.raises(AecodecError, match="each="):
        codec.compress_batch([photo, photo], [50, 60])  # type: ignore[arg-type]


def test_what_belongs_to_the_codec_is_no_option_of_a_picture(codec: Codec, photo: np.ndarray) -> None:
    with pytest.raises(AecodecError, match=r"Codec\(device=\.\.\.\)"):
        codec.compress(photo, device="cpu")  # type: ignore[call-arg]
    with pytest.raises(AecodecError, match="threads 0"):
        Codec("cpu", threads=0)
    for limit in (None, 0, -5, "many"):
        with pytest.raises(AecodecError, match=r"pixel_limit .*; expected a number of pixels"):
            Codec("cpu", pixel_limit=limit)  # type: ignore[arg-type]


def test_whole_numbers_may_be_written_as_others(codec: Codec, photo: np.ndarray) -> None:
    assert codec.compress(photo, tile=64.0) == codec.compress(photo, tile=64)  # type: ignore[arg-type]
    with pytest.raises(AecodecError, match=r"tile 64\.5; expected a whole number"):
        codec.compress(photo, tile=64.5)  # type: ignore[arg-type]


def test_what_cannot_be_reached_is_an_error_of_its_own_picture(codec: Codec, photo: np.ndarray) -> None:
    large = Codec("cpu", codec._model_argument, pixel_limit=96 * 144)
    made = large.compress_batch([photo, np.zeros((200, 300, 3), np.uint8)], errors="return")
    assert [type(each) for each in made] == [bytes, LimitError]
    each = [EncodeOptions(size=100), EncodeOptions(quality=50)]
    made = codec.compress_batch([photo, photo], each=each, errors="return")
    assert [type(one) for one in made] == [OutOfReachError, bytes]


@pytest.mark.parametrize("region", [(0.5, 0, 8, 8), (1, 2, 3), (1, 2, 3, 4, 5), "0,0,8,8", (float("nan"), 0, 8, 8)])
def test_regions_that_are_none_are_refused(codec: Codec, photo: np.ndarray, region: Any) -> None:
    with pytest.raises(AecodecError, match="region"):
        codec.decompress(codec.compress(photo[:64, :64], effort=0), region)


def test_arguments_of_a_wrong_kind_are_refused(codec: Codec, photo: np.ndarray) -> None:
    closed = io.BytesIO()
    closed.close()
    image = Image.fromarray(photo)
    image.info["icc_profile"] = "text"
    given: list[Callable[[], object]] = [
        lambda: codec.compress(photo, effort=1.5),  # type: ignore[arg-type]
        lambda: codec.compress(closed),
        lambda: codec.compress("a\0b"),
        lambda: codec.compress(image),
        lambda: Codec(device=5),  # type: ignore[arg-type]
        lambda: Codec("cpu", model=5),  # type: ignore[arg-type]
    ]
    for call in given:
        with pytest.raises(AecodecError):
            call()


def test_options_and_lists_that_make_no_sense_are_told(codec: Codec, photo: np.ndarray) -> None:
    for work, said in (
        (lambda: EncodeOptions(quality="60"), "quality '60' is no number"),  # type: ignore[arg-type]
        (lambda: EncodeOptions(effort=True), "effort True is no number"),
        (lambda: codec.compress_batch([photo], each=[{"quality": 5}]), r"expected EncodeOptions"),  # type: ignore[list-item]
        (lambda: codec.compress_batch(5), "an int; a list is expected"),  # type: ignore[arg-type]
        (lambda: codec.decode_tensor(b"AEC"), "^bytes; one of them is for decompress"),  # type: ignore[arg-type]
        (lambda: aecodec.open_archive(None), "archive None; expected a path"),  # type: ignore[arg-type]
        (lambda: aecodec.compress(b""), "^the file is empty"),
    ):
        with pytest.raises(AecodecError, match=said):
            work()  # type: ignore[no-untyped-call]
