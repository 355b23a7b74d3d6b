"""The promise: after `import aecodec.pillow`, Pillow treats .aec files as it treats its own formats."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

import aecodec.pillow
from aecodec import container, metrics
from aecodec.codec import Codec
from aecodec.errors import PictureWarning


@pytest.fixture(autouse=True)
def registered(codec: Codec) -> Iterator[None]:
    aecodec.pillow.register(codec)
    yield
    aecodec.pillow.register()


@pytest.fixture
def file(tmp_path: Path, photo: np.ndarray) -> Path:
    """A picture that carries everything that a picture can carry."""
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    image.save(tmp_path / "x.aec", quality=70, exif=exif, icc_profile=b"profile" * 9, xmp=b"<x:xmpmeta/>")
    return tmp_path / "x.aec"


def test_open_and_save(codec: Codec, file: Path, photo: np.ndarray) -> None:
    with Image.open(file) as image:
        assert (image.format, image.mode, image.size) == ("AEC", "RGB", (144, 96))
        assert image.get_format_mimetype() == "image/x-aecodec"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decompress(file.read_bytes())))
    assert Image.open(io.BytesIO(file.read_bytes())).convert("L").size == (144, 96)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "AEC")
    assert container.read_header(buffer.getvalue()).quality == 5000


def test_size_mode_and_metadata_need_neither_torch_nor_numpy(file: Path) -> None:
    code = f"""
import sys, aecodec.pillow
from PIL import Image
image = Image.open({str(file)!r})
assert (image.mode, image.size, image.getexif()[0x0112], len(image.info["xmp"])) == ("RGB", (144, 96), 6, 12)
image.verify()
sys.exit("torch" in sys.modules or "numpy" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metadata_survive_and_can_be_replaced(file: Path, tmp_path: Path) -> None:
    image = Image.open(file)
    assert image.info["icc_profile"] == b"profile" * 9
    assert image.getexif()[0x0112] == 6
    assert ImageOps.exif_transpose(image).size == (96, 144)
    image.save(tmp_path / "y.aec")
    assert Image.open(tmp_path / "y.aec").info == image.info
    image.save(tmp_path / "y.aec", exif=b"", icc_profile=None, xmp=b"<other/>")
    assert Image.open(tmp_path / "y.aec").info == {"xmp": b"<other/>"}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes(photo: np.ndarray, mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(photo[:, :, 2]))
    buffer = io.BytesIO()
    image.save(buffer, "AEC")
    back = Image.open(buffer)
    assert back.mode == {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert back.copy().mode == back.mode
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(back.getchannel("A")), photo[:, :, 2])


def test_options_are_those_of_the_codec(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    image.save(tmp_path / "x.aec", quality=12.34)
    assert container.read_header((tmp_path / "x.aec").read_bytes()).quality == 1234
    image.save(tmp_path / "x.aec", size=1000)
    assert 980 <= (tmp_path / "x.aec").stat().st_size <= 1000
    image.save(tmp_path / "x.aec", bpp=0.5)
    assert 0.49 <= 8 * (tmp_path / "x.aec").stat().st_size / (144 * 96) <= 0.5
    image.save(tmp_path / "x.aec", psnr=23)
    assert 23 <= metrics.psnr(photo, np.asarray(Image.open(tmp_path / "x.aec"))) <= 23.1


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, photo: np.ndarray) -> None:
    for image, options in (
        (Image.new("F", (4, 4)), {}),
        (Image.fromarray(photo), {"quality": 101}),
        (Image.fromarray(photo), {"size": 5}),
    ):
        with pytest.raises(OSError, match="cannot be written as AEC"):
            image.save(tmp_path / "x.aec", **options)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_an_os_error(file: Path) -> None:
    good = file.read_bytes()
    for bad in (good[:-1], good[:20], good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]):
        with pytest.raises(OSError, match=r"damaged|truncated"):
            Image.open(io.BytesIO(bad)).verify()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"something else entirely"))


def test_an_unknown_model_is_an_os_error_when_pixels_are_needed(file: Path) -> None:
    content = container.read(file.read_bytes())
    header = container.Header(144, 96, 3, b"\1\2\3\4", 5000)
    image = Image.open(io.BytesIO(container.write(container.File(header, {}, content.tiles))))
    assert image.size == (144, 96)
    with pytest.raises(OSError, match="01020304"):
        image.load()


def test_pillows_limit_of_pixels_is_respected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # less than the 13,824 there are
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)


def test_opened_files_can_be_copied_pickled_shown_small_and_overwritten(file: Path) -> None:
    image = Image.open(file)
    assert pickle.loads(pickle.dumps(image)).tobytes() == image.tobytes()
    assert image.copy().tobytes() == image.tobytes()
    small = Image.open(file)
    small.thumbnail((50, 50))
    assert small.size == (50, 33)
    Image.open(file).save(file, quality=5)
    assert container.read_header(file.read_bytes()).quality == 500


def test_files_are_closed_after_loading(file: Path) -> None:
    image = Image.open(file)
    handle = image.fp
    image.load()
    assert handle.closed
    stream = io.BytesIO(file.read_bytes())
    Image.open(stream).load()
    assert not stream.closed  # it belongs to the caller


def test_of_several_frames_one_is_saved_and_the_others_are_told(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    with pytest.warns(PictureWarning, match="only the current frame"):
        image.save(tmp_path / "x.aec", save_all=True, append_images=[image])
    assert Image.open(tmp_path / "x.aec").size == image.size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.save(tmp_path / "x.aec", save_all=True)
