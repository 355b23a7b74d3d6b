"""The promise: whatever a file is named or holds, a command does the others, and says in one line what is not kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import strange_pictures as strange
from click.testing import CliRunner, Result
from PIL import Image

from aecodec import archive
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.plugins.pillow import register

Run = Callable[..., Result]


@pytest.fixture
def run(small_weights: Path) -> Run:
    def call(command: str, *words: object) -> Result:
        return CliRunner().invoke(main, [command, *map(str, words), "--model", str(small_weights)])

    return call


def test_what_is_dropped_is_said_in_one_line_and_strict_makes_it_an_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(strange.png((b"prIv", b"secret"), (b"caBX", b"c2pa")))
    result = run("compress", path)
    assert result.exit_code == 0
    assert (
        result.stderr
        == f"aecodec: {path}: not kept: unknown part chunk prIv (6 bytes), unknown part chunk caBX (4 bytes)\n"
    )
    (tmp_path / "x.aec").unlink()
    result = run("compress", path, "--strict")
    assert result.exit_code == 1
    assert "not kept: unknown part chunk prIv" in result.stderr
    assert not (tmp_path / "x.aec").exists()
    path.write_bytes(strange.with_segments(strange.jpeg(), strange.segment(1, b"Exif\0\0odd, and kept")))
    result = run("compress", path, "--strict")
    assert (result.exit_code, result.stderr) == (0, f"aecodec: {path}: kept as it is: EXIF that cannot be read\n")
    path.write_bytes(strange.jpeg(comment=b"a comment"))
    run("compress", path, "-f")
    result = run("decompress", tmp_path / "x.aec", "-o", tmp_path / "x.webp", "--strict")
    assert (result.exit_code, (tmp_path / "x.webp").exists()) == (1, False)
    result = run("decompress", tmp_path / "x.aec", "-o", tmp_path / "x.webp")
    assert result.stderr == f"aecodec: {tmp_path / 'x.aec'}: left out of .webp: comment\n"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.dng", strange.raw(), "DNG: raw data of a camera's sensor, not yet a picture"),
        ("x.jpg", strange.POSTSCRIPT, "PostScript: a program that draws, which is never run"),
        ("x.png", strange.png((b"iCCP", b""))[:-20], "damaged PNG"),
        ("x.tif", strange.encoded("TIFF", Image.new("F", (20, 20))), "reads this TIFF: 32-bit floating point samples"),
        ("x.tif", strange.tiff(np.zeros((20, 20, 3), np.float32)), "no decoder reads this TIFF"),
        ("x.tif", strange.tiff_of_whole_numbers(), "reads this TIFF: 16 bits a sample, signed samples"),
        ("x.tif", strange.tiff_of_whole_numbers("i1"), "signed samples of 8 bits: no decoder reads them"),
        ("x.tif", strange.tiff(strange.photo(), (259, 3, 1, b"\x52\xc3\0\0")), "compressed as JPEG XL: no decoder"),
        ("x.bmp", strange.bmp_of_10_bits(), "no decoder reads it (Unsupported BMP"),
        ("x.jpg", strange.jpeg_ls(), "JPEG-LS: a picture in a format that aecodec does not read"),
        ("x.jpg", strange.jpeg()[:3000], "damaged picture (it is cut off)"),
        ("x.tga", b"text", "not a picture in a format that aecodec reads"),
    ],
    ids=[
        "raw",
        "PostScript",
        "PNG",
        "float",
        "float colours",
        "below 0",
        "bytes below 0",
        "JPEG XL in a TIFF",
        "BMP",
        "JPEG-LS",
        "JPEG",
        "text",
    ],
)
def test_what_is_no_plain_picture_is_refused_and_the_others_are_done(
    run: Run, tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z.png").write_bytes(strange.encoded("PNG"))
    result = run("compress", tmp_path / name, tmp_path / "z.png")
    assert result.exit_code == 1
    assert reason in result.stderr
    assert (tmp_path / "z.aec").exists()
    assert not (tmp_path / "x.aec").exists()


def test_damaged_avif_and_a_broken_profile_end_no_run(run: Run, tmp_path: Path) -> None:
    avif = bytearray(
        strange.encoded("AVIF", Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))
    )
    at = avif.index(b"mdat") + 4
    avif[at : at + 60] = bytes(60)
    (tmp_path / "bad.avif").write_bytes(avif)
    (tmp_path / "icc.png").write_bytes(strange.png((b"iCCP", b"")))
    (tmp_path / "z.png").write_bytes(strange.encoded("PNG"))
    result = run("compress", "-r", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bad.avif: damaged picture" in result.stderr
    assert "icc.png: not kept: broken ICC profile" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"z.aec", "icc.aec"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_no_name_ends_a_run(tmp_path: Path, small_weights: Path, locale: str) -> None:
    names = [
        b"bad\xff.jpg",
        "\U0001f600.jpg".encode(),
        b"[2019] trip.jpg",
        b"new\nline.jpg",
        b"esc\x1b[31mred.jpg",
        b"x" * 248 + b".jpg",
        b"a.jfif",
    ]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(strange.jpeg())
    command = [
        sys.executable,
        "-m",
        "aecodec",
        "compress",
        "-r",
        str(tmp_path),
        "-o",
        str(tmp_path / "out"),
        "--effort",
        "0",
    ]
    environment = locale_of(locale)
    done = subprocess.run([*command, "--model", str(small_weights)], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout
    assert sum(b"160x120" in line for line in done.stdout.splitlines()) == len(names)
    assert {os.fsencode(path.stem) for path in (tmp_path / "out").iterdir()} == {
        os.path.splitext(name)[0] for name in names
    }
    json_lines = subprocess.run(
        [*command, "--model", str(small_weights), "--json", "-f"], capture_output=True, env=environment, check=False
    )
    assert len([json.loads(line) for line in json_lines.stdout.splitlines()]) == len(names)


def locale_of(name: str) -> dict[str, str]:
    """An environment in which Python takes names of files to be in this locale's encoding."""
    return {**os.environ, "LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_archives_are_the_same_in_every_locale(tmp_path: Path, small_weights: Path) -> None:
    """Where Python takes names for ASCII, those in UTF-8 are archived, listed, found and extracted as such."""
    names = {"é.png", "日本/\U0001f600.jpg", "日本/new\nline.txt", "plain.txt", "x" * 240 + ".txt"}
    source, links = tmp_path / "für", {"日本/link é": "../é.png"}
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes({".png": strange.encoded("PNG"), ".jpg": strange.jpeg()}.get(path.suffix, b"text"))
    for name, target in links.items():
        (source / name).symlink_to(target)
    (source / "leer é").mkdir()
    there = names | {*links, "leer é/"}

    def aecodec(locale: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aecodec", "archive", *map(os.fspath, arguments)]
        environment = locale_of(locale)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, errors="replace", check=False)
        assert "Traceback" not in done.stderr
        return done

    settings = ("--effort", "0", "--min-psnr", "0", "--model", small_weights, "--prefix", "ü")
    for locale, other in (("C", "C.UTF-8"), ("C.UTF-8", "C")):
        arc, out = tmp_path / f"{locale} ä", tmp_path / f"{locale} ö"
        assert aecodec(locale, "create", source, arc, *settings).returncode == 0
        assert set(archive.Archive(arc)) == {f"ü/{name}" for name in there}
        again = aecodec(other, "create", source, arc, *settings)
        assert (again.returncode, again.stdout.split()) == (0, [str(len(there)), "there", "already"])
        listed = aecodec(locale, "list", arc, "ü/é*", "--json")
        assert [record["name"] for record in json.loads(listed.stdout)] == ["ü/é.png"]
        for _ in range(2):  # what is there is recognised
            assert aecodec(locale, "extract", arc, "-o", out, "--model", small_weights).returncode == 0
        extracted = {path.relative_to(out / "ü").as_posix() for path in out.rglob("*") if path.is_file()}
        assert extracted == {name + ".png" if name.endswith(".jpg") else name for name in {*names, *links}}
        assert os.readlink(out / "ü" / "日本" / "link é") == "../é.png"
        assert aecodec(locale, "verify", arc).returncode == 0
    assert (tmp_path / "C ä" / "00000.zip").read_bytes() == (tmp_path / "C.UTF-8 ä" / "00000.zip").read_bytes()


TIMES = [0, -1_500_000_000, -(2**31) * 10**9, 2**33 * 10**9 + 7]  # 1970, before it, 1901, 2242


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere know fewer times")
def test_times_come_back_whatever_they_are(tmp_path: Path, run: Run) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number, when in enumerate(TIMES):
        (source / f"{number}.txt").write_text(str(number))
        (source / f"{number}.png").write_bytes(strange.encoded("PNG"))
        for suffix in (".txt", ".png"):
            os.utime(source / f"{number}{suffix}", ns=(when, when))
    assert run("compress", "-r", source, "-o", tmp_path / "aec").exit_code == 0
    for told in ("4 other files", "8 there already"):
        result = run("archive", "create", source, tmp_path / "arc", "--effort", 0, "--min-psnr", 0)
        assert (result.exit_code, told in result.stdout) == (0, True), result.output
    assert run("archive", "verify", tmp_path / "arc", "--deep", "--source", source).exit_code == 0
    assert run("archive", "extract", tmp_path / "arc", "-o", tmp_path / "out").exit_code == 0
    for number, when in enumerate(TIMES):
        for path in (f"aec/{number}.aec", f"out/{number}.txt", f"out/{number}.png"):
            assert (tmp_path / path).stat().st_mtime_ns == when, path


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_that_are_no_text_are_archived_and_come_back(tmp_path: Path, run: Run) -> None:
    def repair(path: Path) -> Result:
        return CliRunner().invoke(main, ["archive", "repair", str(path)])

    source = tmp_path / "source\udcff"
    (source / "empty\udcff").mkdir(parents=True)
    texts = {"good.txt": "good", "bad\udcff.txt": "bad", "bad%FF.txt": "like the other in ZIP", "twin\udcfe.txt": "bad"}
    for name, text in texts.items():
        (source / name).write_text(text)
    (source / "picture\udcfe.png").write_bytes(strange.encoded("PNG"))
    (source / "link").symlink_to("to\udcff")
    for told in ("1 picture", "7 there already"):
        result = run("archive", "create", source, tmp_path / "arc", "--effort", 0, "--min-psnr", 0)
        assert (result.exit_code, told in result.stdout) == (0, True), result.output
    with zipfile.ZipFile(tmp_path / "arc" / "00000.zip") as plain:  # which every program opens
        members = set(plain.namelist())
        assert {"empty%FF/", "bad%FF.txt", "bad%FF.txt.kept", "picture%FE.png.aec"} <= members
        assert plain.read("bad%FF.txt") == b"like the other in ZIP"
    assert run("archive", "verify", tmp_path / "arc", "--deep", "--source", source).exit_code == 0
    assert "bad\\udcff.txt" in CliRunner().invoke(main, ["archive", "list", str(tmp_path / "arc")]).stdout
    for _ in range(2):  # made, then compared
        assert run("archive", "extract", tmp_path / "arc", "-o", tmp_path / "all").exit_code == 0
    assert {name: (tmp_path / "all" / name).read_text() for name in texts} == texts
    assert (tmp_path / "all" / "empty\udcff").is_dir()
    assert (tmp_path / "all" / "picture\udcfe.png").exists()
    assert os.readlink(tmp_path / "all" / "link") == "to\udcff"
    assert run("archive", "extract", tmp_path / "arc", "bad\udcff*", "-o", tmp_path / "some").exit_code == 0
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["bad\udcff.txt"]
    (tmp_path / "arc" / "SHA256SUMS").unlink()
    assert repair(tmp_path / "arc").exit_code == 0
    assert "prefix" in run("archive", "create", source, tmp_path / "arc", "--prefix", "p\udcff").stderr
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "new.txt").write_text("new")
    # One archive in one file, which may be called anything.
    single = tmp_path / "one\udcff.zip"
    for _ in range(2):  # made, then compared
        assert run("archive", "create", tmp_path / "more", single).exit_code == 0
    assert repair(single).exit_code == 0
    assert run("archive", "verify", single).exit_code == 0
    assert run("archive", "extract", single, "-o", tmp_path / "out\udcff").exit_code == 0
    assert (tmp_path / "out\udcff" / "new.txt").read_text() == "new"
    # A shard of several, which has to be listed.
    several = tmp_path / "several"
    run("archive", "create", tmp_path / "more", several)
    single.rename(several / "two\udcff.zip")
    (source / "later.txt").write_text("later")
    for result in (run("archive", "append", source, several), repair(several)):
        assert (result.exit_code, "rename it" in result.stderr) == (1, True)
    assert archive.Archive(several).shards == ["00000.zip", "two\udcff.zip"]


