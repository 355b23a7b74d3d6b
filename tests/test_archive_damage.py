"""The promise: every bit flip is found, one damaged place costs one file, and no forged archive does harm."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forging import forge, with_manifest
from PIL import Image

from aecodec import archive
from aecodec.archive import jpegs, manifest, shards, ziplayout
from aecodec.archive.extracting import local_name
from aecodec.archive.local import LocalFolder
from aecodec.archive.manifest import MANIFEST, PREFACE, Record
from aecodec.archive.shards import ShardWriter, open_shard
from aecodec.codec import Codec
from aecodec.errors import AecodecError, ArchiveWarning, FormatError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that is stored: small, since every bit of what becomes of them is flipped."""
    root = tmp_path_factory.mktemp("source")
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(smooth).save(root / "a.png")
    for number in range(6):
        (root / f"note{number}.txt").write_text(f"note {number}\n" * 13)
    (root / "again.txt").write_text("note 3\n" * 13)
    (root / "folder").mkdir()
    (root / "link").symlink_to("note1.txt")
    for number, path in enumerate(sorted(root.iterdir())):
        os.utime(path, ns=((1_600_000_000 + number) * 10**9,) * 2, follow_symlinks=False)
    return root


@pytest.fixture(scope="module")
def whole(source: Path, small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "arc"
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    assert archive.create(source, path, shard_size=300, **options).problems == []
    assert len(list(path.glob("*.zip"))) > 2
    return path


@pytest.fixture
def arc(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "arc"))


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArchiveWarning)
        yield


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def names_in(shard: Path) -> set[str]:
    with shard.open("rb") as file:
        return {record.name for record in open_shard(file).records}


def test_every_single_bit_flip_is_found(arc: Path, whole: Path) -> None:
    """Of shards and of SHA256SUMS; with and without the help of that."""
    assert archive.verify(arc).problems == []
    for name in ("00000.zip", "00002.zip"):
        data = (whole / name).read_bytes()
        missed = []
        for bit in range(len(data) * 8):
            try:
                shards.check_seal(io.BytesIO(flipped(data, bit)))
            except FormatError:
                continue
            missed.append(bit)
        assert missed == []
        for bit in random.Random(0).sample(range(len(data) * 8), 60):
            (arc / name).write_bytes(flipped(data, bit))
            assert archive.verify(arc).problems, bit
        (arc / name).write_bytes(data)
    data = (whole / "SHA256SUMS").read_bytes()
    for bit in range(0, len(data) * 8, 3):
        (arc / "SHA256SUMS").write_bytes(flipped(data, bit))
        assert archive.verify(arc).problems, bit


def test_a_damaged_place_costs_at_most_the_file_it_is_in(arc: Path, whole: Path, source: Path, tmp_path: Path) -> None:
    """Wherever a bit is flipped or bytes are lost: salvage gives all other files, and so does the repaired archive."""
    before = {name: item.read() for name, item in archive.Archive(whole).items()}
    shard = arc / "00001.zip"
    data = shard.read_bytes()
    rng = random.Random(1)
    for case in range(60):
        place = rng.randrange(len(data))
        damaged = {
            0: flipped(data, 8 * place),
            1: data[:place] + bytes(min(16, len(data) - place)) + data[place + 16 :],
            2: data[:place] + data[place + 1 :],  # all that follows is at other places
        }[case % 3]
        if damaged == data:
            continue
        shard.write_bytes(damaged)
        opened = archive.Archive(arc, salvage=True)
        found = {}
        for name, item in opened.items():
            try:
                found[name] = item.read()
            except FormatError:
                continue
        assert found.items() <= before.items()
        if case % 3 < 2:  # a missing byte shifts what is behind it
            assert len(found) >= len(before) - 2, (case, place)
        archive.repair(arc)
        mended = archive.Archive(arc)
        assert {name: item.read() for name, item in mended.items()}.items() >= found.items()
        if case % 3 < 2:
            assert archive.verify(arc).problems == []
        for path in arc.glob("*.damaged"):
            assert path.read_bytes() == damaged
            path.unlink()
        shutil.copy(whole / shard.name, shard)
        shutil.copy(whole / "SHA256SUMS", arc)


