"""The commands of `aecodec archive`: arguments into calls of the library, reports into lines of text."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from aecodec.archive.manifest import PICTURE
from aecodec.archive.reader import Archive
from aecodec.cli import output, process
from aecodec.cli.options import AS_JSON, DEVICE, MODEL, encode_options, together

if TYPE_CHECKING:
    from aecodec.archive.flow import Report

CONTINUES = "what is finished stays, the same command continues"


@click.group()
def archive() -> None:
    """Archive whole photo collections; SRC, DEST and ARCHIVE may be URLs as s3://bucket/folder."""


CODEC = together(
    DEVICE,
    MODEL,
    click.option("--workers", type=click.IntRange(1), help="Threads that read, decode and write files."),
    AS_JSON,
)
CREATION = together(
    encode_options("quality", "bpp", "psnr"),
    click.option("--min-psnr", type=float, metavar="DB", help="Keep pictures that would be worse as they are."),
    encode_options("effort"),
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

        with output.Progress() as bar:
            make = getattr(library, verb)
            progress = partial(_progress, bar)
            report: Report = make(source, destination, shard_size=shard_size * 1e6, progress=progress, **options)
            return report

    _finish(_run(work), as_json)


@archive.command(name="list")
@click.argument("path", metavar="ARCHIVE")
@click.argument("pattern", default="*")
@AS_JSON
def list_(path: str, pattern: str, as_json: bool) -> None:
    """List the files in an archive whose names match PATTERN."""
    opened = output.or_fail(lambda: Archive(path), CONTINUES)
    names = sorted(name for name in opened if fnmatch.fnmatchcase(name, pattern))
    records = [opened[name].record for name in names]
    if as_json:
        click.echo(output.as_json([asdict(record) for record in records]))
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
    opened = output.or_fail(lambda: Archive(path), CONTINUES)
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
    output.show(facts, as_json, column=13)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.argument("pattern", default="*")
@click.option("-o", "--output", "target", required=True, metavar="DIR", help="Folder to write to.")
@click.option("--as", "suffix", default=".png", show_default=True, metavar="SUFFIX", help="Or .webp, .jpg, .aec ...")
@click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
@CODEC
def extract(
    path: str, pattern: str, target: str, suffix: str, device: str, model: str | None, as_json: bool, **options: Any
) -> None:
    """Write the files whose names match PATTERN to a folder: pictures decoded, other files as they were."""

    def work() -> Report:
        from aecodec import archive as library

        with output.Progress() as bar:
            opened = Archive(path, device, model)
            return library.extract(opened, target, pattern, suffix=suffix, progress=partial(_progress, bar), **options)

    _finish(_run(work), as_json)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--deep", is_flag=True, help="Decode every picture and compare it with what the archive says of it.")
@click.option("--source", metavar="SRC", help="With --deep: compare the PSNR with the originals, too.")
@CODEC
def verify(path: str, as_json: bool, **options: Any) -> None:
    """Check every checksum of an archive."""

    def work() -> Report:
        from aecodec import archive as library

        with output.Progress() as bar:
            return library.verify(path, progress=partial(_progress, bar), **options)

    _finish(_run(work), as_json)


def _run(work: Callable[[], Report]) -> Report:
    process.prepare_pillow()
    return output.or_fail(work, CONTINUES)


def _progress(bar: output.Progress, report: Report) -> None:
    bar.update(report.bytes_in, report.bytes_total, report.seconds, _speed(report))


def _speed(report: Report) -> str:
    files = sum(report.counts.values())
    return f"{files} files, {report.pixels / 1e6 / max(report.seconds, 1e-9):.2f} MP/s, {_amounts(report)}"


def _amounts(report: Report) -> str:
    ratio = report.bytes_in / report.bytes_out if report.bytes_out else 1.0
    return f"{report.bytes_in / 1e6:.1f} MB -> {report.bytes_out / 1e6:.1f} MB ({ratio:.2f}:1)"


def _finish(report: Report, as_json: bool) -> None:
    """Says what was done. Exits with 1 if there were problems."""
    for name, reason in report.problems:
        click.echo(f"aecodec: {name}: {reason}", err=True)
    if as_json:
        click.echo(output.as_json(vars(report)))
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(report.counts.items()))
        click.echo(f"{counts or 'nothing'}; {_amounts(report)}, {report.seconds:.1f} s")
    if report.problems:
        raise SystemExit(1)