def test_inputs_of_one_name_are_all_done(run: Run, tmp_path: Path) -> None:
    for name in ("same.jpg", "same.png", "other.png"):
        (tmp_path / name).write_bytes(strange.encoded("PNG"))
    result = run("compress", "-r", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"same.jpg.aec", "same.png.aec", "other.aec"}


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_who_may_not_read_a_source_may_not_read_the_result(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(strange.encoded("PNG"))
    path.chmod(0o600)
    os.utime(path, (0, 0))
    run("compress", path)
    status = (tmp_path / "x.aec").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o600, 0)
    run("decompress", tmp_path / "x.aec", "-o", tmp_path / "y.png")
    assert (tmp_path / "y.png").stat().st_mode & 0o777 == 0o600


def test_info_says_what_a_file_holds(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(strange.multi_picture(hdr=True))
    run("compress", path)
    runner = CliRunner()
    shown = runner.invoke(main, ["info", str(tmp_path / "x.aec")]).stdout
    assert "gain map" in shown
    assert "index of pictures" in shown
    facts = json.loads(runner.invoke(main, ["info", "--json", str(tmp_path / "x.aec")]).stdout)
    assert {"XMP", "gain map", "index of pictures"} <= set(facts["metadata"])
    assert facts["depth"] == 8


def test_the_position_is_stripped_on_request(run: Run, codec: Codec, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "description"
    exif.get_ifd(34853)[1] = "N"
    path = tmp_path / "x.jpg"
    path.write_bytes(strange.jpeg(exif=exif.tobytes()))
    for strip, left in (("gps", {0x010E: "description"}), ("all", {})):
        run("compress", path, "-f", "--strip", strip)
        image = codec.decompress((tmp_path / "x.aec").read_bytes())
        assert dict(image.getexif()) == left


def test_a_turn_that_was_made_already_is_not_told_again(codec: Codec, tmp_path: Path) -> None:
    register(codec)
    source = tmp_path / "x.jpg"
    source.write_bytes(strange.jpeg(exif=strange.exif(orientation=6)))
    with Image.open(source) as image:
        image.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "turned.aec")
        image.save(tmp_path / "kept.aec")
    with Image.open(tmp_path / "turned.aec") as turned, Image.open(tmp_path / "kept.aec") as kept:
        assert turned.size == strange.SIZE[::-1]
        assert (turned.getexif().get(274, 1), kept.getexif()[274]) == (1, 6)
        kept.load()
        kept.save(tmp_path / "again.aec")
    assert Image.open(tmp_path / "again.aec").getexif()[274] == 6
    codec.decompress((tmp_path / "kept.aec").read_bytes()).save(tmp_path / "again.aec")
    assert Image.open(tmp_path / "again.aec").getexif()[274] == 6


def test_hidden_colours_cost_nothing_and_leave_no_rims(codec: Codec) -> None:
    files = {hidden: codec.compress(strange.disc(hidden), 50) for hidden in ("black", "noise", "own")}
    assert files["black"] == files["noise"] == files["own"]
    decoded = np.asarray(codec.decompress(files["noise"]))
    seen = strange.disc("own")[..., 3] > 0
    assert np.abs(decoded[seen][:, :3].astype(int) - strange.disc("own")[seen][:, :3]).mean() < 12


def test_eight_bits_of_more_are_dithered_on_request(run: Run, codec: Codec, tmp_path: Path) -> None:
    sky = np.linspace(20_000, 24_000, 128 * 128).reshape(128, 128).astype(np.uint16)
    (tmp_path / "sky.aec").write_bytes(codec.compress(np.dstack([sky] * 3), 95))
    steps = []
    for words in ([], ["--dither"]):
        result = run("decompress", tmp_path / "sky.aec", "-o", tmp_path / "sky.webp", "-f", *words)
        assert "16 bits a sample, of which 8 are" in result.stderr
        shown = np.asarray(Image.open(tmp_path / "sky.webp"))[..., 0].astype(int)
        steps.append(np.count_nonzero(np.diff(shown)))
    assert steps[1] > steps[0]


def test_what_extraction_leaves_out_is_told_of_each_file(run: Run, tmp_path: Path, small_weights: Path) -> None:
    long = "x" * 251 + ".jpg"
    files = {"a.jpg": strange.multi_picture(hdr=True), "b.jpg": strange.jpeg() + b"abc", long: strange.jpeg()}
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    archive.create(tmp_path / "in", tmp_path / "arc", model=small_weights, min_psnr=None, min_saving=0)
    result = run("archive", "extract", tmp_path / "arc", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.jpg.png", "b.jpg.png", "x" * 251 + ".png"}
    assert "a.jpg: left out of .png: gain map" in result.stdout
    assert "b.jpg: left out of .png: bytes after the end" in result.stdout
    assert archive.extract(tmp_path / "arc", tmp_path / "jpg", suffix=".jpg", model=small_weights).notes == []