def test_without_its_directory_a_shard_is_mended_to_the_same_bytes(arc: Path, whole: Path) -> None:
    for name in [path.name for path in whole.glob("*.zip")]:
        data = (whole / name).read_bytes()
        with (whole / name).open("rb") as file:
            last = open_shard(file)
        directory = data.index(ziplayout.ENTRY)
        behind_last_file = max(record.offset + record.stored for record in last.records)
        for end in (len(data) - 1, directory, behind_last_file):
            (arc / name).write_bytes(data[:end])
            report = archive.repair(arc)
            assert report.problems == []
            assert (arc / name).read_bytes() == data
            assert archive.verify(arc).problems == []
            (arc / f"{name}.damaged").unlink()


def test_other_shards_stay_open_with_one_line(arc: Path, whole: Path, source: Path, tmp_path: Path) -> None:
    lost = names_in(arc / "00001.zip")
    (arc / "00001.zip").write_bytes(b"not a ZIP file at all")
    with pytest.warns(ArchiveWarning, match=r"00001\.zip: damaged.*the other shards stay open") as caught:
        opened = archive.Archive(arc)
    assert len(caught) == 1
    lost |= {name for name, item in archive.Archive(whole).items() if item.record.same_as in lost}
    assert set(opened) == set(archive.Archive(whole)) - lost
    report = archive.extract(opened, tmp_path / "out", "*.txt")
    ((shard, reason),) = report.problems
    assert (shard, reason.endswith("not all that it held is extracted")) == ("00001.zip", True)
    assert files_of(tmp_path / "out").items() <= files_of(source).items()
    with pytest.raises(AecodecError, match=r"00001\.zip cannot be read; aecodec archive repair"):
        archive.append(source, arc)


@pytest.mark.parametrize("lost", ["first", "middle", "last", "all but one"])
def test_a_missing_shard_is_told(arc: Path, lost: str) -> None:
    names = sorted(path.name for path in arc.glob("*.zip"))
    gone = {"first": names[:1], "middle": names[1:2], "last": names[-1:], "all but one": names[1:]}[lost]
    for name in gone:
        (arc / name).unlink()
    with pytest.warns(ArchiveWarning, match=f"missing: {', '.join(gone)}"):
        archive.Archive(arc)
    problems = dict(archive.verify(arc).problems)
    assert set(gone) <= set(problems)
    assert set(gone) <= dict(archive.extract(arc, arc / "out", suffix=".aec").problems).keys()
    if lost in ("first", "middle"):  # also without the index, by the gap in the numbers
        (arc / "SHA256SUMS").unlink()
        assert set(gone) <= set(dict(archive.verify(arc).problems))
    else:
        (arc / "SHA256SUMS").unlink()
        assert any("SHA256SUMS is missing" in note for note in archive.verify(arc).notes)


def test_a_lost_shard_is_made_again_and_fits(arc: Path, whole: Path, source: Path, small_weights: Path) -> None:
    (arc / "00001.zip").unlink()
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    report = archive.create(source, arc, shard_size=300, **options)
    assert (report.problems, report.notes) == ([], [])
    assert files_of(arc) == files_of(whole) | {".aecodec-lock": b""}


def test_other_tools_check_and_list_archives(whole: Path) -> None:
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=whole, check=False).returncode == 0
    for path in whole.glob("*.zip"):
        with zipfile.ZipFile(path) as opened:
            assert opened.testzip() is None
            assert {PREFACE, MANIFEST} < set(opened.namelist())
        if shutil.which("unzip"):
            assert subprocess.run(["unzip", "-tqq", path], check=False).returncode == 0


def test_members_of_another_shape_than_the_archive_says_are_refused(arc: Path, codec: Codec, tmp_path: Path) -> None:
    """A picture of 100 megapixels that is said to be of none: batches are made by what is said."""
    (shard,) = [path for path in arc.glob("*.zip") if "a.png" in names_in(path)]
    forge(shard, lambda record, data: (replace(record, width=0, height=0) if record.width else record, data))
    for report in (archive.extract(arc, tmp_path / "out", "a.png"), archive.verify(arc)):
        assert "damaged: is 64x64, not 0x0" in dict(report.problems)["a.png"]


