"""The promise: archives grow month by month, hold each file once, and tell what is in them; nothing is lossy unsaid."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strange_pictures as strange
from click.testing import CliRunner
from PIL import Image

from aecodec import archive, container
from aecodec.archive import jpegs, sources
from aecodec.archive import settings as archive_settings
from aecodec.archive.finding import distance
from aecodec.archive.manifest import DUPLICATE, JPEG, ORIGINAL, OTHER, PICTURE
from aecodec.cli import main
from aecodec.cli.archive_text import created
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.perceptual import score

DAY = 86_400 * 10**9


@pytest.fixture
def options(small_weights: Path) -> dict[str, Any]:
    return {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0, "effort": 0}


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(main, ["archive", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def smooth(seed: int, side: int = 64) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def photograph(
    path: Path, seed: int, taken: str = "", camera: str = "", place: tuple[float, float] | None = None
) -> None:
    """A JPEG as a camera makes it."""
    exif = Image.Exif()
    if taken:
        exif.get_ifd(34665)[36867] = taken
    if camera:
        exif[271], exif[272] = camera.split(" ")[0], camera
    if place:
        north, east = place
        gps = exif.get_ifd(34853)
        gps[1], gps[3] = "N" if north >= 0 else "S", "E" if east >= 0 else "W"
        gps[2], gps[4] = (abs(north), 0.0, 0.0), (int(abs(east)), abs(east) % 1 * 60, 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth(seed).save(path, quality=95, exif=exif)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    root = tmp_path / "card"
    photograph(root / "IMG_0001.jpg", 1, "2026:10:03 12:00:00", "NIKON Z50", (48.2, 16.4))
    photograph(root / "IMG_0002.jpg", 2, "2026:10:04 08:30:00", "Canon EOS R5", (-33.9, 151.2))
    (root / "notes.txt").write_text("sunny")
    (root / ".DS_Store").write_text("of the system")
    (root / "@eaDir" / "x").mkdir(parents=True)
    (root / "@eaDir" / "x" / "thumb.jpg").write_text("of the system")
    return root


def test_what_systems_leave_in_folders_is_left_out(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    report = archive.create(card, tmp_path / "arc", exclude=["*.txt"], **options)
    assert set(report.left_out) == {".DS_Store", "@eaDir/x/thumb.jpg", "notes.txt"}
    assert set(archive.Archive(tmp_path / "arc")) == {"IMG_0001.jpg", "IMG_0002.jpg"}
    (card / "Thumbs.db").touch()
    words = ["--model", options["model"], "--min-psnr", 0, "--min-saving", 0, "--effort", 0]
    assert "3 files left out: .DS_Store, Thumbs.db, thumb.jpg" in run("create", card, tmp_path / "b", *words).stdout


def test_a_card_that_counts_from_one_again_does_not_collide(
    card: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    arc = tmp_path / "arc"
    archive.create(card, arc, **options)
    photograph(card / "IMG_0001.jpg", 3, "2026:11:08 12:00:00")
    os.utime(card / "IMG_0002.jpg", ns=(1, 1))  # the same bytes, copied at another time
    report = archive.append(card, arc, **options)
    ((name, reason),) = report.problems
    assert name == "IMG_0001.jpg"
    assert reason == "another file of this name is archived"
    (note,) = report.notes  # once, however many there are
    assert "--prefix or --by-date" in note
    assert report.counts["present"] == 2
    report = archive.append(card, arc, prefix="november", **options)
    assert (report.problems, report.counts[PICTURE], report.counts[DUPLICATE]) == ([], 1, 2)
    report = archive.append(card, arc, by_date=True, **options)
    assert (report.problems, report.counts[DUPLICATE]) == ([], 3)
    opened = archive.Archive(arc)
    assert {
        "november/IMG_0001.jpg",
        "2026/2026-10-04/IMG_0002.jpg",
        "2026/2026-11-08/IMG_0001.jpg",
    } <= set(opened)
    assert opened["2026/2026-11-08/IMG_0001.jpg"].read() == opened["november/IMG_0001.jpg"].read()
    for naming in ({"prefix": "november"}, {"by_date": True}):
        again = archive.append(card, arc, **naming, **options)
        assert dict(again.counts) == {"present": 3}
    for prefix in ("../out", "/abs"):
        with pytest.raises(AecodecError, match="prefix"):
            archive.append(card, arc, prefix=prefix, **options)


def test_duplicates_are_stored_once_and_come_back_each(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    for name in ("a/copy.jpg", "b/copy.jpg", "z.jpg"):
        (card / name).parent.mkdir(exist_ok=True)
        shutil.copy(card / "IMG_0001.jpg", card / name)
        os.utime(card / name, ns=(5 * DAY, 5 * DAY))
    (card / "empty1").touch()
    (card / "empty2").touch()
    options["shard_size"] = 1000
    report = archive.create(card, tmp_path / "arc", **options)
    assert report.counts[DUPLICATE] == 3
    opened = archive.Archive(tmp_path / "arc")
    stored = {item.offset for item in opened.values() if item.record.same_as or item.name == "IMG_0001.jpg"}
    assert len(stored) == 1
    assert archive.verify(opened).problems == []
    archive.extract(opened, tmp_path / "out", suffix=".aec", model=options["model"])
    files = {path.name: path for path in (tmp_path / "out").rglob("*.jpg.aec")}
    assert files["z.jpg.aec"].read_bytes() == files["IMG_0001.jpg.aec"].read_bytes()
    assert files["z.jpg.aec"].stat().st_mtime_ns == 5 * DAY


def test_a_duplicate_of_what_cannot_be_read_is_stored_itself(
    card: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(card / "notes.txt", card / "twin.txt")
    check = sources.check_unchanged

    def changing(source: Any, entry: Any, size: int | None) -> None:
        if entry.name == "notes.txt":
            raise AecodecError("changed while it was being archived")
        check(source, entry, size)

    monkeypatch.setattr(sources, "check_unchanged", changing)
    report = archive.create(card, tmp_path / "arc", **options)
    assert [name for name, _ in report.problems] == ["notes.txt"]
    assert archive.Archive(tmp_path / "arc")["twin.txt"].read() == b"sunny"


def test_a_dry_run_only_says(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    shutil.copy(card / "IMG_0001.jpg", card / "copy.jpg")
    report = archive.create(card, tmp_path / "arc", dry_run=True, **options)
    assert (report.counts["new"], report.counts[DUPLICATE]) == (3, 1)
    assert not (tmp_path / "arc").exists()
    words = ["--model", options["model"], "--dry-run"]
    assert "to do: 1 duplicate, 3 new files" in run("create", card, tmp_path / "arc", *words).stdout


def test_files_are_found_by_date_camera_size_and_place(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    arc = tmp_path / "arc"
    photograph(card / "no-exif.jpg", 4)
    archive.create(card, arc, **options)

    def found(*words: object) -> set[str]:
        return {one["name"] for one in json.loads(run("find", arc, "--json", *words).stdout)}

    assert found("--since", "2026-10-04") == {"IMG_0002.jpg"}
    assert found("--until", "2026-10-03") == {"IMG_0001.jpg"}
    assert found("--since", "2026-10", "--until", "2026") == {"IMG_0001.jpg", "IMG_0002.jpg"}
    assert found("--camera", "nikon") == {"IMG_0001.jpg"}
    assert found("--near", "48.3,16.5", "--within", 20) == {"IMG_0001.jpg"}
    assert found("--near", "-33.9,151.2") == {"IMG_0002.jpg"}
    assert found("--smaller", "100B") == {"notes.txt"}
    assert found("*.jpg", "--larger", "100B", "--megapixels", 0.001) == {"IMG_0001.jpg", "IMG_0002.jpg", "no-exif.jpg"}
    run("find", arc, "--camera", "leica", code=1)
    run("find", arc, "--since", "yesterday", code=1)
    run("find", arc, "--near", "here", code=1)
    head, first, *_ = run("list", arc).stdout.splitlines()
    assert head.split() == ["taken", "or", "changed", "kind", "bytes", "stored", "pixels", "dB", "name"]
    assert first.startswith("2026-10-03 12:00  picture")
    assert 15_500 < distance((48.2, 16.4), (-33.9, 151.2)) < 16_500


def test_a_name_that_is_a_pattern_means_itself(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "s").mkdir()
    for name in ("[2019] trip.txt", "2 trip.txt", "*"):
        (tmp_path / "s" / name).write_text(name)
    archive.create(tmp_path / "s", tmp_path / "arc", **options)
    for pattern, names in (
        ("[2019] trip.txt", {"[2019] trip.txt"}),
        ("*", {"[2019] trip.txt", "2 trip.txt", "*"}),
        ("* trip.txt", {"[2019] trip.txt", "2 trip.txt"}),
    ):
        out = tmp_path / "out" / str(len(names)) / pattern.replace("*", "star")
        archive.extract(tmp_path / "arc", out, pattern)
        assert {path.name for path in out.iterdir()} == names
    with pytest.raises(AecodecError, match="nothing in the archive has such a name"):
        archive.extract(tmp_path / "arc", tmp_path / "none", "*.mov")


@pytest.mark.skipif(not jpegs.available(), reason="needs imagecodecs")
def test_jpegs_come_back_bit_for_bit(tmp_path: Path, options: dict[str, Any], photo: np.ndarray) -> None:
    root = tmp_path / "s"
    root.mkdir()
    image = Image.fromarray(np.tile(photo, (4, 4, 1)))
    image.save(root / "plain.jpg", quality=92)
    image.save(root / "progressive.jpg", quality=80, progressive=True)
    image.convert("L").save(root / "grey.jpg")
    image.convert("CMYK").save(root / "cmyk.jpg")
    (root / "trailing.jpg").write_bytes((root / "plain.jpg").read_bytes() + b"a film" * 50)
    (root / "cut.jpg").write_bytes((root / "plain.jpg").read_bytes()[:9000])
    image.save(root / "picture.png")
    options["min_saving"] = 0.05
    report = archive.create(root, tmp_path / "arc", jpeg="lossless", **options)
    opened = archive.Archive(tmp_path / "arc", "cpu", options["model"])
    kinds = {name: item.record.kind for name, item in opened.items()}
    assert {kinds[name] for name in ("plain.jpg", "progressive.jpg", "grey.jpg", "trailing.jpg")} == {JPEG}
    assert kinds["picture.png"] == PICTURE
    assert report.bytes_out < report.bytes_in
    assert opened["plain.jpg"].record.stored < 0.95 * opened["plain.jpg"].record.bytes
    assert opened["plain.jpg"].image().size == image.size
    assert archive.verify(opened, deep=True, source=root).problems == []
    assert archive.extract(opened, tmp_path / "out").problems == []
    for path in root.glob("*.jpg"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_jpegs_are_kept_if_that_is_wanted(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    archive.create(card, tmp_path / "arc", jpeg="keep", **options)
    item = archive.Archive(tmp_path / "arc")["IMG_0001.jpg"]
    assert item.record.kind == ORIGINAL
    assert item.read() == (card / "IMG_0001.jpg").read_bytes()
    assert item.record.camera == "NIKON Z50"


def test_no_picture_falls_below_the_floor(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, photo: np.ndarray
) -> None:
    """It is compressed at a higher quality, or kept where none is enough; the worst are named."""
    monkeypatch.setattr(archive_settings, "SCORE_FLOOR", -1000.0)  # these weights reach no other
    (tmp_path / "s").mkdir()
    for number in range(7):
        Image.fromarray(np.roll(photo, 20 * number, 1)).save(tmp_path / "s" / f"{number}.png")
    rough = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(rough).save(tmp_path / "s" / "rough.png")
    plain = archive.create(tmp_path / "s", tmp_path / "plain", 20, **options)
    lowest = min(psnr for psnr, name in plain.worst if name != "rough.png")
    options["min_psnr"] = lowest + 0.5
    report = archive.create(tmp_path / "s", tmp_path / "arc", 20, **options)
    opened = archive.Archive(tmp_path / "arc")
    pictures = [item.record for item in opened.values() if item.record.kind == PICTURE]
    assert len(pictures) >= 5
    assert min(record.psnr for record in pictures) >= lowest + 0.5
    assert len(report.worst) == 5
    assert report.worst == sorted(report.worst)
    rough_record = opened["rough.png"].record
    assert rough_record.kind == ORIGINAL
    assert "does not reach" in rough_record.reason
    words = ["--model", options["model"], "-q", 20, "--effort", 0, "--min-saving", 0, "--min-psnr", 0]
    said = run("create", tmp_path / "s", tmp_path / "b", *words).stdout
    assert "8 pictures stored lossy: " in said
    assert f"dB on average, the worst are\n    {plain.worst[0][0]:.1f} dB  rough.png\n" in said
    assert "bit for bit" not in said  # there are no JPEGs


def test_no_picture_falls_below_the_floor_of_what_is_seen(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the floor of PSNR, but far from what it was to the eye: compressed better, or kept."""
    (tmp_path / "s").mkdir()
    y, x = np.mgrid[:96, :144]
    Image.fromarray(np.stack([x, y, (x + y) / 2], 2).astype(np.uint8)).save(tmp_path / "s" / "photo.ppm")
    rng = np.random.default_rng(0)
    sky = rng.normal(6, 2, (64, 96, 3)).clip(0, 255)
    stars = np.where(rng.random((64, 96, 1)) < 0.02, rng.integers(0, 256, (64, 96, 3)), sky)
    Image.fromarray(stars.astype(np.uint8)).save(tmp_path / "s" / "stars.ppm")

    def scores(name: str) -> dict[str, float]:
        items = archive.Archive(tmp_path / name, "cpu", options["model"]).items()
        originals = {name: np.asarray(Image.open(tmp_path / "s" / name)) for name, _ in items}
        return {name: score(originals[name], np.asarray(item.image().convert("RGB"))) for name, item in items}

    archive.create(tmp_path / "s", tmp_path / "plain", 30, **options)
    plain = scores("plain")
    assert plain["stars.ppm"] < plain["photo.ppm"] < 40
    floor = 40.0  # which these weights reach
    monkeypatch.setattr(archive_settings, "SCORE_FLOOR", floor)
    options["min_psnr"] = 1.0
    archive.create(tmp_path / "s", tmp_path / "arc", 30, **options)
    assert min(scores("arc").values()) >= floor
    opened = archive.Archive(tmp_path / "arc")
    assert opened.settings[0]["min_score"] == floor
    assert opened["photo.ppm"].record.kind == PICTURE
    assert opened["stars.ppm"].record.kind == ORIGINAL
    assert "points of SSIMULACRA2" in opened["stars.ppm"].record.reason


