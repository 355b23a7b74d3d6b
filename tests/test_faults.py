"""The promise: whatever fails, results are whole or absent, one line says why, and the exit code tells the shell.

The faults are real: full disks, missing permissions, signals and limits of the kernel, met by the command itself.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec.cli import main
from aecodec.codec import Codec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the faults are made with Linux's means")

PATIENCE = 60  # seconds after which a command is held for stuck
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(small_weights: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `aecodec WORDS` in tmp_path; what still runs at the end of the test is killed."""
    running = []

    def call(
        *words: object,
        python: str = "import aecodec.__main__",
        stdout: int | IO[bytes] = subprocess.PIPE,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", python, *map(str, words)]
        if words[0] in ("compress", "decompress"):
            command += ["--model", str(small_weights), "--device", "cpu"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=stdout, stderr=subprocess.PIPE, **more
        )
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> tuple[int, list[str]]:
    """Exit code and the lines on standard error."""
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors.decode().splitlines()


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture
def compressed(tmp_path: Path, codec: Codec) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    path = tmp_path / "noise.aec"
    path.write_bytes(codec.compress(noise, 80))
    return path


# Full disks


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system without a free byte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    try:
        free = os.statvfs(disk).f_bfree * os.statvfs(disk).f_bsize
        (disk / "filler").write_bytes(bytes(free))
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.root
def test_full_disk(start: Start, picture: Path, full_disk: Path) -> None:
    code, errors = end(start("compress", picture, "-o", full_disk / "a.aec"))
    assert (code, errors) == (1, [f"aecodec: {full_disk}/a.aec: No space left on device"])
    assert names(full_disk) == {"filler"}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let files grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".tif", ".bmp"])
def test_a_result_that_does_not_fit_leaves_what_was_there(small_weights: Path, compressed: Path, suffix: str) -> None:
    target = compressed.with_suffix(suffix)
    target.write_bytes(b"the old one")
    with largest_file(20_000):
        words = ["decompress", str(compressed), "-o", str(target), "-f", "--model", str(small_weights)]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert result.stderr == f"aecodec: {target}: File too large\n"
    assert target.read_bytes() == b"the old one"
    assert names(target.parent) == {compressed.name, target.name}