def test_swapped_pictures_are_found(arc: Path, codec: Codec, small_weights: Path) -> None:
    """Another valid file in the place of a picture, of the same size, with the ZIP's checksums right."""
    (shard,) = [path for path in arc.glob("*.zip") if "a.png" in names_in(path)]
    data = shard.read_bytes()
    with shard.open("rb") as file:
        (record,) = [record for record in open_shard(file).records if record.name == "a.png"]
    old = data[record.offset : record.offset + record.stored]
    new = bytes(reversed(old))
    shard.write_bytes(data.replace(old, new))
    assert "checksum" in dict(archive.verify(arc).problems)["a.png"]


BAD_FIELDS: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "a\0b"},
    {"name": "\ud800"},
    {"name": "x" * 5000},
    {"name": 7},
    {"kind": "virus"},
    {"bytes": -1},
    {"bytes": 2**70},
    {"bytes": True},
    {"bytes": 1.5},
    {"stored": "many"},
    {"mtime_ns": 2**80},
    {"mode": 0o100000},
    {"sha256": "zz"},
    {"sha256": "ab"},
    {"signature": "00"},
    {"width": 2**40},
    {"psnr": float("nan")},
    {"psnr": "high"},
    {"place": [1]},
    {"place": [1, 1000]},
    {"place": "here"},
    {"member": None},
    {"member": ""},
    {"taken": "yesterday"},
]


@pytest.mark.parametrize("wrong", BAD_FIELDS, ids=str)
def test_manifests_are_believed_only_within_limits(whole: Path, wrong: dict[str, Any]) -> None:
    with (whole / "00001.zip").open("rb") as file:
        record = open_shard(file).records[0]
    told = {**manifest.to_json(record), **wrong}
    with pytest.raises(FormatError, match="record"):
        manifest.from_json(told)


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"aecodec_archive":2,"settings":{},"files":{}}',
        b'{"aecodec_archive":2,"settings":[],"files":[]}',
        b'{"aecodec_archive":99,"settings":{},"files":[]}',
        b'{"aecodec_archive":true,"settings":{},"files":[]}',
        b'{"aecodec_archive":2,"settings":{},"files":[7]}',
        b'{"aecodec_archive":2,"settings":{},"files":[{"name":"a"}]}',
        b'{"aecodec_archive":2,"settings":{"quality":NaN},"files":[]}',
        b'{"aecodec_archive":2,"settings":{"quality":' + b"9" * 10_000 + b'},"files":[]}',
    ],
    ids=lambda listing: repr(listing[:40]),
)
def test_what_is_no_manifest_is_refused(listing: bytes) -> None:
    with pytest.raises(FormatError):
        manifest.read_manifest(listing)


def test_one_member_is_one_file(tmp_path: Path) -> None:
    """Ten thousand names for one member would be ten thousand times its bytes."""
    records = [Record(f"{n}", "other", 1, member="x", offset=100, stored=1, sha256="0" * 64) for n in range(10_000)]
    with pytest.raises(FormatError, match="one member to several files"):
        manifest.read_manifest(manifest.manifest({}, records))


def test_foreign_zip_files_are_no_shards(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as foreign:
        foreign.writestr("a.txt", "a")
    with pytest.raises(FormatError, match="not a shard"):
        archive.Archive(tmp_path)
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr(MANIFEST, bytes(10**7))
    with pytest.raises(FormatError, match="compressed"):
        archive.Archive(tmp_path)
    for offset in (2**32 - 2, 2**31, 100):
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46, offset, 0)
        (tmp_path / "foreign.zip").write_bytes(b"PK\3\4" + bytes(100) + end)
        with pytest.raises(FormatError, match="damaged"):
            archive.Archive(tmp_path)


def test_names_that_lead_out_are_not_extracted(arc: Path, tmp_path: Path) -> None:
    evil = {"note0.txt": "../out", "note1.txt": "/tmp/out", "note2.txt": "a/../../out", "note3.txt": "."}
    for shard in arc.glob("*.zip"):
        forge(shard, lambda record, data: (replace(record, name=evil.get(record.name, record.name)), data))
    report = archive.extract(arc, tmp_path / "deep" / "out", "*")
    assert set(evil.values()) <= {name for name, _ in report.problems}
    assert not (tmp_path / "deep" / "out.txt").exists()
    assert set(os.listdir(tmp_path / "deep")) == {"out"}


