"""The commands of `aecodec archive`: arguments into calls of the library, reports into lines of text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from typing import Any

import click

from aecodec.archive.finding import Wanted, find, select
from aecodec.archive.flow import Report
from aecodec.archive.manifest import PICTURE, to_json
from aecodec.cli import archive_serving, output
from aecodec.cli.archive_running import CODEC, CONTINUES, opened_archive, run
from aecodec.cli.archive_text import created, extracted, kinds, settings_in_words, table, verified, words
from aecodec.cli.options import AS_JSON, Group, Name, encode_options, together
from aecodec.cli.output import count
from aecodec.errors import AecodecError
from aecodec.options import EncodeOptions, parse_size


@click.group(cls=Group)
def archive() -> None:
    """Archive whole photo collections; SRC, DEST and ARCHIVE may be URLs as s3://bucket/folder."""


FIDELITY = together(
    click.option(
        "-q",
        "--quality",
        type=click.FloatRange(1, 100),
        metavar="1..100",
        help="1 to 100; 85 if nothing is asked for, with --tune psnr 98.",
    ),
    encode_options(*(field.name for field in fields(EncodeOptions) if field.name not in ("quality", "min_psnr"))),
    click.option(
        "--min-psnr",
        type=click.FloatRange(0),
        metavar="DB",
        help="Raise the quality where a picture would be worse than this or SSIMULACRA2 50, or keep it as it is; 30 by "
        "default; 0: no floor.",
    ),
    click.option(
        "--min-saving",
        type=click.FloatRange(0, 99),
        metavar="PERCENT",
        default=10.0,
        show_default=True,
        help="Keep pictures that would not become smaller by so much.",
    ),
    click.option(
        "--jpeg",
        type=click.Choice(["lossy", "lossless", "keep"]),
        default="lossy",
        show_default=True,
        help="JPEG files: as other pictures, as JPEG XL that gives back the same bytes, or as they are.",
    ),
)
CREATION = together(
    FIDELITY,
    click.option(
        "--others",
        default="keep",
        type=click.Choice(["keep", "skip", "fail"]),
        show_default=True,
        help="What becomes of files that are not pictures, or damaged.",
    ),
    click.option(
        "--prefix", default="", type=Name(), metavar="FOLDER", help="Put the names below this folder of the archive."
    ),
    click.option("--by-date", is_flag=True, help="Put the names below folders by date, as 2019/2019-07-14."),
    click.option(
        "--exclude", multiple=True, type=Name(), metavar="PATTERN", help="Leave out files, or folders, of such names."
    ),
    click.option("--dry-run", is_flag=True, help="Only say what there is to do."),
    click.option("--shard-size", default=100.0, metavar="MB", show_default=True, help="Source files of a shard."),
    click.option("--engine", default="local", type=click.Choice(["local", "ray"]), show_default=True),
    click.option("--address", help="Of a Ray cluster; default: one on this machine."),
    CODEC,
)


@archive.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DEST")
@CREATION
def create(source: str, destination: str, **options: Any) -> None:
    """Archive the folder SRC in shards below DEST, or in one file DEST.zip.

    The same command continues after an interruption. SRC is only read.
    """
    _make("create", source, destination, **options)


@archive.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="ARCHIVE")
@CREATION
def append(source: str, destination: str, **options: Any) -> None:
    """Add what is new in the folder SRC to an archive; the settings may be others.

    Files that the archive has already, byte for byte, are stored once, whatever they are called.
    """
    _make("append", source, destination, **options)


def _make(verb: str, source: str, destination: str, shard_size: float, **options: Any) -> None:
    def make(library: Any, progress: Any, options: dict[str, Any]) -> Report:
        report: Report = getattr(library, verb)(
            source, destination, shard_size=shard_size * 1e6, progress=progress, **options
        )
        return report

    run(make, created, first="loading the model", **options)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--kept", is_flag=True, required=True, help="What was kept as it was; nothing else can be done again.")
@FIDELITY
@CODEC
def redo(path: str, kept: bool, **options: Any) -> None:
    """Compress what an ARCHIVE kept for want of a plugin, or for settings that are others now.

    Shards in which something changes are written anew.
    """

    def redo(library: Any, progress: Any, more: dict[str, Any]) -> Report:
        report: Report = library.redo(path, progress=progress, **more)
        return report

    run(redo, created, first="loading the model", **options)


LOOKED_FOR = together(
    click.argument("path", metavar="ARCHIVE"),
    click.argument("pattern", default="*", type=Name()),
    AS_JSON,
)


@archive.command(name="list")
@LOOKED_FOR
def list_(path: str, pattern: str, as_json: bool) -> None:
    """List the files in an archive whose names match PATTERN; exit code 1 if there is none."""
    _list(path, Wanted(pattern), as_json)


@archive.command(name="find")
@LOOKED_FOR
@click.option("--since", default="", metavar="DATE", help="Taken on or after 2019, 2019-07 or 2019-07-14.")
@click.option("--until", default="", metavar="DATE", help="Taken on or before.")
@click.option("--camera", default="", metavar="TEXT", help="A part of the camera's name.")
@click.option("--larger", metavar="SIZE", help="Sources of at least so many bytes: 200kB, 5MB.")
@click.option("--smaller", metavar="SIZE", help="Sources of at most so many bytes.")
@click.option("--megapixels", type=float, metavar="MP", help="Pictures of at least so many.")
@click.option("--near", metavar="LAT,LON", help="Taken near this place, in degrees north and east.")
@click.option("--within", default=1.0, metavar="KM", show_default=True, help="How near.")
def find_(
    path: str, pattern: str, as_json: bool, larger: str | None, smaller: str | None, near: str | None, **asked: Any
) -> None:
    """Find files by when, with which camera and where they were taken, and by size; exit code 1 if there is none."""

    def wanted() -> Wanted:
        try:
            place = None if near is None else tuple(float(part) for part in near.split(","))
        except ValueError:
            place = ()
        if place is not None and len(place) != 2:
            raise AecodecError(f"{near!r} is no place; write degrees north and east as 48.2,16.37")
        sizes = [None if text is None else parse_size(text) for text in (larger, smaller)]
        return Wanted(pattern, least_bytes=sizes[0], most_bytes=sizes[1], near=place, **asked)

    _list(path, output.or_fail(wanted, CONTINUES), as_json)


