"""Compiles libaec: python -m aecodec.native.build [TARGET]. Needs only a C compiler; the build of a wheel runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
TARGET = Path(__file__).parent / f"libaec{SUFFIX}"
SOURCES = Path(__file__).parents[2] / "native"
# Kernels for several sets of instructions are in one library, so nothing here is about the machine that builds.
# Products and sums are not fused, which not every machine can, so pixels are the same on all of them.
FLAGS = ("-std=c11", "-O3", "-w", "-shared", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off")
COMPILE_SECONDS = 900


def compilers() -> list[list[str]]:
    """Commands that may be C compilers, the best first: $CC, the system's, zig's."""
    import shutil  # here: who decodes needs only where the library is, and these are slow to import

    named = os.environ.get("CC", "").split()
    found = [named] if named else []
    found += [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return found


def build(target: Path = TARGET, sources: Path = SOURCES, flags: Sequence[str] = ()) -> str | None:
    """Compiles the library. Returns None, or why there is none."""
    import subprocess
    import tempfile

    files = [str(path) for path in sorted((sources / "src").glob("*.c"))]
    if not files:
        return f"no sources in {sources}"
    position = [] if sys.platform == "win32" else ["-fPIC", "-pthread"]
    reason = "no C compiler (install one, or pip install ziglang)"
    for compiler in compilers():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            command = [*compiler, *FLAGS, *position, *flags, *files, "-o", str(made), "-lm"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                reason = str(error)
                continue
            if done.returncode == 0 and made.exists():
                made.replace(target)
                return None
            reason = f"{compiler[0]}: {done.stderr.strip() or 'failed'}"
    return reason


def fresh(target: Path = TARGET, sources: Path = SOURCES) -> bool:
    """Whether the library is there and newer than its sources."""
    files = [*(sources / "src").iterdir(), sources / "aec.h"]
    return target.exists() and target.stat().st_mtime > max(path.stat().st_mtime for path in files)


if __name__ == "__main__":
    chosen = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else TARGET
    if problem := build(chosen):
        raise SystemExit(f"libaec was not built: {problem}")
    print(chosen)