def test_names_become_harmless_on_windows() -> None:
    for name, becomes in {
        "C:/x": "C%3A/x",
        "a\\b": "a%5Cb",
        "con": "%63%6F%6E",
        "x/NUL.txt": "x/%4E%55%4C.txt",
        "dot./x": "dot%2E/x",
        "trail ": "trail%20",
        "what?": "what%3F",
        "console/plain.txt": "console/plain.txt",
    }.items():
        assert local_name(name, windows=True) == becomes
        assert local_name(name, windows=False) == name


def test_nothing_is_written_through_links(arc: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "s" / "sub").mkdir(parents=True)
    (tmp_path / "s" / "sub" / "t.txt").write_text("new")
    (tmp_path / "s" / "u.txt").write_text("new")
    archive.create(tmp_path / "s", tmp_path / "b", device="cpu")
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.mkdir()
    (victim / "file").write_text("mine")
    out.mkdir()
    (out / "sub").symlink_to(victim)
    (out / "u.txt").symlink_to(victim / "file")
    for force in (False, True):
        problems = dict(archive.extract(tmp_path / "b", out, force=force).problems)
        assert "a link or a file; nothing is written through it" in problems["sub/t.txt"]
        assert ("exists" in problems.get("u.txt", "")) != force
        assert os.listdir(victim) == ["file"]
        assert (victim / "file").read_text() == "mine"
    assert not (out / "u.txt").is_symlink()


def test_links_of_an_archive_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "s"
    root.mkdir()
    (root / "in").symlink_to("a/../t.txt")
    (root / "out").symlink_to("../secret")
    (root / "root").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    (root / "t.txt").write_text("t")
    report = archive.create(root, tmp_path / "arc", device="cpu")
    assert (report.problems, report.counts["link"]) == ([], 4)
    problems = dict(archive.extract(tmp_path / "arc", tmp_path / "x").problems)
    assert problems.keys() == {"out", "root"}
    assert "leads out of the folder, to /etc" in problems["root"]
    assert {p.name: os.readlink(p) for p in (tmp_path / "x").iterdir() if p.is_symlink()} == {
        "in": "a/../t.txt",
        "loop": "loop",
    }


def test_a_part_of_a_damaged_picture_can_be_had(tmp_path: Path, small_weights: Path) -> None:
    """Of a picture with several tiles, all but the damaged one."""
    noise = np.random.default_rng(0).integers(0, 256, (1100, 2100, 3), dtype=np.uint8)
    (tmp_path / "s").mkdir()
    Image.fromarray(noise).save(tmp_path / "s" / "a.png", compress_level=0)
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "effort": 0}
    archive.create(tmp_path / "s", tmp_path / "arc", 5, **options)
    (item,) = archive.Archive(tmp_path / "arc").values()
    shard = tmp_path / "arc" / "00000.zip"
    data = bytearray(shard.read_bytes())
    data[item.offset + item.record.stored - 1000] ^= 1
    shard.write_bytes(data)
    report = archive.extract(tmp_path / "arc", tmp_path / "out", device="cpu", model=small_weights)
    assert not list(tmp_path.glob("out/*"))
    report = archive.extract(tmp_path / "arc", tmp_path / "out", salvage=True, device="cpu", model=small_weights)
    assert "only partly salvaged, what is lost filled from around it: damaged: tile 4" in dict(report.problems)["a.png"]
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (2100, 1100)


def test_a_shard_kept_in_a_shard_is_not_taken_for_it(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    shutil.copy(whole / "00001.zip", tmp_path / "s" / "inner.zip")
    archive.create(tmp_path / "s", tmp_path / "arc", device="cpu")
    shard = tmp_path / "arc" / "00000.zip"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.rindex(b"PK\1\2")])
    assert set(archive.Archive(tmp_path / "arc", salvage=True)) == {"inner.zip"}


def test_the_first_format_is_salvaged_and_becomes_the_second(tmp_path: Path) -> None:
    old = Path(__file__).parent / "archives" / "v1"
    before = {name: item.read() for name, item in archive.Archive(old).items()}
    shutil.copytree(old, tmp_path / "arc")
    archive.repair(tmp_path / "arc")  # lists its shards, which are whole
    assert files_of(old).items() <= files_of(tmp_path / "arc").items()
    for name in ("00000.zip", "00002.zip"):
        data = (tmp_path / "arc" / name).read_bytes()
        (tmp_path / "arc" / name).write_bytes(data[: data.index(b"PK\1\2")])
    assert archive.verify(tmp_path / "arc").problems
    assert archive.repair(tmp_path / "arc").problems == []
    after = archive.Archive(tmp_path / "arc")
    assert {name: item.read() for name, item in after.items()} == before
    assert archive.verify(tmp_path / "arc", deep=True, device="cpu").problems == []


