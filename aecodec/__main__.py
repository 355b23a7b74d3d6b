"""`python -m aecodec` is `aecodec`."""

from aecodec.cli import main

main(prog_name="aecodec")
