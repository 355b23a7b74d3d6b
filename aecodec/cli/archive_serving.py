"""The commands of `aecodec archive` by which an archive serves: what is in it, found by what it is like."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecodec.cli import output, process
from aecodec.cli.archive_running import CODEC, CONTINUES, opened_archive, run
from aecodec.cli.archive_text import kinds
from aecodec.cli.options import AS_JSON, DEVICE, MODEL, PATH, Name
from aecodec.cli.output import count, printable

if TYPE_CHECKING:
    from aecodec.archive.alike import Group
    from aecodec.archive.descriptions import Described
    from aecodec.archive.flow import Report
    from aecodec.archive.manifest import Record
    from aecodec.archive.reader import Archive


def _described(report: Report) -> Iterable[str]:
    yield f"{kinds(report)}, {report.seconds:.1f} s"


@click.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--export", type=PATH, metavar="FILE", help="Write all descriptions to a Parquet file, too.")
@CODEC
def describe(path: str, export: Path | None, **options: Any) -> None:
    """Describe pictures of an ARCHIVE that are not yet, for the commands that search: those that were kept as they
    were, and all of archives that were made by an older aecodec.

    Of compressed pictures only latents are read, none is decoded. The same command continues after an interruption.
    """

    def work(library: Any, progress: Any, more: dict[str, Any]) -> Report:
        more.pop("workers")
        from aecodec.archive import descriptions, exporting

        if export is not None:
            exporting.library()  # before any work
        report: Report = library.describe(path, progress=progress, **more)
        if export is not None:
            number = exporting.export(descriptions.load(library.Archive(path)), export)
            report.notes.append(f"{count(number, 'description')} written to {export}")
        return report

    run(work, _described, **options)


def _loaded(path: str, least: int = 1) -> tuple[Archive, Described]:
    """An archive and its descriptions; what is not described is said in a line."""
    from aecodec.archive import descriptions

    opened = opened_archive(path)
    described = descriptions.load_some(opened, least)
    for name, reason in described.damaged:
        click.echo(printable(f"aecodec: {name}: {reason}"), err=True)
    if described.missing:
        missing = count(len(described.missing), "picture")
        click.echo(f"aecodec: {missing} not described, and left out; aecodec archive describe describes them", err=True)
    return opened, described


@click.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("--strict", is_flag=True, help="Only what is nearer still.")
@AS_JSON
def duplicates(path: str, strict: bool, as_json: bool) -> None:
    """List pictures of an ARCHIVE that are the same but for size, quality, cropping, mirroring or light.

    Of each group the best comes first. Nothing is deleted: it is a list to look at.
    """
    from aecodec.archive import alike

    def work() -> list[alike.Group]:
        return alike.duplicates(*_loaded(path), alike.STRICT if strict else alike.LIMIT)

    groups = output.or_fail(work, CONTINUES)
    if as_json:
        click.echo(output.as_json([_group_facts(group) for group in groups]))
        return
    for group in groups:
        click.echo(printable(f"{group.best.name}  {_size(group.best)}"))
        for copy in group.others:
            click.echo(
                printable(f"    {copy.record.name}  {', '.join(copy.differs)}, {output.size(copy.record.bytes)}")
            )
    copies = sum(len(group.others) for group in groups)
    click.echo(f"{count(len(groups), 'group')} with {copies:,} beside the best")


def _group_facts(group: Group) -> dict[str, Any]:
    others = [{**_facts(c.record), "distance": c.distance, "differs": list(c.differs)} for c in group.others]
    return {"best": _facts(group.best), "others": others}


def _facts(record: Record) -> dict[str, Any]:
    """Of a picture: bytes are those of the source, stored those in the archive."""
    return {name: getattr(record, name) for name in ("name", "width", "height", "bytes", "stored", "taken")}


def _size(record: Record) -> str:
    return f"{record.width}x{record.height}, {output.size(record.bytes)}"


@click.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("-n", "number", default=20, type=click.IntRange(1), metavar="N", show_default=True, help="How many.")
@AS_JSON
def outliers(path: str, number: int, as_json: bool) -> None:
    """List the pictures of an ARCHIVE that are least like the others, and why: a list to look at, no verdict."""
    from aecodec.archive import outlying

    found = output.or_fail(lambda: outlying.outliers(_loaded(path)[1], number), CONTINUES)
    if as_json:
        facts = [{"name": one.record.name, "score": one.score, "reasons": list(one.reasons)} for one in found]
        click.echo(output.as_json(facts))
        return
    for one in found:
        click.echo(printable(f"{one.score:5.2f}  {one.record.name}  ({'; '.join(one.reasons)})"))


@click.command()
@click.argument("path", metavar="ARCHIVE")
@click.argument("picture", type=Name(), metavar="PICTURE")
@click.option("-n", "number", default=10, type=click.IntRange(1), metavar="N", show_default=True, help="How many.")
@DEVICE
@MODEL
@AS_JSON
def similar(path: str, picture: str, number: int, device: str, model: str | None, as_json: bool) -> None:
    """List the pictures of an ARCHIVE that are most like PICTURE in colours and texture.

    PICTURE is a file, or the name of a picture in the archive. It does not know what pictures show.
    """
    from aecodec.archive import alike

    process.prepare_pillow()
    described = output.or_fail(lambda: _loaded(path)[1], CONTINUES)
    like = output.or_fail(lambda: alike.described_as(described, picture, device, model), CONTINUES, Path(picture))
    found = alike.similar(described, like, number)
    if as_json:
        click.echo(output.as_json([{"name": one.record.name, "distance": one.distance} for one in found]))
        return
    for one in found:
        click.echo(printable(f"{one.distance:5.2f}  {one.record.name}"))


def _shown(report: Report) -> Iterable[str]:
    yield f"{kinds(report)}, {report.seconds:.1f} s"


@click.command()
@click.argument("path", metavar="ARCHIVE")
@click.option("-o", "--output", "target", required=True, metavar="DIR", help="Folder for the page and its pictures.")
@CODEC
def browse(path: str, target: str, **options: Any) -> None:
    """Make a page to look at an ARCHIVE with: folders, dates, a map, duplicates, what is unusual.

    DIR/index.html opens in any browser, without a server. The same command continues, and takes in what is new.
    """

    def work(library: Any, progress: Any, more: dict[str, Any]) -> Report:
        more.pop("workers")
        report: Report = library.browse(path, target, progress=progress, **more)
        return report

    run(work, _shown, **options)


COMMANDS = (describe, duplicates, outliers, similar, browse)
