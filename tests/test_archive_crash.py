"""The promise: stop anywhere, and nothing is half there; what was finished stays, and the same call goes on from there.

`crashing` says what stopping is: at every thing that is done to files there is.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashing import AT_THE_END, full_disks, states
from PIL import Image

from aecodec import archive
from aecodec.archive import flow, index, local, writer
from aecodec.errors import AecodecError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the tests need not be synchronised; what that would have kept, `Disk` knows."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def options(small_weights: Path) -> dict[str, Any]:
    return {"model": small_weights, "device": "cpu", "min_psnr": None, "min_saving": 0.0, "workers": 1, "effort": 0}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two shards: a picture, text, a duplicate, a link, an empty folder."""
    root = tmp_path / "source"
    (root / "empty").mkdir(parents=True)
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(smooth).save(root / "p.png")
    for number in range(2):
        (root / f"t{number}.txt").write_text(f"text {number}\n" * 50)
    (root / "t2.txt").write_text("text 0\n" * 50)
    (root / "link").symlink_to("t1.txt")
    for number, path in enumerate(sorted(root.iterdir())):
        os.utime(path, ns=((1_600_000_000 + number) * 10**9,) * 2, follow_symlinks=False)
    return root


def size_of_half(source: Path) -> float:
    return sum(path.stat().st_size for path in source.iterdir() if path.is_file()) / 2


def assert_tidy(folder: Path) -> None:
    """Nothing is left of what was in work."""
    assert [path.name for path in folder.rglob(".*") if path.name != local.LOCK] == []


