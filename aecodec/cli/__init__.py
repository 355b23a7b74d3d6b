"""The command line: translates arguments into calls of the library and results into lines of text."""

from aecodec.cli.app import main

__all__ = ["main"]