def test_what_saves_too_little_is_kept(tmp_path: Path, options: dict[str, Any], photo: np.ndarray) -> None:
    (tmp_path / "s").mkdir()
    Image.fromarray(photo).save(tmp_path / "s" / "a.png")
    options["min_saving"] = 0.0
    archive.create(tmp_path / "s", tmp_path / "any", 30, **options)
    record = archive.Archive(tmp_path / "any")["a.png"].record
    ratio = record.stored / record.bytes
    for saving, kind in ((max(0.0, 0.99 - ratio), PICTURE), (1.01 - ratio, ORIGINAL)):
        options["min_saving"] = saving
        archive.create(tmp_path / "s", tmp_path / f"{saving}", 30, **options)
        assert archive.Archive(tmp_path / f"{saving}")["a.png"].record.kind == kind


STRANGE = {
    "ultra-hdr.jpg": lambda: strange.multi_picture(True),
    "sixteen.png": lambda: strange.encoded("PNG", Image.fromarray(strange.deep()[..., 0])),
    "animation.gif": lambda: strange.encoded("GIF", smooth(1), save_all=True, append_images=[smooth(2)]),
    "cmyk.jpg": lambda: strange.encoded("JPEG", smooth(3).convert("CMYK")),
    "float.tif": lambda: strange.encoded("TIFF", Image.fromarray(strange.samples()[..., 0].astype(np.float32))),
    "postscript.jpg": lambda: b"%!PS-Adobe-3.0\n showpage\n",
    "cut.jpg": lambda: strange.jpeg()[:2000],
}


