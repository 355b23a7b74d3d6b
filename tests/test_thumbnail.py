"""The promise: a small picture of a file, upright, at once where a preview is in it, and of any file otherwise."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import aecodec.pillow
from aecodec import container
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError
from aecodec.picture.names import PREVIEW

LINUX = Path(__file__).parents[1] / "packaging" / "linux"


@pytest.fixture
def large(photo: np.ndarray) -> Image.Image:
    """To be turned by a quarter, and half transparent."""
    image = Image.fromarray(np.dstack([photo, np.full(photo.shape[:2], 128, np.uint8)]))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"exif": exif.tobytes(), "icc_profile": b"profile" * 10}
    return image


def same(a: Image.Image, b: Image.Image, levels: float) -> bool:
    return a.size == b.size and a.mode == b.mode and np.abs(np.subtract(a, b, dtype=np.int16)).mean() < levels


@pytest.mark.parametrize("preview", [None, 48])
def test_a_thumbnail_is_upright_and_no_larger_than_asked(codec: Codec, large: Image.Image, preview: int | None) -> None:
    data = codec.compress(large, 80, effort=0, preview=preview)
    small = codec.thumbnail(data, 48)
    assert (small.size, small.mode) == ((32, 48), "RGBA")
    assert small.info == {"icc_profile": large.info["icc_profile"]}
    shrunk = codec.decompress(data, upright=True)
    shrunk.thumbnail((48, 48))
    assert same(small, shrunk, 4 if preview is None else 16)  # the network of the tests has seen nothing


def test_a_preview_needs_no_network(codec: Codec, large: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "x.aec").write_bytes(codec.compress(large, effort=0, preview=48))
    code = f"""
import sys, aecodec
assert aecodec.thumbnail({str(tmp_path / "x.aec")!r}, 40).size == (27, 40)
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 or "libaec is not built" in done.stderr, done.stderr


def test_a_preview_that_is_too_small_is_not_enlarged(codec: Codec, large: Image.Image) -> None:
    data = codec.compress(large, effort=0, preview=16)
    assert codec.thumbnail(data, 64).size == (43, 64)
    assert codec.thumbnail(data, 4000).size == (96, 144)


def test_deep_and_grey_pictures_have_previews_of_8_bits(codec: Codec, photo: np.ndarray) -> None:
    deep = photo.astype(np.uint16) * 257
    assert codec.thumbnail(codec.compress(deep, effort=0, preview=32), 32).mode == "RGB"
    assert codec.thumbnail(codec.compress(photo[:, :, 0], effort=0, preview=32), 32).size == (32, 21)
    assert codec.thumbnail(codec.compress(deep, effort=0), 32).mode == "RGB"


def test_small_pictures_get_no_preview_and_none_is_kept_of_a_source(codec: Codec, large: Image.Image) -> None:
    assert PREVIEW not in container.read(codec.compress(large, effort=0, preview=100)).chunks
    data = codec.compress(large, effort=0, preview=48)
    assert aecodec.info(data).metadata["preview"] > 0
    again = codec.compress(codec.decompress(data), effort=0)
    assert PREVIEW not in container.read(again).chunks


def test_a_target_counts_the_preview(codec: Codec, photo: np.ndarray) -> None:
    assert len(codec.compress(photo, size=3000, effort=0, preview=64)) <= 3000


@pytest.mark.parametrize("content", [b"", b"RIFF....WEBP", b"not a picture" * 99])
def test_what_is_no_preview_is_told_and_the_picture_stays(codec: Codec, photo: np.ndarray, content: bytes) -> None:
    file = container.read(codec.compress(photo, effort=0))
    data = container.write(container.File(file.header, {PREVIEW: content}, file.tiles))
    with pytest.raises(FormatError, match="prvw"):
        codec.thumbnail(data)
    assert codec.decompress(data).size == (144, 96)


@pytest.mark.parametrize("wrong", [{"preview": 8}, {"preview": 5000}])
def test_impossible_sizes_are_refused(codec: Codec, photo: np.ndarray, wrong: dict[str, int]) -> None:
    with pytest.raises(AecodecError, match="preview"):
        codec.compress(photo, **wrong)  # type: ignore[arg-type]
    for size in (0, "large"):
        with pytest.raises(AecodecError, match="at least 1"):
            codec.thumbnail(codec.compress(photo, effort=0), size)  # type: ignore[arg-type]


def test_pillow_takes_the_preview_for_a_thumbnail(codec: Codec, large: Image.Image, tmp_path: Path) -> None:
    aecodec.pillow.register(codec)
    try:
        large.save(tmp_path / "x.aec", effort=0, preview=48)
        with Image.open(tmp_path / "x.aec") as image:
            image.draft(None, (40, 20))
            assert image.size == (48, 32)
        with Image.open(tmp_path / "x.aec") as image:
            image.thumbnail((20, 20))
            assert (image.size, image.mode) == ((20, 13), "RGBA")
        with Image.open(tmp_path / "x.aec") as image:
            image.draft(None, (100, 100))
            assert image.size == (144, 96)
            assert image.load() is not None
    finally:
        aecodec.pillow.register()


def test_the_command_writes_small_pictures(codec: Codec, large: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "x.aec").write_bytes(codec.compress(large, effort=0, preview=48))
    run = CliRunner().invoke
    assert run(main, ["thumbnail", str(tmp_path / "x.aec")]).exit_code == 2
    done = run(main, ["thumbnail", "--pixels", "30", str(tmp_path / "x.aec"), "-o", str(tmp_path / "s.png")])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "s.png") as small:
        assert small.size == (20, 30)


def test_desktops_find_the_type_and_the_command() -> None:
    (kind,) = ElementTree.parse(LINUX / "aecodec.xml").getroot()
    match = next(element for element in kind.iter() if element.tag.endswith("match"))
    assert int(match.attrib["value"], 16).to_bytes(4, "big") == container.MAGIC[:4]
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(LINUX / "aecodec.thumbnailer")
    values = entry["Thumbnailer Entry"]
    assert values["MimeType"] == f"{kind.attrib['type']};"
    command = values["Exec"].replace("%s", "64").replace("%i", "missing.aec").replace("%o", "out.png").split()
    assert CliRunner().invoke(main, command[1:]).exit_code == 1  # understood, but there is no such file
