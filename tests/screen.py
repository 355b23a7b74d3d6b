"""A terminal for tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import termios


class Screen:
    """A terminal of so many columns. its: the file descriptor to which others write, a few kB at most."""

    def __init__(self, columns: int):
        self._mine, self.its = pty.openpty()
        fcntl.ioctl(self.its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def written(self) -> str:
        """All that was written; closes it."""
        os.close(self.its)
        data = b""
        with contextlib.suppress(OSError):  # at the end
            while piece := os.read(self._mine, 8192):
                data += piece
        os.close(self._mine)
        return data.decode()
