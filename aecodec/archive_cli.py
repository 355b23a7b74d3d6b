"""The commands of `aecodec archive`: arguments into calls of the library, reports into lines of text."""

from __future__ import annotations

import fnmatch
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click
from tqdm import tqdm

from aecodec.archive.manifest import PICTURE
from aecodec.archive.reader import Archive
from aecodec.cli.options import AS_JSON, DEVICE, EFFORT, MODEL
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from aecodec.archive.flow import Report

LOG_EVERY = 10.0  # seconds between lines of progress where there is no terminal

T = TypeVar("T")


@click.group()
def archive() -> None:
    """Archive whole photo collections; SRC, DEST and ARCHIVE may be URLs as s3://bucket/folder."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def apply(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


CODEC = _options(
    DEVICE,
    MODEL,
    click.option("--workers", type=click.IntRange(1), help="Threads that read, decode and write files."),
    AS_JSON,
)
CREATION = _options(
    click.option("-q", "--quality", type=click.FloatRange(1, 100), help="1 to 100, 50 if nothing else is asked for."),
    click.option("--bpp", type=float, help="Bits per pixel of every picture, at most."),
    click.option("--psnr", type=float, metavar="DB", help="PSNR of every picture, at least."),
    click.option("--min-psnr", type=float, metavar="DB", help="Keep pictures that would be worse as they are."),
    EFFORT,
    click.option(
        "--others",
        default="keep",
        type=click.Choice(["keep", "skip", "fail"]),
        show_default=True,
        help="What becomes of files that are not pictures, or damaged.",
    ),
    click.option("--shard-size", default=1000.0, metavar="MB", show_default=True, help="Source files of a shard."),
    click.option("--engine", default="local", type=click.Choice(["local", "ray"]), show_default=True),
    click.option("--address", help="Of a Ray cluster; default: one on this machine."),
    CODEC,
)


@archive.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DEST")
@CREATION
def create(source: str, destination: str, as_json: bool, **options: Any) -> None:
    """Archive the folder SRC in shards below DEST, or in one file DEST.zip.

    The same command continues after an interruption. SRC is only read.
    """
    _make("create", source, destination, as_json, **options)


@archive.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="ARCHIVE")
@CREATION
def append(source: str, destination: str, as_json: bool, **options: Any) -> None:
    """Add what is new in the folder SRC to an archive; the settings may be others."""
    _make("append", source, destination, as_json, **options)


def _make(verb: str, source: str, destination: str, as_json: bool, shard_size: float, **options: Any) -> None:
    def work() -> Report:
        from aecodec import archive as library

        with _Progress() as progress:
            make = getattr(library, verb)
            report: Report = make(source, destination, shard_size=shard_size * 1e6, progress=progress, **options)
            return report

    _finish(_or_complain(work), as_json)


@archive.command(name="list")
@click.argument("path", metavar="ARCHIVE")
@click.argument("pattern", default="*")
@AS_JSON
def list_(path: str, pattern: str, as_json: bool) -> None:
    """List the files in an archive whose names match PATTERN."""
    opened = _or_complain(lambda: Archive(path))
    names = sorted(name for name in opened if fnmatch.fnmatchcase(name, pattern))
    records = [opened[name].record for name in names]
    if as_json:
        click.echo(json.dumps([asdict(record) for record in records], indent=2, ensure_ascii=False))
        return
    for record in records:
        facts = f"{record.kind:9}{record.bytes:>12,} {record.stored:>12,}"
        if record.kind == PICTURE:
            facts += f"  {record.width}x{record.height}  {record.bpp:.3f} bpp  {record.psnr:.2f} dB"
        click.echo(f"{facts}  {record.name}" + (f"  ({record.reason})" if record.reason else ""))


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@AS_JSON
def info(path: str, as_json: bool) -> None:
    """Sum up what is in an archive."""
    opened = _or_complain(lambda: Archive(path))
    records = [item.record for item in opened.values()]
    pictures = [record for record in records if record.kind == PICTURE]
    pixels = sum(record.width * record.height for record in pictures)
    before, after = sum(record.bytes for record in records), sum(record.stored for record in records)
    facts: dict[str, Any] = {
        "archive": path,
        "shards": len(opened.shards),
        "settings": [dict(s) for s in {tuple(settings.items()): None for settings in opened.settings}],
        "files": {kind: sum(r.kind == kind for r in records) for kind in sorted({r.kind for r in records})},
        "missing": {name: record.reason for name, record in opened.missing.items()},
        "source_bytes": before,
        "stored_bytes": after,
        "ratio": round(before / after, 3) if after else None,
    }
    if pictures:
        facts |= {
            "megapixels": round(pixels / 1e6, 3),
            "bpp": round(8 * sum(record.stored for record in pictures) / pixels, 4),
            "psnr_mean": round(sum(record.psnr for record in pictures) / len(pictures), 3),
            "psnr_min": min(record.psnr for record in pictures),
        }
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for name, value in facts.items():
            click.echo(f"{name:13} {value}")


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.argument("pattern", default="*")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder to write to.")
@click.option("--as", "suffix", default=".png", show_default=True, metavar="SUFFIX", help="Or .webp, .jpg, .aec ...")
@click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
@CODEC
def extract(
    path: str, pattern: str, output: str, suffix: str, device: str, model: str | None, as_json: bool, **options: Any
) -> None:
    """Write the files whose names match PATTERN to a folder: pictures decoded, other files as they were."""

    def work() -> Report:
        from aecodec import archive as library

        with _Progress() as progress:
            opened = Archive(path, device, model)
            return library.extract(opened, output, pattern, suffix=suffix, progress=progress, **options)

    _finish(_or_complain(work), as_json)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--deep", is_flag=True, help="Decode every picture and compare it with what the archive says of it.")
@click.option("--source", metavar="SRC", help="With --deep: compare the PSNR with the originals, too.")
@CODEC
def verify(path: str, as_json: bool, **options: Any) -> None:
    """Check every checksum of an archive."""

    def work() -> Report:
        from aecodec import archive as library

        with _Progress() as progress:
            return library.verify(path, progress=progress, **options)

    _finish(_or_complain(work), as_json)


class _Progress:
    """A bar on a terminal, elsewhere a line now and then; on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Callable[[Report], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, report: Report) -> None:
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=report.bytes_total, unit="B", unit_scale=True)
            self._bar.update(report.bytes_in - self._bar.n)
            self._bar.set_postfix_str(_speed(report), refresh=False)
        elif time.monotonic() - self._said > LOG_EVERY:
            self._said = time.monotonic()
            left = (report.bytes_total - report.bytes_in) * report.seconds / max(report.bytes_in, 1)
            click.echo(f"{_speed(report)}, {left:.0f} s left", err=True)