def test_large_members_and_many_have_wide_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of ZIP's narrow fields, moved to where a test can reach them."""
    path = tmp_path / "a.zip"
    with path.open("w+b", buffering=0) as file:
        monkeypatch.setattr(ziplayout, "MOST_ENTRIES", 3)
        writer = ShardWriter(file, {})
        writer.begin()
        records = [writer.add(Record(f"{n}.txt", "other", 5, member=f"{n}.txt"), f"text{n}".encode()) for n in range(5)]
        writer.finish(records)
        file.seek(0)
        assert shards.check_seal(file)
    data = path.read_bytes()
    assert b"PK\6\6" in data
    large = ziplayout.Member("a", 2**33, 7, 0o100644, 10**18, 2**34, b"note")
    read = ziplayout.read_local_header(ziplayout.local_header(large), 2**34)
    assert read is not None
    assert (read[0].size, read[0].note, read[0].mtime_ns) == (2**33, b"note", 10**18)
    assert struct.pack("<Q", 2**34) in ziplayout.directory_entry(large)
    assert hashlib.sha256(data).hexdigest() == shards.check_seal(io.BytesIO(data))


def test_forged_manifests_behind_right_checksums_do_no_harm(whole: Path, tmp_path: Path) -> None:
    """Whatever they say: errors of our own kinds or problems, nothing outside the folder, no memory without bound."""
    rng = random.Random(int(os.environ.get("AECODEC_SEED", "0")))
    data = (whole / "00001.zip").read_bytes()
    pieces = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"-1", b"1e999", b"null", b"true", b"../", b"\\u0000"]
    pieces += [b"9" * 30, b"\\ud800", b'"name":"a"', b'"kind":"picture"', b'"member":"note0.txt"', b'"offset":0']

    def change(listing: bytes) -> bytes:
        changed = bytearray(listing)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(changed))
            how = rng.randrange(4)
            if how == 0:
                changed[place] = rng.randrange(256)
            elif how == 1:
                changed[place:place] = rng.choice(pieces)
            elif how == 2:
                del changed[place : place + rng.randrange(1, 20)]
            else:
                other = rng.randrange(len(changed))
                changed[place:place] = changed[other : other + rng.randrange(1, 60)]
        return bytes(changed)

    (tmp_path / "arc").mkdir()
    shard, opened = tmp_path / "arc" / "00000.zip", 0
    for number in range(int(os.environ.get("AECODEC_FORGED", "150"))):
        shard.write_bytes(with_manifest(data, change))
        out = tmp_path / "inner" / "out"
        try:
            items = archive.Archive(tmp_path / "arc", "cpu")
            opened += 1
            archive.verify(items)
            report = archive.extract(items, out)
            assert sum(report.counts.values()) <= 2 * len(items)
        except AecodecError:
            pass
        shutil.rmtree(out, ignore_errors=True)
        assert set(os.listdir(tmp_path)) <= {"arc", "inner"}, number
        assert not os.path.exists(tmp_path / "inner") or not os.listdir(tmp_path / "inner")
        archive.verify(tmp_path / "arc")
        archive.repair(tmp_path / "arc")
        for path in (tmp_path / "arc").glob("*"):
            path.unlink()
    assert opened > 10