def tree(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for what is hidden."""
    paths = [path for path in folder.rglob("*") if not path.name.startswith(".")]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if p.is_file() and not p.is_symlink()}


def at_every_step(
    before: Path | None, place: Path, work: Callable[[Path], Any], check: Callable[[Path], object], least: int
) -> None:
    """Does the work on a copy of a folder, or where there is none yet, and checks what every crash on the way, and
    every full disk, may leave of it. least: states that there are, so that nobody has to count steps."""

    def fresh(name: object) -> Path:
        disk = place / f"disk-{name}"
        disk.mkdir()
        if before is not None:
            shutil.copytree(before, disk / "new" / "folder", symlinks=True)
        return disk

    disk = fresh("whole")
    left = states(disk, place / "states", lambda: work(disk / "new" / "folder"))
    full = full_disks(fresh, lambda disk: work(disk / "new" / "folder"))
    count = 0
    for what, copy in itertools.chain(left, full):
        try:
            if what == AT_THE_END:
                assert tree(copy / "new" / "folder") == tree(disk / "new" / "folder")
            check(copy / "new" / "folder")
        except BaseException as error:
            raise AssertionError(what) from error
        shutil.rmtree(copy)
        count += 1
    assert count >= least


def test_create_stopped_at_every_step(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    options["shard_size"] = size_of_half(source)
    archive.create(source, tmp_path / "whole", **options)
    whole = tree(tmp_path / "whole")
    assert len(whole) == 4  # two shards, the descriptions of the pictures in one, SHA256SUMS

    def check(arc: Path) -> None:
        left = tree(arc)
        assert all(whole[name] == data for name, data in left.items() if name.endswith(".zip"))
        if any(name.endswith(".zip") for name in left):
            assert archive.verify(arc).problems == []
        archive.create(source, arc, **options)
        assert tree(arc) == whole
        assert_tidy(arc)

    at_every_step(None, tmp_path, lambda arc: archive.create(source, arc, **options), check, 200)


def test_append_stopped_at_every_step(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    archive.create(source, tmp_path / "before", **options)
    (source / "new.txt").write_text("new")
    (source / "t9.txt").write_text("text 1\n" * 50)  # a duplicate
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    archive.append(source, tmp_path / "whole", **options)
    whole = tree(tmp_path / "whole")

    def check(arc: Path) -> None:
        assert archive.verify(arc).problems == []
        archive.append(source, arc, **options)
        assert tree(arc) == whole
        assert_tidy(arc)

    at_every_step(tmp_path / "before", tmp_path, lambda arc: archive.append(source, arc, **options), check, 80)


def test_extract_stopped_at_every_step(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "t7.txt").write_text("deep")
    archive.create(source, tmp_path / "arc", **options)
    opened = archive.Archive(tmp_path / "arc", "cpu", options["model"])
    archive.extract(opened, tmp_path / "whole")
    whole = tree(tmp_path / "whole")

    def check(out: Path) -> None:
        left = tree(out)
        assert left.items() <= whole.items()
        report = archive.extract(opened, out)  # without force: what is finished is recognised
        assert report.problems == []
        assert report.counts["present"] >= len(left)
        assert tree(out) == whole
        assert_tidy(out)

    at_every_step(None, tmp_path, lambda out: archive.extract(opened, out, workers=1), check, 100)


def test_repair_stopped_at_every_step(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    before = tmp_path / "before"
    archive.create(source, before, **options)
    names = set(archive.Archive(before))
    data = (before / "00000.zip").read_bytes()
    (before / "00000.zip").write_bytes(data[:-500])

    def check(arc: Path) -> None:
        archive.repair(arc)
        assert (arc / "00000.zip").read_bytes() == data
        assert (arc / "00000.zip.damaged").read_bytes() == data[:-500]
        assert set(archive.Archive(arc)) == names
        assert archive.verify(arc).problems == []
        assert_tidy(arc)

    at_every_step(before, tmp_path, archive.repair, check, 80)


def test_redo_stopped_at_every_step(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Shards that are written anew, and listed after that."""
    with Image.open(source / "p.png") as image:
        image.rotate(90).save(source / "q.png")
    before = tmp_path / "before"
    archive.create(source, before, shard_size=(source / "p.png").stat().st_size, **{**options, "min_saving": 0.999})
    whole_folder = Path(shutil.copytree(before, tmp_path / "whole"))
    assert archive.redo(whole_folder, **options).counts["picture"] == 2
    whole = tree(whole_folder)
    assert sum(data != whole[name] for name, data in tree(before).items()) == 3  # two shards, SHA256SUMS

    def check(arc: Path) -> None:
        assert archive.verify(arc).problems == []
        archive.redo(arc, **options)
        assert tree(arc) == whole
        assert archive.verify(arc).notes == []
        assert_tidy(arc)

    at_every_step(before, tmp_path, lambda arc: archive.redo(arc, **options), check, 120)


def test_redo_on_a_remote_file_system_stopped_at_every_step(
    source: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before anything is uploaded, moved or removed: nothing after that is done either."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    archive.create(source, "memory://redo/before", **{**options, "min_saving": 0.999})
    before = {path: memory.cat_file(path) for path in memory.find("/redo/before")}
    left, kept = math.inf, {name: getattr(memory, name) for name in ("open", "mv", "rm_file", "cp_file")}

    def counted(name: str, *arguments: Any, **more: Any) -> Any:
        nonlocal left
        if "rb" not in (*arguments, *more.values()):  # reading is no step
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return kept[name](*arguments, **more)

    for name in kept:
        monkeypatch.setattr(memory, name, functools.partial(counted, name))

    def redone(steps: float) -> dict[str, bytes]:
        """What is there after a run that is killed after so many steps, and after another one."""
        nonlocal left
        left = math.inf
        if memory.exists("/redo/arc"):
            memory.rm("/redo/arc", recursive=True)
        for path, data in before.items():
            memory.pipe_file(path.replace("/redo/before", "/redo/arc"), data)
        left = steps
        with contextlib.suppress(KeyboardInterrupt):
            archive.redo("memory://redo/arc", **options)
        if left < 0:
            left = math.inf
            assert archive.verify("memory://redo/arc").problems == []
            archive.redo("memory://redo/arc", **options)
            assert archive.verify("memory://redo/arc").notes == []
        return {path: memory.cat_file(path) for path in memory.find("/redo/arc")}

    whole = redone(1000)
    count = 1000 - int(left)
    left = math.inf
    assert whole.keys() == {path.replace("/redo/before", "/redo/arc") for path in before}
    assert count >= 10
    for steps in range(count):
        assert redone(steps) == whole, f"killed after {steps} of {count} steps"


def test_few_pictures_are_in_work_at_once() -> None:
    """So few are lost by an interruption, and progress is told often; a GPU needs more to be busy."""
    photos = [(768, 512)] * 24
    assert {len(batch) for batch in flow.batches(photos, lambda size: size, "cpu")} == {3}
    assert [len(batch) for batch in flow.batches([(4000, 3000)] * 2, lambda size: size, "cpu")] == [1, 1]
    assert [len(batch) for batch in flow.batches(photos, lambda size: size, "cuda")] == [24]


def test_an_interruption_loses_at_most_the_pictures_in_work(
    source: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch in the codec is lost, what was compressed before is not compressed again."""
    monkeypatch.setattr("aecodec.archive.flow.BATCH_OF_FILES", 1)
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(source / f"q{number}.png")
    archive.create(source, tmp_path / "whole", **options)
    encode, done = writer.Codec.encode, []

    def interrupted(self: Any, pictures: Any, options: Any) -> list[bytes]:
        if len(done) == 7:
            time.sleep(0.3)  # until what was given to the writer is written
            raise KeyboardInterrupt
        done.append(len(pictures))
        return encode(self, pictures, options)

    with monkeypatch.context() as patched:
        patched.setattr(writer.Codec, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            archive.create(source, tmp_path / "arc", **options)
    assert not list((tmp_path / "arc").glob("*.zip"))
    calls = []

    def counted(self: Any, pictures: Any, options: Any) -> list[bytes]:
        calls.append(len(pictures))
        return encode(self, pictures, options)

    monkeypatch.setattr(writer.Codec, "encode", counted)
    archive.create(source, tmp_path / "arc", **options)
    assert sum(calls) == 11 - 7
    assert tree(tmp_path / "arc") == tree(tmp_path / "whole")


def test_a_journal_of_other_sources_or_settings_is_not_believed(
    source: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    archive.create(source, tmp_path / "whole", **options)
    whole = tree(tmp_path / "whole")
    for change in ("other settings", "other source", "damage"):
        first = {**options, "quality": 20} if change == "other settings" else options
        disk = tmp_path / change
        disk.mkdir()
        left = states(disk, tmp_path / f"{change}, stopped", lambda: archive.create(source, disk, **first))  # noqa: B023
        *_, (arc, part) = [(copy, part) for _, copy in left for part in copy.glob(".*.part") if not tree(copy)]
        if change == "damage":
            data = bytearray(part.read_bytes())
            data[len(data) // 2] ^= 1
            part.write_bytes(data)
        if change == "other source":
            (source / "t1.txt").write_text("other")
            archive.create(source, tmp_path / "other", **options)
            whole = tree(tmp_path / "other")
        archive.create(source, arc, **options)
        assert tree(arc) == whole


def write(folder: Path, number: int, barrier: Any, results: Any, options: dict[str, Any]) -> None:
    barrier.wait()
    try:
        report = archive.append(folder / f"s{number}", folder / "arc", **options)
        results.put((number, dict(report.counts), ""))
    except AecodecError as error:
        results.put((number, {}, str(error)))


def test_two_writers_lose_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    """One is told that another run writes; what anyone was told is archived, is."""
    (tmp_path / "s0").mkdir()
    (tmp_path / "s0" / "first.txt").write_text("first")
    archive.create(tmp_path / "s0", tmp_path / "arc", **options)
    for number in (1, 2):
        (tmp_path / f"s{number}").mkdir()
        for k in range(40):
            (tmp_path / f"s{number}" / f"{number}-{k}.txt").write_text(f"{number} {k}" * 5000)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=write, args=(tmp_path, number, barrier, results, options)) for number in (1, 2)]
    for child in children:
        child.start()
    said = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    names = set(archive.Archive(tmp_path / "arc"))
    for number, counts, error in said:
        if error:
            assert "another run is writing to this archive" in error
        else:
            assert counts["other"] == 40
            assert {f"{number}-{k}.txt" for k in range(40)} <= names
    for number in (1, 2):  # the second one comes after
        archive.append(tmp_path / f"s{number}", tmp_path / "arc", **options)
    assert len(archive.Archive(tmp_path / "arc")) == 81
    assert archive.verify(tmp_path / "arc").problems == []


@pytest.mark.parametrize("when", ["the index is read", "shards are listed"])
def test_shards_that_are_added_while_an_archive_is_opened_are_not_missing(
    source: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    arc = tmp_path / "arc"
    archive.create(source, arc, **options)
    (source / "new.txt").write_text("new")
    place, name = (index, "read_lines") if when == "the index is read" else (local.LocalFolder, "zips")
    original = getattr(place, name)

    def and_then_append(folder: local.LocalFolder) -> Any:
        result = original(folder)
        monkeypatch.setattr(place, name, original)
        archive.append(source, arc, **options)
        return result

    monkeypatch.setattr(place, name, and_then_append)
    opened = archive.Archive(arc)
    assert (opened.absent, opened.damaged) == ([], [])
    assert archive.verify(opened).problems == []


def test_a_shard_is_never_replaced_by_another_writer(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Where locks do not work: the name is taken, and that is said."""
    (tmp_path / "arc").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        make = writer.make_shard

        def make_late(*arguments: Any) -> Any:
            (tmp_path / "arc" / "00000.zip").write_text("of another run")
            return make(*arguments)

        patched.setattr("aecodec.archive.creating.make_shard", make_late)
        with pytest.raises(AecodecError, match=r"00000\.zip is there by now; another run has written it"):
            archive.create(source, tmp_path / "arc", **options)
    assert (tmp_path / "arc" / "00000.zip").read_text() == "of another run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_in_one_line_and_it_goes_on(
    source: Path, tmp_path: Path, small_weights: Path, number: signal.Signals
) -> None:
    words = [
        "archive",
        "create",
        source,
        tmp_path / "arc",
        "--model",
        small_weights,
        "--device",
        "cpu",
        "--effort",
        "100",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "aecodec", *map(str, words)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not list(tmp_path.glob("arc/.*.part")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was done before")
    assert process.returncode == 128 + number
    note = f"aecodec: interrupted ({number.name}); what is done stays, the same command continues"
    assert errors.decode().splitlines()[-1] == note
    assert "Traceback" not in errors.decode()
    assert not list(tmp_path.glob("arc/*.zip"))