def test_full_standard_output(start: Start, picture: Path, compressed: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = start("decompress", compressed, "-o", "-", stdout=full)
        report = start("compress", picture, stdout=full)
        for process in (result, report):
            assert end(process) == (1, ["aecodec: standard output: No space left on device"])
    assert (picture.parent / "a.aec").exists()  # only the report about it did not fit


# Files that cannot be read or written


def without_override() -> None:
    """Runs in the child: makes permissions hold for root, too."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_permission_denied(start: Start, picture: Path) -> None:
    secret = picture.with_name("secret.png")
    secret.write_bytes(picture.read_bytes())
    secret.chmod(0)
    folder = picture.parent / "readonly"
    folder.mkdir(0o555)
    code, errors = end(start("compress", secret, picture, "-o", folder, preexec_fn=without_override))
    assert code == 1, errors
    assert errors == [
        f"aecodec: {secret}: Permission denied",
        f"aecodec: {folder}/a.aec: Permission denied",
        "2 of 2 failed",
    ]
    assert not names(folder)


def test_vanished_source(start: Start, compressed: Path) -> None:
    first, second = compressed.with_name("first.aec"), compressed.with_name("second.aec")
    data = compressed.read_bytes()
    os.mkfifo(first)
    second.write_bytes(data)
    process = start("decompress", first, second)
    with first.open("wb") as pipe:  # opens when the command does, which has seen both files by then
        second.unlink()
        pipe.write(data)
    code, errors = end(process)
    assert code == 1, errors
    assert errors == [f"aecodec: {second}: No such file or directory", "1 of 2 failed"]
    assert names(compressed.parent) == {"noise.aec", "first.aec", "first.png"}


def test_what_is_no_ordinary_file_is_not_replaced(small_weights: Path, picture: Path) -> None:
    """As root, `-f -o /dev/null` would otherwise put a file in the place of the device."""
    target = picture.with_name("pipe")
    os.mkfifo(target)
    words = ["compress", str(picture), "-f", "-o", str(target), "--model", str(small_weights)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "not an ordinary file" in result.stderr
    assert target.is_fifo()


def test_a_name_as_long_as_names_can_be(small_weights: Path, picture: Path) -> None:
    target = picture.with_name("ü" * 125 + ".aec")
    result = CliRunner().invoke(main, ["compress", str(picture), "-o", str(target), "--model", str(small_weights)])
    assert result.exit_code == 0, result.output
    assert target.is_file()


# Readers that go away, signals


def test_closed_pipe(start: Start, compressed: Path) -> None:
    process = start("decompress", compressed, "-o", "-", bufsize=0)
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, 1031, 4096)  # F_SETPIPE_SZ: the picture is not to fit
    assert process.stdout.read(10)[1:4] == b"PNG"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(PATIENCE) == 141


def test_closed_pipe_before_the_first_line(start: Start, compressed: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        assert end(start("info", compressed, stdout=closed)) == (141, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_while_a_result_is_written(start: Start, compressed: Path, number: signal.Signals) -> None:
    folder = compressed.parent / "out"
    target = folder / "noise.webp"  # lossless WebP takes long enough to be met in the middle
    for _ in range(3):
        folder.mkdir(exist_ok=True)
        target.write_bytes(b"the old one")
        process = start("decompress", compressed, "-f", "-o", target)
        wait_for(lambda: len(names(folder)) == 2)  # the temporary file
        process.send_signal(number)
        code, errors = end(process)
        if target.read_bytes() == b"the old one":
            break  # otherwise the signal came when it was written
    assert target.read_bytes() == b"the old one"
    if number == signal.SIGKILL:
        assert code == -9
    else:
        assert code == 128 + number
        assert errors == [f"aecodec: interrupted ({number.name}); nothing is half-written"]
        assert names(folder) == {"noise.webp"}


def test_what_is_done_before_a_signal_stays(start: Start, compressed: Path) -> None:
    waiting = compressed.with_name("waiting.aec")
    os.mkfifo(waiting)
    process = start("decompress", compressed, waiting)
    with waiting.open("wb"):
        process.send_signal(signal.SIGTERM)
        code, errors = end(process)
    assert (code, len(errors)) == (143, 1)
    assert names(compressed.parent) == {"noise.aec", "waiting.aec", "noise.png"}
    with Image.open(compressed.with_suffix(".png")) as image:
        image.load()


MOMENTS = {
    "while modules are imported": (
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'aecodec.cli': hit()\n"
        "sys.meta_path.insert(0, Finder())",
        True,
    ),
    # as in what dataclasses compile; Python remembers that, and would end as by SIGINT
    "in compiled text": ("import click; click.Group.parse_args = lambda *_: exec('hit()')", True),
    "before a command": ("import click; click.Group.parse_args = lambda *_: hit()", True),
    "behind a command": (
        "from aecodec.cli import main; invoke = main.invoke; main.invoke = lambda context: (invoke(context), hit())",
        True,
    ),
    "between what commands catch": ("import gc; gc.freeze = hit", False),
    "at the end of Python": ("import atexit; atexit.register(hit)", False),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_signals_at_odd_moments(start: Start, moment: str, number: signal.Signals) -> None:
    """One line and the code of the signal, or, when all is done, as if there had been none."""
    python, ends = MOMENTS[moment]
    before = "import os, sys, builtins\nfrom aecodec.command import run\n"
    hit = f"builtins.hit = lambda *_: os.kill(os.getpid(), {int(number)})\n"
    process = start("models", python=f"{before}{hit}{python}\nrun()")
    told = [f"aecodec: interrupted ({number.name}); nothing is half-written"]
    code, errors = end(process)
    assert (code, [line for line in errors if line]) == ((128 + number, told) if ends else (0, []))


# Limits


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def black_png(width: int, height: int) -> bytes:
    """A PNG of one bit per pixel: 1 MB or less even for a hundred megapixels."""
    rows = bytes((width + 7) // 8 + 1) * height
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_pictures_above_the_limit(small_weights: Path, picture: Path, compressed: Path) -> None:
    picture.write_bytes(black_png(20_000, 10_000))
    words = ["--model", str(small_weights)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    over = CliRunner().invoke(main, ["compress", str(picture), *words])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; its pixels alone would be 200 MB
    assert over.exit_code == 1
    assert "200000000 pixels" in over.stderr
    assert "--pixel-limit" in over.stderr
    over = CliRunner().invoke(main, ["decompress", str(compressed), "--pixel-limit", "1000", *words])
    assert over.exit_code == 1
    assert "limit of 1000" in over.stderr
    assert names(picture.parent) == {"a.png", "noise.aec"}


LIMITED = """
import resource, torch, aecodec.codec
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 128_000_000, resource.RLIM_INFINITY))
import aecodec.__main__
"""


def test_a_picture_that_does_not_fit_memory(start: Start, picture: Path) -> None:
    large = picture.with_name("large.png")
    large.write_bytes(black_png(12_000, 8_000))
    code, errors = end(start("compress", picture, large, python=LIMITED))
    assert (code, errors) == (1, [f"aecodec: {large}: not enough memory", "1 of 2 failed"])
    assert names(picture.parent) == {"a.png", "a.aec", "large.png"}


SWEEP = """
import resource, sys
import numpy as np
from pathlib import Path
from aecodec.codec import Codec
codec = Codec("cpu", Path(sys.argv[2]))
noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
data = codec.compress(noise, 50)
image = codec.decompress(data)
unlimited = resource.getrlimit(resource.RLIMIT_AS)
for work, expected in ((lambda: codec.compress(noise, 50), data), (lambda: codec.decompress(data), image)):
    failures, result = 0, None
    while result is None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + failures * 1_000_000, unlimited[1]))
        try:
            result = work()
        except MemoryError:
            failures += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)
    assert result == expected
    print(failures)
"""


def test_a_lack_of_memory_anywhere_is_a_memory_error(start: Start, small_weights: Path) -> None:
    """With ever more memory, ever later allocations fail; afterwards the codec works as before."""
    # Large blocks go back to the system at once, so that the limit meets every one of them.
    process = start("--", small_weights, python=SWEEP, env={"MALLOC_MMAP_THRESHOLD_": "65536"})
    failures, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert all(int(count) > 5 for count in failures.split())
