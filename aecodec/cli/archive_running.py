"""What the commands of `aecodec archive` have in common: options, opening, work with a bar, problems told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from aecodec.archive.reader import Archive
from aecodec.cli import output, process
from aecodec.cli.archive_text import speed
from aecodec.cli.options import AS_JSON, DEVICE, MODEL, THREADS, refuse_tune_beside_model, together
from aecodec.cli.output import printable
from aecodec.errors import ArchiveWarning
from aecodec.progress import Progress

if TYPE_CHECKING:
    from aecodec.archive.flow import Report

CONTINUES = "what is done stays, the same command continues"
ONE_BY_ONE = 20  # lines of one kind; what is more is counted

CODEC = together(
    DEVICE,
    MODEL,
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Threads that read, decode and write files."),
    THREADS,
    click.option("--quiet", is_flag=True, help="Say nothing but problems."),
    AS_JSON,
)


def opened_archive(path: str, *options: Any, **more: Any) -> Archive:
    """An archive; what is wrong with it is said in a line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ArchiveWarning)
        opened = Archive(path, *options, **more)
    for warning in caught:
        click.echo(printable(f"aecodec: {warning.message}"), err=True)
    return opened


def run(
    work: Callable[[Any, Any, dict[str, Any]], Report],
    summary: Callable[[Report], Iterable[str]],
    as_json: bool,
    quiet: bool = False,
    threads: int | None = None,
    first: str = "reading the archive",
    **options: Any,
) -> None:
    """Does what a command is for, and says what was done; first: what comes before that can be counted. Exits with 1
    if there were problems."""
    refuse_tune_beside_model(options)
    if "min_saving" in options:
        options["min_saving"] /= 100
        floor = options.pop("min_psnr")
        if floor is not None:
            options["min_psnr"] = floor or None

    def call() -> Report:
        from aecodec import archive as library
        from aecodec.pipeline import session

        def progress(report: Report) -> None:
            if report.bytes_in < report.bytes_total:
                bar.update(report.bytes_in, report.bytes_total, report.seconds, speed(report))

        with session(threads), Progress(quiet=quiet) as bar:
            bar.doing(first)
            return work(library, progress, options)

    process.prepare_pillow()
    report = output.or_fail(call, CONTINUES)
    several([f"aecodec: {name}: {reason}" for name, reason in report.problems], "problems")
    if as_json:
        click.echo(output.as_json(vars(report)))
    elif not quiet:
        for text in [*report.notes, *summary(report)]:
            click.echo(printable(text))
    if report.problems:
        raise SystemExit(1)


def several(lines: Sequence[str], what: str) -> None:
    for text in lines[:ONE_BY_ONE]:
        click.echo(printable(text), err=True)
    if len(lines) > ONE_BY_ONE:
        click.echo(f"... and {len(lines) - ONE_BY_ONE:,} more {what}; --json lists them all", err=True)
