"""`python -m aecodec` is `aecodec`."""

from aecodec.command import run

run()