def test_archives_of_the_second_format_still_open(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "archives" / "v2"
    opened = archive.Archive(golden, "cpu")
    kinds = {name: item.record.kind for name, item in opened.items()}
    assert kinds == {
        "Größe/海.png": "picture",
        "beach.png": "picture",
        "copy of notes.txt": "other",
        "empty/": "folder",
        "grey.png": "picture",
        "link": "link",
        "moving.gif": "original",
        "nothing.bin": "other",
        "notes.txt": "other",
        "photo.jpg": "jpeg",
    }
    unread = [] if jpegs.available() else ["photo.jpg"]  # JPEG XL is an extra
    assert [name for name, _ in archive.verify(opened, deep=True).problems] == unread
    if jpegs.available():
        assert archive.extract(opened, tmp_path / "out").problems == []
        assert (tmp_path / "out" / "copy of notes.txt").read_text() == "sunny\n"
        digest = hashlib.sha256((tmp_path / "out" / "photo.jpg").read_bytes()).hexdigest()
        assert digest == opened["photo.jpg"].record.sha256


class FailingDisk(io.FileIO):
    """A file of which some blocks cannot be read."""

    bad: range

    def readinto(self, buffer: Any) -> int:
        place, view = self.tell(), memoryview(buffer)
        if place in self.bad:
            raise OSError(errno.EIO, "Input/output error")
        if place < self.bad.start:  # up to there, as systems do
            view = view[: self.bad.start - place]
        return super().readinto(view) or 0

    def read(self, size: int | None = -1) -> bytes:
        buffer = bytearray(os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])


def test_blocks_that_the_disk_does_not_give_cost_the_files_in_them(
    source: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").mkdir()
    for number in range(8):
        (tmp_path / "s" / f"{number}.bin").write_bytes(random.Random(number).randbytes(20_000))
    archive.create(tmp_path / "s", tmp_path / "arc", device="cpu")
    shard = tmp_path / "arc" / "00000.zip"
    size = shard.stat().st_size
    before = {name: item.read() for name, item in archive.Archive(tmp_path / "arc").items()}
    opens = LocalFolder.open

    def opened(folder: LocalFolder, name: str) -> Any:
        if name != shard.name or not disk_fails:
            return opens(folder, name)
        file = FailingDisk(folder.root / name)
        file.bad = bad
        return io.BufferedReader(file)

    monkeypatch.setattr(LocalFolder, "open", opened)
    disk_fails = True
    for place in (50_000, size - 100):  # in a file; in the manifest and the end
        bad = range(place // 4096 * 4096, place // 4096 * 4096 + 4096)
        problems = dict(archive.verify(tmp_path / "arc").problems)
        assert "00000.zip" in problems
        found = archive.extract(tmp_path / "arc", tmp_path / f"out{place}", salvage=True, device="cpu")
        assert len(found.problems) <= 1
        assert len(files_of(tmp_path / f"out{place}")) >= 7
        archive.repair(tmp_path / "arc")
        disk_fails = False  # what was written anew lies elsewhere
        mended = {name: item.read() for name, item in archive.Archive(tmp_path / "arc").items()}
        assert mended.items() <= before.items()
        assert len(mended) >= 7
        assert archive.verify(tmp_path / "arc").problems == []
        disk_fails = True
        (tmp_path / "arc" / "00000.zip.damaged").replace(shard)


def test_a_shard_that_cannot_be_read_does_not_close_the_others(arc: Path, whole: Path, source: Path) -> None:
    lost = names_in(arc / "00001.zip")
    (arc / "00001.zip").unlink()
    (arc / "00001.zip").mkdir()
    with pytest.warns(
        ArchiveWarning, match=r"00001\.zip: cannot be read \(not a regular file\); the other shards stay"
    ):
        assert set(archive.Archive(arc)) >= set(names_in(whole / "00000.zip")) - lost
    assert dict(archive.verify(arc).problems)["00001.zip"] == "cannot be read (not a regular file)"
    assert dict(archive.repair(arc).problems) == {"00001.zip": "cannot be read (not a regular file)"}
    with pytest.raises(AecodecError, match=r"00001\.zip cannot be read"):
        archive.append(source, arc, device="cpu")


def test_a_damaged_index_is_not_written_over(arc: Path, whole: Path, source: Path) -> None:
    """It may be all that knows of the last shard."""
    last = max(path.name for path in arc.glob("*.zip"))
    (arc / last).unlink()
    lines = (whole / "SHA256SUMS").read_text().splitlines()
    (arc / "SHA256SUMS").write_text("\n".join(["z" + lines[0][1:], *lines[1:]]) + "\n")
    problems = dict(archive.verify(arc).problems)
    assert {last, "SHA256SUMS"} <= problems.keys()
    with pytest.raises(AecodecError, match="SHA256SUMS: damaged in line 1; aecodec archive repair"):
        archive.append(source, arc, device="cpu")
    assert dict(archive.repair(arc).problems).keys() == {last}
    assert (arc / "SHA256SUMS").read_text().splitlines() == lines
    assert last in dict(archive.verify(arc).problems)


def test_an_index_whose_name_of_a_shard_is_damaged_is_mended(arc: Path, whole: Path) -> None:
    listed = (whole / "SHA256SUMS").read_text()
    (arc / "SHA256SUMS").write_text(listed.replace("00001.zip", "00009.zip"))
    assert archive.verify(arc).problems
    assert archive.repair(arc).problems == []
    assert (arc / "SHA256SUMS").read_text() == listed
    assert archive.verify(arc).problems == []


def test_an_index_that_is_left_alone_is_not_forgotten(arc: Path, source: Path, small_weights: Path) -> None:
    for path in arc.glob("*.zip"):
        path.unlink()
    options: dict[str, Any] = {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0}
    (source.parent / "few").mkdir()
    shutil.copy(source / "note1.txt", source.parent / "few")
    archive.create(source.parent / "few", arc, **options)
    assert {"00001.zip", "00002.zip"} <= dict(archive.verify(arc).problems).keys()


def archived_to_be_redone(folder: Path, weights: Path) -> dict[str, Any]:
    """Makes an archive "arc" of a text and of a picture that it keeps as it is. Returns the options with which `redo`,
    beside min_saving, compresses it."""
    (folder / "s").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 64)).save(folder / "s" / "a.png")
    (folder / "s" / "b.txt").write_text("text" * 100)
    options: dict[str, Any] = {"model": weights, "device": "cpu", "min_psnr": None, "effort": 0}
    archive.create(folder / "s", folder / "arc", min_saving=0.9999, **options)
    return options


