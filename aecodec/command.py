"""Where the command `aecodec` begins and ends: an interruption is told in one line wherever it meets it."""

from __future__ import annotations

from aecodec import signals


def run() -> None:
    try:
        signals.watch()
        from aecodec.cli import process

        process.run()
    except KeyboardInterrupt:  # while modules are imported, or between what commands catch
        import os

        note = f"aecodec: interrupted ({signals.received.name}); nothing is half-written\n"
        os.write(2, note.encode())
        signals.leave(signals.INTERRUPTED + signals.received)
    except SystemExit as ended:
        if ended.code == signals.INTERRUPTED + signals.received:
            signals.leave(ended.code)
        raise