def _list(path: str, wanted: Wanted, as_json: bool) -> None:
    records = output.or_fail(lambda: find(opened_archive(path), wanted), CONTINUES)
    if as_json:
        click.echo(output.as_json([to_json(record) for record in records]))
    elif records:
        for text in table(records):
            click.echo(text)
    if not records:
        click.echo(f"aecodec: {path}: nothing in it is like that", err=True)
        raise SystemExit(1)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@AS_JSON
def info(path: str, as_json: bool) -> None:
    """Sum up what is in an archive."""
    opened = output.or_fail(lambda: opened_archive(path), CONTINUES)
    records = [item.record for item in opened.values()]
    stored = [record for record in records if not record.same_as]
    pictures = [record for record in stored if record.kind == PICTURE]
    pixels = sum(record.width * record.height for record in pictures)
    before, after = sum(record.bytes for record in records), sum(record.stored for record in stored)
    taken = sorted(record.taken for record in records if record.taken)
    facts: dict[str, Any] = {
        "archive": path,
        "shards": len(opened.shards),
        "settings": [json.loads(text) for text in dict.fromkeys(json.dumps(s) for s in opened.settings)],
        "files": {kind: sum(r.kind == kind for r in records) for kind in sorted({r.kind for r in records})},
        "duplicates": sum(bool(record.same_as) for record in records),
        "missing": {name: record.reason for name, record in opened.missing.items()},
        "source_bytes": before,
        "stored_bytes": after,
        "ratio": round(before / after, 3) if after else None,
        "taken": [taken[0], taken[-1]] if taken else None,
        "cameras": sorted({record.camera for record in records if record.camera}),
    }
    if pictures:
        facts |= {
            "megapixels": round(pixels / 1e6, 3),
            "bpp": round(8 * sum(record.stored for record in pictures) / pixels, 4),
            "psnr_mean": round(sum(record.psnr for record in pictures) / len(pictures), 3),
            "psnr_min": min(record.psnr for record in pictures),
        }
    if as_json:
        click.echo(output.as_json(facts))
        return
    facts["files"] = kinds(Report(Counter(record.kind for record in records)))
    facts["settings"] = [settings_in_words(one) for one in facts["settings"]]
    facts["taken"] = taken and f"{taken[0][:10]} to {taken[-1][:10]}"
    facts["size"] = output.amounts(before, after)
    if pictures:
        average, lowest = facts["psnr_mean"], facts["psnr_min"]
        facts["pictures"] = f"{pixels / 1e6:,.1f} megapixels, {facts['bpp']:.3f} bpp"
        facts["fidelity"] = f"{average:.1f} dB on average, {lowest:.1f} at worst"
    shown = ("archive", "shards", "files", "duplicates", "missing", "size", "pictures", "fidelity", "taken", "cameras")
    output.show({name: words(facts[name]) for name in (*shown, "settings") if facts.get(name)}, column=10)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.argument("pattern", default="*", type=Name())
@click.option("-o", "--output", "target", required=True, metavar="DIR", help="Folder to write to.")
@click.option("--as", "suffix", default=".png", show_default=True, metavar="SUFFIX", help="Or .webp, .jpg, .aec ...")
@click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
@click.option("--salvage", is_flag=True, help="Take out of damaged shards and pictures what is whole.")
@CODEC
def extract(path: str, pattern: str, target: str, device: str, model: str | None, **options: Any) -> None:
    """Write the files whose names match PATTERN to a folder: pictures decoded, other files as they were.

    The same command continues after an interruption.
    """

    def work(library: Any, progress: Any, more: dict[str, Any]) -> Report:
        opened = opened_archive(path, device, model, salvage=more["salvage"])
        if not options["quiet"]:
            from aecodec.archive.extracting import expected_bytes

            items = [opened[name] for name in select(opened, pattern)]
            if items:
                written = output.size(expected_bytes(items, more["suffix"]))
                click.echo(f"{count(len(items), 'file')}, about {written} to write", err=True)
        report: Report = library.extract(opened, target, pattern, progress=progress, **more)
        return report

    run(work, extracted, **options)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--deep", is_flag=True, help="Decode every picture and compare it with what the archive says of it.")
@click.option("--source", metavar="SRC", help="Compare with the folder it was made from, too.")
@CODEC
def verify(path: str, **options: Any) -> None:
    """Check every bit of an archive, and that nothing is missing."""
    run(lambda library, progress, more: library.verify(path, progress=progress, **more), verified, **options)


@archive.command()
@click.argument("path", metavar="ARCHIVE")
@AS_JSON
def repair(path: str, as_json: bool) -> None:
    """Write damaged shards anew with all that is whole in them; what they were before stays beside them."""
    run(lambda library, progress, more: library.repair(path), extracted, as_json=as_json)


for command in archive_serving.COMMANDS:
    archive.add_command(command)