def test_redo_does_not_seal_damage(tmp_path: Path, small_weights: Path) -> None:
    """What a shard that is written anew holds beside was right before, or nothing is written."""
    options = archived_to_be_redone(tmp_path, small_weights)
    shard = tmp_path / "arc" / "00000.zip"
    place = archive.Archive(tmp_path / "arc")["b.txt"].offset
    damaged = flipped(shard.read_bytes(), 8 * place)
    shard.write_bytes(damaged)
    with pytest.raises(AecodecError, match=r"00000\.zip: damaged, the checksum of b\.txt .*repair first"):
        archive.redo(tmp_path / "arc", min_saving=0, **options)
    assert shard.read_bytes() == damaged
    assert "b.txt" in dict(archive.verify(tmp_path / "arc").problems)


def test_an_archive_that_was_open_while_it_was_written_anew_is_not_called_damaged(
    tmp_path: Path, small_weights: Path
) -> None:
    options = archived_to_be_redone(tmp_path, small_weights)
    opened = archive.Archive(tmp_path / "arc")
    archive.redo(tmp_path / "arc", min_saving=0, **options)
    with pytest.raises(FormatError, match="was written anew after this archive was opened; open it again"):
        opened["b.txt"].read()


def test_places_in_a_shard_are_of_one_file(tmp_path: Path) -> None:
    """Two thousand members in the same place would be two thousand times its bytes."""
    data = random.Random(0).randbytes(10_000)
    with (tmp_path / "00000.zip").open("w+b") as file:
        writer = ShardWriter(file, {})
        writer.begin()
        first = writer.add(Record("0", "other", len(data), member="0"), data)
        writer.finish([replace(first, name=str(number), member=str(number)) for number in range(2000)])
    with pytest.raises(FormatError, match="1 would begin in 0"):
        archive.Archive(tmp_path)


@pytest.mark.parametrize("name", ["00000.zip", "00009.zip", "SHA256SUMS", ".00000.zip.journal"])
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_pipes_and_devices_in_an_archive_are_not_waited_for(arc: Path, source: Path, name: str, what: str) -> None:
    (arc / name).unlink(missing_ok=True)
    os.mkfifo(arc / name) if what == "pipe" else (arc / name).symlink_to("/dev/zero")
    problems = dict(archive.verify(arc).problems)
    assert name.startswith(".") or "not a regular file" in problems[name]
    extracted = archive.extract(arc, arc / "out", "note*", device="cpu")
    assert (name in dict(extracted.problems)) == name.endswith(".zip")
    archive.repair(arc)
