"""The `aecodec` process: what a command may do to the process it runs in and a library may not."""

from __future__ import annotations

import ctypes
import gc
import os

from aecodec import signals

_ours = False  # whether this process is the command's


def run() -> None:
    """The command `aecodec`."""
    global _ours
    _ours = True
    # Threads of OpenMP that wait for work would spin, and on a busy machine take five of six parts of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    keep_freed_memory()
    from aecodec.cli import main

    try:
        main(prog_name="aecodec")
    finally:
        signals.ignore()
        gc.freeze()  # else the interpreter looks for garbage among all that torch made before it ends: 0.3 s


def prepare_pillow(heif: bool = True) -> None:
    """Before Pillow opens files for a command: .aec, HEIC if pillow-heif is installed, no limit but the command's.

    heif: whether others than .aec files are opened; importing pillow-heif takes a while.
    """
    if not _ours:
        return
    from PIL import Image

    from aecodec.picture import register_heif
    from aecodec.plugins.pillow import register

    Image.MAX_IMAGE_PIXELS = None
    register()
    if heif:
        register_heif()


def keep_freed_memory() -> None:
    """Makes glibc keep the large blocks that torch frees, for its next ones. By default they go back to the system, and
    clearing their pages anew takes a tenth of the time."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt(arena_max, 1)  # what one thread frees, another can have
    if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):  # older ones allow no more than this
        mallopt(trim_threshold, 2**30)