def _speed(report: Report) -> str:
    files = sum(report.counts.values())
    return f"{files} files, {report.pixels / 1e6 / max(report.seconds, 1e-9):.2f} MP/s, {_amounts(report)}"


def _amounts(report: Report) -> str:
    ratio = report.bytes_in / report.bytes_out if report.bytes_out else 1.0
    return f"{report.bytes_in / 1e6:.1f} MB -> {report.bytes_out / 1e6:.1f} MB ({ratio:.2f}:1)"


def _or_complain(work: Callable[[], T]) -> T:
    """The result of the work, or a line of text and exit code 1."""
    try:
        return work()
    except KeyboardInterrupt:
        click.echo("aecodec: interrupted; what is finished stays, the same command continues", err=True)
        raise SystemExit(130) from None
    except (AecodecError, OSError) as error:
        click.echo(f"aecodec: {error}", err=True)
        raise SystemExit(1) from error


def _finish(report: Report, as_json: bool) -> None:
    """Says what was done. Exits with 1 if there were problems."""
    for name, reason in report.problems:
        click.echo(f"aecodec: {name}: {reason}", err=True)
    if as_json:
        click.echo(json.dumps(vars(report), indent=2, ensure_ascii=False))
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(report.counts.items()))
        click.echo(f"{counts or 'nothing'}; {_amounts(report)}, {report.seconds:.1f} s")
    if report.problems:
        raise SystemExit(1)
