"""The promise: a folder goes into an archive and nothing is lost, whatever is in it and whatever happens meanwhile."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from forging import forge
from PIL import Image

import aecodec
from aecodec import archive, container
from aecodec.archive import flow, settings, sources, storage
from aecodec.archive.manifest import MANIFEST, ORIGINAL, OTHER, PICTURE, PREFACE, Record
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import AecodecError, FormatError

FLOORLESS = ("--min-psnr", "0", "--min-saving", "0")  # the small model is not good enough
ROOT = Path(__file__).parent.parent
QUALITY = 85  # of archives, if nothing else is asked for
SHARD = 40_000  # bytes of sources: the collection becomes several shards


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


@pytest.fixture
def collection(tmp_path: Path, photo: np.ndarray) -> Path:
    """Pictures and all else that folders of pictures hold."""
    root = tmp_path / "photos"
    save(root / "beach.png", photo)
    save(root / "beach copy.png", photo)
    save(root / "Urlaub" / "Größe.png", photo[::-1])
    save(root / "旅行" / "東京.png", photo[:, ::-1])
    save(root / "отпуск" / "море.png", photo[:64, :64])
    save(root / "grey.png", photo[..., 0])
    alpha = np.dstack([photo, photo[..., :1]])
    save(root / "alpha.png", alpha)
    save(root / "exif.png", photo, exif=exif_bytes())
    save(root / "sixteen.png", photo[..., 0].astype(np.uint16) * 257)
    save(root / "cmyk.jpg", photo, "CMYK")
    frames = [Image.fromarray(photo), Image.fromarray(photo[::-1].copy())]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    (root / "truncated.jpg").write_bytes(buffer.getvalue()[:1500])
    (root / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (root / "notes.txt").write_text("sunny")
    (root / "beach.png.aec").write_bytes(b"in the way")
    (root / MANIFEST).write_text("in the way, too")
    (root / "nothing.bin").touch()
    (root / "empty" / "folder").mkdir(parents=True)
    os.utime(root / "beach.png", ns=(1_500_000_000_123_456_789,) * 2)
    return root


def exif_bytes() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    return exif.tobytes()


ORIGINALS = {"cmyk.jpg", "moving.gif"}
NOT_PICTURES = {"truncated.jpg", "phone.heic", "notes.txt", "beach.png.aec", MANIFEST, "nothing.bin"}
PICTURES = {
    "alpha.png",
    "beach copy.png",
    "beach.png",
    "exif.png",
    "grey.png",
    "sixteen.png",
    "Urlaub/Größe.png",
    "旅行/東京.png",
    "отпуск/море.png",
}


@pytest.fixture
def options(small_weights: Path) -> dict[str, Any]:
    return {"model": small_weights, "device": "cpu", "shard_size": SHARD, "min_psnr": None, "min_saving": 0.0}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.zip")}


def names_of(opened: archive.Archive, kind: str) -> set[str]:
    return {name for name, item in opened.items() if item.record.kind == kind}


def test_everything_in_a_folder_comes_back(
    collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path, codec: Codec
) -> None:
    before = contents(collection)
    report = archive.create(collection, tmp_path / "arc", **options)
    assert report.problems == []
    assert contents(collection) == before  # sources are only read

    opened = aecodec.open_archive(tmp_path / "arc", "cpu", small_weights)
    assert len(opened.shards) > 2
    assert set(opened) == {*before, "empty/folder/"}
    assert names_of(opened, PICTURE) == PICTURES
    assert names_of(opened, ORIGINAL) == ORIGINALS
    assert names_of(opened, OTHER) == NOT_PICTURES

    out = tmp_path / "out"
    assert archive.extract(opened, out).problems == []
    extracted = contents(out)
    assert set(extracted) == set(before)  # all compressed ones were PNGs and are again
    assert (out / "empty" / "folder").is_dir()
    for name in ORIGINALS | NOT_PICTURES:
        assert extracted[name] == before[name]
    for name in PICTURES:
        assert (out / name).stat().st_mtime_ns == (collection / name).stat().st_mtime_ns
        direct = codec.decompress(codec.compress(collection / name, QUALITY))
        with Image.open(out / name) as image:
            deep = name == "sixteen.png"
            assert image.mode == ("I;16" if deep else direct.mode)
            difference = np.asarray(image).astype(int) // (256 if deep else 1) - np.asarray(direct)
        assert np.abs(difference).mean() < 0.5, name  # pictures in one batch may differ in last bits from single ones
        assert opened[name].image().size == opened[name].size == direct.size
    assert b"a description" in opened["exif.png"].metadata()["exif"]
    assert opened["beach.png"].metadata() == {}


def test_zip_tools_read_shards(collection: Path, tmp_path: Path, options: dict[str, Any], codec: Codec) -> None:
    archive.create(collection, tmp_path / "all.zip", **options)
    with zipfile.ZipFile(tmp_path / "all.zip") as opened:
        assert opened.testzip() is None
        members = set(opened.namelist())
        assert all(info.compress_type == zipfile.ZIP_STORED for info in opened.infolist())
        assert opened.getinfo("beach.png.1.aec").date_time == (2017, 7, 14, 2, 40, 0)
        assert codec.decompress(opened.read("旅行/東京.png.aec")).size == (144, 96)
        assert opened.read("beach.png.aec") == b"in the way"
        listed = {r["name"]: r for r in json.loads(opened.read(MANIFEST))["files"]}
    assert {"empty/folder/", "notes.txt", "Urlaub/Größe.png.aec", MANIFEST} <= members
    record = listed["beach copy.png"]
    assert record["bpp"] == pytest.approx(8 * record["stored"] / (144 * 96), abs=1e-3)
    assert 20 < record["psnr"] < 60


def test_an_archive_that_lost_any_shard_is_made_the_same_again(
    collection: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    archive.create(collection, tmp_path / "arc", **options)
    whole = contents(tmp_path / "arc")
    names = sorted(name for name in whole if not name.endswith(".npz"))  # which `describe` makes again
    for lost in [names[:1], names[1:2], names[-1:], names[::2], names]:
        for name in lost:
            (tmp_path / "arc" / name).unlink()
        archive.create(collection, tmp_path / "arc", **options)
        assert contents(tmp_path / "arc") == whole
    report = archive.create(collection, tmp_path / "arc", **options)
    assert dict(report.counts) == {"present": len(contents(collection)) + 1}


def test_kill_leaves_whole_shards_and_the_same_command_continues(
    collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path, photo: np.ndarray
) -> None:
    for number in range(60):
        save(collection / "more" / f"{number}.png", np.roll(photo, number, 1))
    archive.create(collection, tmp_path / "whole", **options)
    arc = tmp_path / "arc"
    command = [sys.executable, "-m", "aecodec", "archive", "create", collection, arc, "--model", small_weights]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, *FLOORLESS, "--device", "cpu", "--shard-size", str(SHARD / 1e6)], env=environment, cwd=tmp_path
    )
    while not (arc / "00001.zip").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole = contents(tmp_path / "whole")
    left = contents(arc)
    shards = [name for name in left if name.endswith(".zip") and not name.startswith(".")]
    assert {name: whole[name] for name in shards}.items() <= left.items()
    assert len(left.keys() & whole.keys()) < len(whole)
    archive.create(collection, arc, **options)
    assert contents(arc) == whole


def test_pictures_that_would_be_worse_or_larger_are_kept(
    tmp_path: Path, photo: np.ndarray, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SCORE_FLOOR", -1000.0)  # these weights reach no other
    save(tmp_path / "in" / "rough.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    save(tmp_path / "in" / "tiny.webp", photo, quality=0)
    save(tmp_path / "in" / "photo.png", photo)
    archive.create(tmp_path / "in", tmp_path / "any", 95, **options)
    anyway = archive.Archive(tmp_path / "any")
    between = (anyway["rough.png"].record.psnr + anyway["photo.png"].record.psnr) / 2
    options["min_psnr"] = between
    archive.create(tmp_path / "in", tmp_path / "arc", 95, **options)
    opened = archive.Archive(tmp_path / "arc")
    reasons = {name: item.record.reason for name, item in opened.items() if item.record.kind == ORIGINAL}
    assert reasons.keys() == {"rough.png", "tiny.webp"}
    assert "dB" in reasons["rough.png"]
    assert anyway["rough.png"].record.kind == PICTURE
    assert "bytes" in reasons["tiny.webp"]
    assert opened["tiny.webp"].read() == (tmp_path / "in" / "tiny.webp").read_bytes()


def test_every_picture_gets_the_psnr_or_the_bits_asked_for(
    tmp_path: Path, options: dict[str, Any], photo: np.ndarray
) -> None:
    save(tmp_path / "in" / "plain.png", photo)
    save(tmp_path / "in" / "turned.png", photo[:, ::-1].copy())
    archive.create(tmp_path / "in", tmp_path / "psnr", psnr=22.6, **options)
    for item in archive.Archive(tmp_path / "psnr").values():
        assert 22.6 <= item.record.psnr <= 22.7 + 1e-3
    archive.create(tmp_path / "in", tmp_path / "bpp", bpp=0.8, **options)
    for item in archive.Archive(tmp_path / "bpp").values():
        assert 0.776 <= item.record.bpp <= 0.8
    archive.create(tmp_path / "in", tmp_path / "best", psnr=60, others="skip", **options)
    assert {item.record.kind for item in archive.Archive(tmp_path / "best").values()} == {ORIGINAL}
    with pytest.raises(AecodecError, match="contradict"):
        archive.create(tmp_path / "in", tmp_path / "both", 50, psnr=20, **options)
    with pytest.raises(AecodecError, match="tune chooses between the default models"):
        archive.create(tmp_path / "in", tmp_path / "tuned", tune="visual", **options)
    assert not list(tmp_path.glob("tuned/*.zip"))


def test_what_an_encoder_can_be_asked_for_an_archive_can(
    tmp_path: Path, options: dict[str, Any], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SCORE_FLOOR", -1000.0)  # these weights reach no other
    save(tmp_path / "in" / "a.png", np.tile(photo, (2, 2, 1)))
    asked = {**options, "tile": 64, "preview": 64, "size": "3 kB"}
    archive.create(tmp_path / "in", tmp_path / "arc", **asked)
    opened = archive.Archive(tmp_path / "arc")
    content = container.read(opened["a.png"].read())
    assert (content.header.tile, len(opened["a.png"].read()) <= 3000, "prvw" in content.chunks) == (64, True, True)
    (told,) = opened.settings
    assert {name: told[name] for name in ("tile", "preview", "size")} == {"tile": 64, "preview": 64, "size": 3000}
    assert "score" not in told
    archive.create(tmp_path / "in", tmp_path / "arc", **asked)
    with pytest.raises(AecodecError, match="was made with"):
        archive.create(tmp_path / "in", tmp_path / "arc", **{**asked, "tile": 128})
    with pytest.raises(AecodecError, match="no option 'colour'"):
        archive.create(tmp_path / "in", tmp_path / "other", colour=1, **options)
    del options["min_psnr"]
    archive.create(tmp_path / "in", tmp_path / "denoised", denoise="auto", **options)  # no default floor beside it
    archive.create(tmp_path / "in", tmp_path / "better", size=2000, min_psnr=23, **options)
    (item,) = archive.Archive(tmp_path / "better").values()
    assert 23 <= item.record.psnr <= 23.1 + 1e-3


def test_aec_files_are_not_compressed_again(
    tmp_path: Path, photo: np.ndarray, options: dict[str, Any], codec: Codec
) -> None:
    source = tmp_path / "in" / "old.aec"
    source.parent.mkdir()
    source.write_bytes(codec.compress(photo, 90))
    archive.create(tmp_path / "in", tmp_path / "arc", 10, **options)
    item = archive.Archive(tmp_path / "arc")["old.aec"]
    assert item.record.kind == ORIGINAL
    assert item.read() == source.read_bytes()


@pytest.mark.parametrize("others", ["skip", "fail"])
def test_others_can_be_left_out_but_are_listed(
    collection: Path, tmp_path: Path, options: dict[str, Any], others: str
) -> None:
    report = archive.create(collection, tmp_path / "arc", others=others, **options)
    assert {name for name, _ in report.problems} == (NOT_PICTURES if others == "fail" else set())
    opened = archive.Archive(tmp_path / "arc")
    assert set(opened.missing) == NOT_PICTURES
    assert set(opened) == {*PICTURES, *ORIGINALS, "empty/folder/"}
    before = contents(tmp_path / "arc")
    again = archive.create(collection, tmp_path / "arc", others=others, **options)
    assert contents(tmp_path / "arc") == before
    assert len(again.problems) == len(report.problems)  # still not in the archive, and still said
    assert archive.append(collection, tmp_path / "arc", **options).problems == []
    assert set(archive.Archive(tmp_path / "arc")) == {*contents(collection), "empty/folder/"}


def test_sources_that_cannot_be_read_are_named_and_tried_again(
    collection: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(collection / "pipe")
    state = storage.LocalFolder.state

    def changing(folder: storage.LocalFolder, name: str) -> tuple[int, int]:
        size, mtime = state(folder, name)
        return size, mtime + (name == "grey.png")

    monkeypatch.setattr(storage.LocalFolder, "state", changing)
    report = archive.create(collection, tmp_path / "arc", **options)
    problems = dict(report.problems)
    assert problems.keys() == {"pipe", "grey.png"}
    assert "changed" in problems["grey.png"]
    assert PICTURES - set(archive.Archive(tmp_path / "arc")) == {"grey.png"}

    monkeypatch.undo()
    report = archive.create(collection, tmp_path / "arc", **options)
    assert {name for name, _ in report.problems} == {"pipe"}
    opened = archive.Archive(tmp_path / "arc")
    assert opened["grey.png"].record.kind == PICTURE
    assert "grey.png" not in opened.missing


def test_a_full_disk_leaves_finished_shards_and_no_half_one(
    collection: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    archive.create(collection, tmp_path / "whole", **options)
    whole = contents(tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(map(len, whole.values())) - 1, limits[1]))
    try:
        with pytest.raises(AecodecError, match=r"\d\.zip: File too large; what is finished stays"):
            archive.create(collection, tmp_path / "arc", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    published = {name: data for name, data in contents(tmp_path / "arc").items() if not name.startswith(".")}
    assert published.keys() < whole.keys()
    assert all(whole[name] == data for name, data in published.items() if name.endswith(".zip"))
    archive.create(collection, tmp_path / "arc", **options)
    assert contents(tmp_path / "arc") == whole


def test_large_files_are_copied_piece_by_piece_and_dropped_if_they_change(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STREAMED", 1000)
    monkeypatch.setattr(sources, "CHUNK", 512)
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.mov", "b.mov", "c.mov"):
        (source / name).write_bytes(os.urandom(5000))
    state, asked = storage.LocalFolder.state, []

    def changing(folder: storage.LocalFolder, name: str) -> tuple[int, int]:
        asked.append(name)
        size, mtime = state(folder, name)
        return size, mtime + (name == "b.mov" and asked.count(name) == 2)

    monkeypatch.setattr(storage.LocalFolder, "state", changing)
    options["shard_size"] = 1e9
    report = archive.create(source, tmp_path / "arc", **options)
    assert report.problems == [("b.mov", "changed while it was being archived")]
    opened = archive.Archive(tmp_path / "arc")
    assert {name: item.read() for name, item in opened.items()} == {
        name: (source / name).read_bytes() for name in ("a.mov", "c.mov")
    }
    assert archive.verify(opened).problems == []
    with zipfile.ZipFile(tmp_path / "arc" / "00000.zip") as shard:
        assert shard.testzip() is None
        assert shard.namelist() == [PREFACE, "a.mov", "c.mov", MANIFEST]


def test_an_archive_only_grows(collection: Path, tmp_path: Path, options: dict[str, Any], photo: np.ndarray) -> None:
    arc = tmp_path / "arc"
    with pytest.raises(AecodecError, match="no archive here"):
        archive.append(collection, arc, **options)
    archive.create(collection, arc, quality=30, **options)
    before = shards_of(arc)
    with pytest.raises(AecodecError, match=r"made with quality 30.*append takes other settings"):
        archive.create(collection, arc, quality=40, **options)

    save(collection / "new.png", np.roll(photo, 5, 1))
    save(collection / "beach.png", photo[::-1])
    report = archive.append(collection, arc, quality=40, effort=2, **options)
    assert [name for name, _ in report.problems] == ["beach.png"]
    assert report.counts["picture"] == 1
    after = shards_of(arc)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    grown = archive.Archive(arc)
    assert {(settings["quality"], settings.get("effort")) for settings in grown.settings} == {(30, 1), (40, 2)}
    assert grown["new.png"].read() == Codec("cpu", options["model"]).compress(np.roll(photo, 5, 1), 40, effort=2)

    archive.create(tmp_path / "photos", tmp_path / "one.zip", **options)
    save(collection / "newer.png", np.roll(photo, 6, 1))
    with pytest.raises(AecodecError, match="cannot grow"):
        archive.append(collection, tmp_path / "one.zip", **options)


def test_bad_calls_are_refused_before_anything_is_written(
    collection: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "void").mkdir()
    arc = tmp_path / "arc"
    for message, source, destination, more in [
        ("quality 0; expected", collection, arc, {"quality": 0}),
        ("others 'burn'", collection, arc, {"others": "burn"}),
        ("engine 'steam'", collection, arc, {"engine": "steam"}),
        ("not a folder", collection / "beach.png", arc, {}),
        ("nothing to archive", tmp_path / "void", arc, {}),
        ("is inside the folder", collection, collection / "arc", {}),
        ("Protocol not known", "nonsense://x", arc, {}),
    ]:
        with pytest.raises(AecodecError, match=message):
            archive.create(source, destination, **options, **more)
    assert not arc.exists()
    (tmp_path / "void" / "foreign.zip").write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(FormatError, match=r"foreign\.zip: not a shard"):
        archive.create(collection, tmp_path / "void", **options)


def test_verify_finds_damage_anywhere(collection: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "arc" / "00000.zip"
    options["shard_size"] = 1e9
    archive.create(collection, tmp_path / "arc", **options)
    assert archive.verify(tmp_path / "arc").problems == []
    whole = path.read_bytes()
    opened = archive.Archive(path)
    for name in ("grey.png", "notes.txt"):
        at = whole.index(opened[name].read())
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        (damaged, reason), (shard, _) = archive.verify(path).problems
        assert (damaged, shard) == (name, "00000.zip")
        assert "checksum" in reason
    for at in range(len(whole) - 400, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert archive.verify(tmp_path / "arc").problems
    for damage in (whole[: len(whole) // 2], b""):
        path.write_bytes(damage)
        with pytest.raises(FormatError, match=r"00000\.zip: "):
            archive.Archive(path)


def test_deep_verification_finds_pictures_that_decode_to_others(
    collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path
) -> None:
    path = tmp_path / "all.zip"
    archive.create(collection, path, **options)
    codec_options = {"model": small_weights, "device": "cpu"}
    report = archive.verify(path, deep=True, source=collection, **codec_options)
    assert report.problems == []
    assert report.counts["picture"] == len(PICTURES)

    # Of another picture of the same size, with correct checksums everywhere.
    other = archive.Archive(path)["Urlaub/Größe.png"].read()

    def change(record: Record, data: bytes) -> tuple[Record, bytes]:
        if record.name == "alpha.png":
            record = replace(record, psnr=record.psnr + 1)
        return record, other if record.name == "beach copy.png" else data

    forge(path, change)
    assert archive.verify(path).problems == []
    assert [name for name, _ in archive.verify(path, deep=True, **codec_options).problems] == [
        "beach copy.png",
        "beach.png",
    ]
    problems = dict(archive.verify(path, deep=True, source=collection, **codec_options).problems)
    assert problems.keys() == {"beach copy.png", "beach.png", "alpha.png"}


def test_extraction_stays_in_its_folder_and_overwrites_nothing(
    collection: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "all.zip"
    archive.create(collection, path, **options)
    evil = {"notes.txt": "../evil.txt", "phone.heic": "/tmp/evil.heic"}
    hostile = tmp_path / "hostile.zip"
    shutil.copy(path, hostile)
    forge(hostile, lambda record, data: (replace(record, name=evil.get(record.name, record.name)), data))
    out = tmp_path / "deep" / "out"
    report = archive.extract(hostile, out, "*evil*")
    assert {reason for _, reason in report.problems} == {"its name leads out of the folder"}
    assert not contents(tmp_path / "deep")

    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    report = archive.extract(path, out, "*.txt")
    assert "exists" in report.problems[0][1]
    assert (out / "notes.txt").read_text() == "mine"
    assert archive.extract(path, out, "*.txt", force=True).problems == []
    assert (out / "notes.txt").read_text() == "sunny"


def test_pictures_are_extracted_in_the_format_that_is_asked_for(
    collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path, codec: Codec
) -> None:
    path = tmp_path / "all.zip"
    archive.create(collection, path, **options)
    opened = archive.Archive(path, "cpu", small_weights)
    report = archive.extract(opened, tmp_path / "jpg", "[ab]*.png", suffix=".jpg")
    assert set(contents(tmp_path / "jpg")) == {"beach copy.png.jpg", "beach.png.jpg"}
    assert [name for name, _ in report.problems] == ["alpha.png"]  # JPEG cannot hold it
    report = archive.extract(opened, tmp_path / "aec", "beach*", suffix=".aec")
    # The source beach.png.aec is in the way, and what is there first stays.
    assert [name for name, _ in report.problems] == ["beach.png.aec"]
    assert codec.decompress((tmp_path / "aec" / "beach copy.png.aec").read_bytes()).size == (144, 96)
    with pytest.raises(AecodecError, match="cannot write"):
        archive.extract(opened, tmp_path / "none", suffix=".xyz")


def test_only_the_picture_that_fails_in_a_batch_is_left_out(
    collection: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Codec.encode

    def failing(self: Codec, images: Any, *settings: Any) -> list[bytes]:
        if any(image.alpha is not None for image in images):
            raise MemoryError
        return encode(self, images, *settings)

    monkeypatch.setattr(Codec, "encode", failing)
    archive.create(collection, tmp_path / "arc", **options)
    opened = archive.Archive(tmp_path / "arc")
    assert names_of(opened, PICTURE) == PICTURES - {"alpha.png"}
    assert opened["alpha.png"].read() == (collection / "alpha.png").read_bytes()


def test_what_waits_is_bounded_and_in_order() -> None:
    begun: list[int] = []
    most = 0

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return item

    def items() -> Iterator[int]:
        yield from range(200)

    results = []
    price = 10**6
    with ThreadPoolExecutor(4) as pool:
        for result in flow.prefetched(pool, work, items(), lambda _: price, 10 * price):
            most = max(most, len(begun) - len(results))
            results.append(result)
    assert results == list(range(200))
    assert 5 < most <= 11


def test_remote_folders(collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name, data in contents(collection).items():
        memory.pipe_file(f"/photos/{name}", data)
    report = archive.create("memory://photos", "memory://arc", **options)
    assert report.problems == []
    assert archive.create("memory://photos", "memory://arc", **options).counts["present"] == report.counts.total()
    assert all(path.endswith((".zip", "SHA256SUMS", ".descriptions.npz")) for path in memory.ls("/arc", detail=False))
    with aecodec.open_archive("memory://arc", "cpu", small_weights) as opened:
        assert set(opened) == set(contents(collection))
        assert opened["beach.png"].image().size == (144, 96)
        assert archive.verify(opened, deep=True).problems == []
        assert archive.extract(opened, "memory://out").problems == []
    assert memory.cat_file("/out/notes.txt") == b"sunny"
    # The same pictures as from a local folder; the times of the sources differ.
    archive.create(collection, tmp_path / "arc", **options)
    local, remote = archive.Archive(tmp_path / "arc"), archive.Archive("memory://arc")
    assert {name: local[name].read() for name in remote} == {name: item.read() for name, item in remote.items()}


def test_data_set_with_several_workers(
    collection: Path, tmp_path: Path, options: dict[str, Any], small_weights: Path, codec: Codec
) -> None:
    from torch.utils.data import DataLoader

    archive.create(collection, tmp_path / "arc", **options)
    dataset = archive.ArchiveDataset(tmp_path / "arc", "cpu", small_weights)
    assert set(dataset.names) == PICTURES | ORIGINALS
    assert dataset.decode([dataset[0]])[0].shape[0] == 3  # the codec is loaded before the workers start
    cut = archive.ArchiveDataset(tmp_path / "arc", "cpu", small_weights, transform=lambda picture: picture[:, :8, :8])
    assert cut.decode([cut[0]])[0].shape == (3, 8, 8)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=list)
    pictures = [picture for batch in loader for picture in dataset.decode(batch)]
    opened = archive.Archive(tmp_path / "arc")
    assert [(p.shape[2], p.shape[1]) for p in pictures] == [opened[name].size for name in dataset.names]
    expected = np.asarray(codec.decompress(opened["beach.png"].read())).astype(int)
    beach = pictures[dataset.names.index("beach.png")].permute(1, 2, 0).numpy()
    assert np.abs(beach - expected).max() <= 2  # by libaec, if it is built


def test_ray_makes_the_same_archive(collection: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    pytest.importorskip("ray")
    options["shard_size"] = 150_000  # the two that are the same in one shard: across shards Ray stores both
    archive.create(collection, tmp_path / "local", **options)
    os.mkfifo(collection / "pipe")
    report = archive.create(collection, tmp_path / "ray", engine="ray", workers=1, **options)
    assert report.problems == [("pipe", "not a regular file")]
    (collection / "pipe").unlink()
    local, remote = archive.Archive(tmp_path / "local"), archive.Archive(tmp_path / "ray")
    assert local.shards == remote.shards
    assert {name: item.record for name, item in local.items()} == {name: item.record for name, item in remote.items()}
    assert archive.create(collection, tmp_path / "ray", **options).counts["present"] == len(local)


def test_command_line(collection: Path, tmp_path: Path, small_weights: Path) -> None:
    def run(*arguments: object, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["archive", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    plain = ("--model", small_weights, "--device", "cpu")
    model = (*plain, *FLOORLESS)
    arc = tmp_path / "arc"
    report = json.loads(run("create", collection, arc, *model, "--json").stdout)
    assert report["counts"]["picture"] == len(PICTURES) - 1  # one is a duplicate
    told = run("create", collection, arc, *model, "-q", 60, code=1).stderr
    assert told == f"aecodec: {arc}: was made with quality 85, not quality 60; append takes other settings\n"
    assert "did you mean list" in run("lst", arc, code=2).stderr
    listed = json.loads(run("list", arc, "旅行/*", "--json").stdout)
    assert [(record["name"], record["width"], record["height"]) for record in listed] == [("旅行/東京.png", 144, 96)]
    assert "1 further frame" in run("list", arc).stdout
    assert "nothing in it is like that" in run("list", arc, "*.mov", code=1).stderr
    facts = json.loads(run("info", arc, "--json").stdout)
    assert facts["files"]["picture"] == len(PICTURES)
    assert facts["source_bytes"] == sum(map(len, contents(collection).values()))
    assert "All 18 files are whole" in run("verify", arc, "--deep", "--source", collection, *plain).stdout
    run("extract", arc, "*.png", "-o", tmp_path / "out", "--as", "png", *plain)  # or ".png"
    assert "there already" in run("extract", arc, "*.png", "-o", tmp_path / "out", *plain).stdout
    (tmp_path / "out" / "grey.png").write_text("mine")
    run("extract", arc, "*.png", "-o", tmp_path / "out", *plain, code=1)
    assert set(contents(tmp_path / "out")) == PICTURES
    run("extract", arc, "*.jpg.png", "-o", tmp_path / "out", *plain, code=1)
    beside = Path(shutil.copytree(collection, tmp_path / "beside"))
    (beside / "grey.png").unlink()
    told = run("verify", arc, "--source", beside, code=1)
    assert "aecodec: grey.png: is not in the source\n" in told.stderr
    assert "1 of 18 files is damaged, lost or not as in the source (see above)" in told.stdout
    os.mkfifo(collection / "pipe")
    result = run("append", collection, arc, *model, "-q", 60, code=1)
    assert "aecodec: pipe: not a regular file" in result.stderr
    (arc / "00000.zip").write_bytes(b"")
    assert "00000.zip" in run("verify", arc, code=1).stderr
    assert run("list", tmp_path / "nowhere", code=1).stderr == f"aecodec: {tmp_path / 'nowhere'}: no archive here\n"


def test_archives_of_the_first_format_still_open(tmp_path: Path) -> None:
    old = Path(__file__).parent / "archives" / "v1"
    opened = aecodec.open_archive(old, "cpu")
    assert names_of(opened, PICTURE) == {"beach.png", "grey.png", "Größe/海.png"}
    assert set(opened) == {*names_of(opened, PICTURE), "moving.gif", "notes.txt", "nothing.bin", "empty/"}
    assert archive.verify(opened, deep=True).problems == []
    assert archive.extract(opened, tmp_path / "out").problems == []
    assert (tmp_path / "out" / "notes.txt").read_text() == "sunny\n"
    assert opened["beach.png"].image().size == (64, 48)
    assert b"a description" in opened["beach.png"].metadata()["exif"]
