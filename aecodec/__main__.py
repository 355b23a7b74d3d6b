"""`python -m aecodec` is `aecodec`."""

from aecodec.cli.process import run

run()