def test_every_strange_picture_comes_back_with_all_that_it_holds(tmp_path: Path, options: dict[str, Any]) -> None:
    """Kept bit for bit with the reason named, or an .aec file of which deep verification finds nothing missing."""
    root = tmp_path / "s"
    root.mkdir()
    for name, make in STRANGE.items():
        (root / name).write_bytes(make())
    assert archive.create(root, tmp_path / "arc", **options).problems == []
    opened = archive.Archive(tmp_path / "arc", "cpu", options["model"])
    assert set(opened) == set(STRANGE)
    for name, item in opened.items():
        if item.record.kind in (ORIGINAL, OTHER):
            assert item.read() == (root / name).read_bytes()
            assert item.record.reason, name
    for name in ("animation.gif", "cmyk.jpg", "float.tif", "postscript.jpg", "cut.jpg"):
        assert opened[name].record.kind in (ORIGINAL, OTHER), name
    assert archive.verify(opened, deep=True, source=root).problems == []


def test_deep_verification_compares_with_the_source_itself(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    archive.create(card, tmp_path / "arc", **options)
    opened = archive.Archive(tmp_path / "arc", "cpu", options["model"])
    assert archive.verify(opened, deep=True, source=card).problems == []
    photograph(card / "IMG_0002.jpg", 9)
    (name, reason), *_ = archive.verify(opened, source=card).problems
    assert (name, reason) == ("IMG_0002.jpg", "the source is not the file that was archived")


def test_what_was_kept_is_compressed_when_that_becomes_possible(
    card: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arc = tmp_path / "arc"
    shutil.copy(card / "IMG_0001.jpg", card / "twin.jpg")
    read = sources.picture.read

    def without_plugin(*arguments: Any) -> Any:
        raise sources.picture.UnreadError("HEIC needs pip install pillow-heif")

    with monkeypatch.context() as patched:
        patched.setattr(sources.picture, "read", without_plugin)
        report = archive.create(card, arc, **options)
    assert "2 pictures only kept: HEIC needs pip install pillow-heif" in "".join(created(report))
    opened = archive.Archive(arc)
    assert {name for name, item in opened.items() if item.record.kind == OTHER} == {"notes.txt"}
    assert "pillow-heif" in opened["IMG_0001.jpg"].record.reason
    assert sources.picture.read is read
    before = sum(path.stat().st_size for path in arc.glob("*.zip"))
    words = ["--model", options["model"], "--device", "cpu", "--min-psnr", 0, "--min-saving", 0, "--effort", 0]
    assert "1 other file, 2 pictures" in run("redo", "--kept", arc, *words).stdout
    opened = archive.Archive(arc, "cpu", options["model"])
    assert {name: item.record.kind for name, item in opened.items()} == {
        "IMG_0001.jpg": PICTURE,
        "IMG_0002.jpg": PICTURE,
        "twin.jpg": PICTURE,
        "notes.txt": OTHER,
    }
    assert opened["twin.jpg"].image().size == (64, 64)
    assert archive.verify(opened, deep=True, source=card).problems == []
    assert sum(path.stat().st_size for path in arc.glob("*.zip")) < before
    assert archive.create(card, arc, **options).counts["present"] == 4
    run("redo", arc, code=2)


def test_times_and_permissions_come_back(tmp_path: Path, options: dict[str, Any]) -> None:
    root = tmp_path / "s"
    root.mkdir()
    for name, mode, mtime_ns in (
        ("secret", 0o600, 0),
        ("script", 0o755, -5 * DAY + 1),
        ("future", 0o644, 2**33 * 10**9),
    ):
        (root / name).write_text(name)
        (root / name).chmod(mode)
        os.utime(root / name, ns=(mtime_ns, mtime_ns))
    smooth(1).save(root / "private.png")
    (root / "private.png").chmod(0o640)
    archive.create(root, tmp_path / "arc", **options)
    archive.extract(archive.Archive(tmp_path / "arc", "cpu", options["model"]), tmp_path / "out")
    for path in root.iterdir():
        then, now = path.stat(), (tmp_path / "out" / path.name).stat()
        assert (now.st_mode, now.st_mtime_ns) == (then.st_mode, then.st_mtime_ns), path.name


def test_strange_names_come_back_and_print(tmp_path: Path, options: dict[str, Any]) -> None:
    root = tmp_path / "s"
    names = [
        "a\nb",
        "tab\t",
        " lead",
        "dot.",
        "-o",
        "[a]",
        "aecodec-manifest.json",
        "aecodec-archive.json",
        "a\\b",
        "C:",
    ]
    names += ["x" * 255, "\u202egnp.exe", "日本", "q/" * 100 + "f", "SHA256SUMS", "é", "e\u0301", ".aecodec-lock"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    assert archive.create(root, tmp_path / "arc", **options).problems == []
    assert archive.verify(tmp_path / "arc").problems == []
    assert archive.extract(tmp_path / "arc", tmp_path / "out").problems == []
    assert {name: (tmp_path / "out" / name).read_text() for name in names} == {name: name for name in names}
    listed = run("list", tmp_path / "arc").stdout
    assert len(listed.splitlines()) == len(names) + 1
    assert "a\\nb" in listed
    assert "\\u202egnp.exe" in listed


def test_extraction_overwrites_only_what_it_has_made(card: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    archive.create(card, tmp_path / "arc", **options)
    opened = archive.Archive(tmp_path / "arc", "cpu", options["model"])
    out = tmp_path / "out"
    archive.extract(opened, out)
    again = archive.extract(opened, out)
    assert (again.problems, again.counts["present"]) == ([], 3)
    (out / "notes.txt").write_text("mine")
    smooth(7, 32).save(out / "IMG_0001.jpg.png")
    problems = dict(archive.extract(opened, out).problems)
    assert problems.keys() == {"notes.txt", "IMG_0001.jpg"}
    assert (out / "notes.txt").read_text() == "mine"


def test_raw_files_are_kept_whatever_becomes_of_others(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.raf").write_bytes(b"FUJIFILMCCD-RAW" + bytes(500))
    (tmp_path / "s" / "b.txt").write_text("text")
    archive.create(tmp_path / "s", tmp_path / "arc", others="skip", **options)
    opened = archive.Archive(tmp_path / "arc")
    assert {name: item.record.kind for name, item in opened.items()} == {"a.raf": ORIGINAL}
    assert "raw data" in opened["a.raf"].record.reason


def test_exif_that_makes_no_sense_is_no_hindrance(tmp_path: Path, options: dict[str, Any]) -> None:
    from aecodec.archive.facts import Facts, facts

    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[306], exif[271], exif[272] = "0000:00:00 00:00:00", "\0", "\n\x1b[2J Camera"
    assert facts(exif.tobytes()).taken == ""
    assert facts(exif.tobytes()).camera == "[2J Camera"
    whole = bytearray(exif.tobytes())
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(6, len(broken))] = rng.integers(256)
        assert isinstance(facts(bytes(broken)), Facts)
    assert facts(b"") == facts(b"Exif\0\0") == facts(io.BytesIO().getvalue()) == Facts()


def test_links_are_compared_with_the_source(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.txt").write_text("a")
    (tmp_path / "s" / "link").symlink_to("a.txt")
    archive.create(tmp_path / "s", tmp_path / "arc", **options)
    assert archive.verify(tmp_path / "arc", source=tmp_path / "s").problems == []
    assert archive.extract(tmp_path / "arc", tmp_path / "out").problems == []
    assert archive.extract(tmp_path / "arc", tmp_path / "out").counts["present"] == 2
    (tmp_path / "s" / "link").unlink()
    (tmp_path / "s" / "link").symlink_to("b.txt")
    assert [name for name, _ in archive.verify(tmp_path / "arc", source=tmp_path / "s").problems] == ["link"]


def test_pictures_of_kinds_that_nobody_reads_are_kept_as_pictures(tmp_path: Path, options: dict[str, Any]) -> None:
    """Also where what is no picture is skipped; drawings and documents are no photographs that could be lost."""
    (tmp_path / "s").mkdir()
    unread = {
        "webp.tif": strange.tiff(strange.photo(), (259, 3, 1, struct.pack("<HH", 50001, 0))),
        "x.jxl": b"\xff\x0a" + bytes(20),
        "x.dng": strange.raw(),
        "phone.png": strange.encoded("PNG")[:8] + strange.png_chunk(b"CgBI", bytes(4)),
        "bmp.bmp": strange.bmp(40, 0, 4),
    }
    unread["phone.png"] += strange.encoded("PNG")[8:]
    others = {"x.svg": b"<svg/>", "x.eps": strange.POSTSCRIPT, "x.txt": b"text", "x.jpg": strange.jpeg()[:3000]}
    for name, data in (unread | others).items():
        (tmp_path / "s" / name).write_bytes(data)
    report = archive.create(tmp_path / "s", tmp_path / "arc", others="skip", **options)
    opened = archive.Archive(tmp_path / "arc")
    assert {name: item.record.kind for name, item in opened.items()} == dict.fromkeys(unread, ORIGINAL)
    assert all(item.read() == unread[name] for name, item in opened.items())
    assert opened["webp.tif"].record.reason == "compressed as WebP: no decoder reads it"
    assert set(opened.missing) == set(others)
    assert report.counts["skipped"] == len(others)


def test_deep_verification_compares_all_that_a_file_holds(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "s").mkdir()
    film = strange.with_segments(strange.motion_photo(), strange.segment(1, b"FLIR\0thermal"))
    (tmp_path / "s" / "x.jpg").write_bytes(film)
    archive.create(tmp_path / "s", tmp_path / "arc", 30, **options)
    report = archive.verify(tmp_path / "arc", deep=True, source=tmp_path / "s", model=options["model"])
    assert not report.problems
    data = archive.Archive(tmp_path / "arc")["x.jpg"].read()
    whole = container.read(data)
    for name in ("tail", "segs"):
        less = replace(whole, chunks={key: chunk for key, chunk in whole.chunks.items() if key != name})
        arc = tmp_path / name
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Codec, "encode", lambda *_, less=less: [container.write(less)])
            archive.create(tmp_path / "s", arc, 30, **options)
        report = archive.verify(arc, deep=True, source=tmp_path / "s", model=options["model"])
        assert [(where, "of the source is not in the archive" in why) for where, why in report.problems] == [
            ("x.jpg", True)
        ]
