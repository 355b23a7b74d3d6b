"""The commands of `aecodec archive` by which an archive serves: what is in it, found by what it is like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from aecodec.cli.archive_running import CODEC, run
from aecodec.cli.archive_text import kinds

if TYPE_CHECKING:
    from aecodec.archive.flow import Report


def _described(report: Report) -> Iterable[str]:
    yield f"{kinds(report)}, {report.seconds:.1f} s"


@click.command()
@click.argument("path", metavar="ARCHIVE")
@CODEC
def describe(path: str, **options: Any) -> None:
    """Describe the pictures of an ARCHIVE that was made by an older aecodec, for the commands that search.

    Only latents are read, no picture is decoded. The same command continues after an interruption.
    """

    def work(library: Any, progress: Any, more: dict[str, Any]) -> Report:
        more.pop("workers")
        report: Report = library.describe(path, progress=progress, **more)
        return report

    run(work, _described, **options)


COMMANDS = (describe,)
