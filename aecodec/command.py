"""Where the command `aecodec` begins: an interruption while its modules are imported is told in one line, too."""

from __future__ import annotations


def run() -> None:
    try:
        from aecodec.cli import process
    except KeyboardInterrupt:
        import os

        os.write(2, b"aecodec: interrupted (SIGINT); nothing is half-written\n")
        os._exit(130)
    process.run()
