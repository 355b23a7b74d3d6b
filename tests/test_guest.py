"""The promise: aecodec does nothing behind its host's back, and nothing before it is asked to."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "PIL", "safetensors", "constriction", "click", "tqdm")


def imported(code: str) -> set[str]:
    """The modules that there are after some code, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return set(done.stdout.decode().splitlines()[-1].split())


def test_importing_aecodec_imports_nothing_else() -> None:
    modules = imported("import aecodec")
    assert not modules & set(HEAVY)
    assert {name for name in modules if name.startswith("aecodec")} == {"aecodec"}


@pytest.mark.parametrize(
    "code",
    [
        "from aecodec.cli import main; main(['--help'], standalone_mode=False)",
        "from aecodec.cli import main; main(['archive', '--help'], standalone_mode=False)",
        "from aecodec.cli import main; main(['compress', '--help'], standalone_mode=False)",
        "import aecodec.pillow",
        "import aecodec.archive.reader",
    ],
)
def test_what_needs_no_network_does_not_wait_for_torch(code: str) -> None:
    assert "torch" not in imported(code)


STATE = """
import signal, threading
import numpy, torch
from PIL import Image

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return (
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(), Image.MAX_IMAGE_PIXELS, dict(Image.EXTENSION), dict(Image.SAVE), list(Image.ID),
        handlers, threading.active_count(), numpy.geterr(), torch.initial_seed(),
    )

Image.init()
torch.set_num_threads(2)
before = state()
"""


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_coding_leaves_the_process_as_it_was(threads: int | None) -> None:
    code = (
        STATE
        + f"""
import aecodec
codec = aecodec.Codec("cpu", threads={threads})
picture = numpy.zeros((200, 300, 3), numpy.uint8)
codec.decompress(codec.compress(picture))
codec.decompress_batch(codec.compress_batch([picture] * 3))
codec.compress(picture, size=1000)
assert state() == before, [(a, b) for a, b in zip(state(), before) if a != b]
"""
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_commands_called_as_functions_leave_the_process_as_it_was() -> None:
    code = (
        STATE
        + """
import tempfile
from click.testing import CliRunner
from aecodec.cli import main
with tempfile.TemporaryDirectory() as folder:
    a, b, c = (f"{folder}/{name}" for name in ("a.png", "a.aec", "b.png"))
    Image.new("RGB", (70, 80)).save(a)
    before = state()
    for words in (["compress", a, "--threads", "1"], ["decompress", b, "-o", c], ["info", b]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
assert state() == before, [(a, b) for a, b in zip(state(), before) if a != b]
"""
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_who_imports_the_plugin_has_it() -> None:
    code = (
        "import aecodec, aecodec.codec; from PIL import Image; Image.init(); assert '.aec' not in Image.EXTENSION;"
        "import aecodec.pillow; assert Image.EXTENSION['.aec'] == 'AEC'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
