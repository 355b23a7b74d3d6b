"""Coverage-guided fuzzing of the container: python tests/fuzz/fuzz_container.py CORPUS [options of libFuzzer]

CORPUS is a folder that grows; tests/fuzz/seeds.py fills a new one. Needs `pip install atheris`.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["aecodec"]):
    from aecodec import container
    from aecodec.errors import AecodecError

PIXEL_LIMIT = 2**14


def skip_checksum(cursor: container.Cursor, covered: bytes, what: str, start: int) -> None:
    """In the place of `check`: a fuzzer cannot guess a CRC, an attacker computes it."""
    cursor.take(container.CRC_BYTES, what)


def one_input(data: bytes) -> None:
    for read in (container.read, container.read_header, container.salvage):
        with contextlib.suppress(AecodecError):
            read(data, PIXEL_LIMIT)


if __name__ == "__main__":
    container.Cursor.check = skip_checksum  # type: ignore[method-assign]
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
