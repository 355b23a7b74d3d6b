"""What the commands of `aecodec archive` say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aecodec.archive.manifest import FAILED, JPEG, PICTURE, Record
from aecodec.cli.output import amounts, count, printable, size
from aecodec.errors import ModelError
from aecodec.models.registry import released_name

if TYPE_CHECKING:
    from aecodec.archive.flow import Report

HEAD = ("taken or changed", "kind", "bytes", "stored", "pixels", "dB", "name")
RIGHT = ("bytes", "stored", "pixels", "dB")  # columns of numbers


def table(records: Sequence[Record]) -> Iterator[str]:
    """Lines about files, under a head, with columns as wide as they have to be."""
    rows = [HEAD, *map(_row, records)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for row in rows:
        cells = [f"{cell:{'>' if head in RIGHT else '<'}{w}}" for cell, head, w in zip(row, HEAD, widths, strict=False)]
        yield "  ".join([*cells, row[-1]])


def _row(record: Record) -> tuple[str, ...]:
    moment = record.taken.replace("T", " ")[:16]
    if not moment and record.mtime_ns is not None:
        moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.mtime_ns // 10**9))
    pixels = f"{record.width}x{record.height}" if record.width else ""
    fidelity = f"{record.psnr:.1f}" if record.kind == PICTURE else ""
    why = (
        f"the same as {record.same_as}" if record.same_as else f"-> {record.target}" if record.target else record.reason
    )
    stored = "" if record.same_as else size(record.stored)
    name = printable(record.name + (f"  ({why})" if why else ""))
    return moment, record.kind, size(record.bytes), stored, pixels, fidelity, name


WORDS = {
    "min_psnr": "at least",
    "min_score": "SSIMULACRA2 at least",
    "min_saving": "saving at least",
    "jpeg": "JPEGs",
    "others": "other files",
}


def words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} ({one})" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(words, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def settings_in_words(settings: dict[str, Any]) -> str:
    """What a shard says of its settings, with the model by its name if it is a released one."""
    told = {name: value for name, value in settings.items() if value is not None}
    with suppress(KeyError, TypeError, ValueError, ModelError):
        told["model"] = released_name(bytes.fromhex(settings["model"]))
    phrases = []
    for name, value in told.items():
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        if name == "min_saving":
            shown = f"{100 * float(value):g} %"
        elif name in ("psnr", "min_psnr"):
            shown += " dB"
        phrases.append(f"{WORDS.get(name, name)} {shown}")
    return ", ".join(phrases)


def created(report: Report) -> Iterable[str]:
    """Lines about what was archived."""
    if report.left_out:
        names = sorted({name.rstrip("/").rsplit("/", 1)[-1] for name in report.left_out})
        yield f"{count(len(report.left_out), 'file')} left out: {', '.join(names[:5])}{' ...' * (len(names) > 5)}"
    if "new" in report.counts:
        yield f"to do: {kinds(report)}; {size(report.bytes_total)} to read"
        return
    lossy = report.counts[PICTURE]
    if lossy:
        stored = f"{count(lossy, 'picture')} stored lossy: {report.psnr_sum / lossy:.1f} dB"
        yield stored + (" on average, the worst are" if lossy > 1 else "")
        for psnr, name in report.worst:
            yield f"    {psnr:.1f} dB  {name}"
        if any(name.lower().endswith((".jpg", ".jpeg")) for _, name in report.worst):
            yield "    (--jpeg lossless or --jpeg keep would store JPEGs bit for bit)"
    for reason, number in report.wanting.items():
        yield f"{count(number, 'picture')} only kept: {reason}, then aecodec archive redo --kept"
    compressed = report.counts[PICTURE] or report.counts[JPEG]  # else the ratio would tell nothing of the codec
    sizes = amounts(report.bytes_in, report.bytes_out) if compressed else f"{size(report.bytes_in)} read"
    moved = f"; {sizes}, {report.seconds:.1f} s" if report.bytes_out else ""
    yield kinds(report) + moved


def extracted(report: Report) -> Iterable[str]:
    """A line about what was written."""
    yield kinds(report) + (f"; {size(report.bytes_out)} written, {report.seconds:.1f} s" if report.bytes_out else "")


def verified(report: Report) -> Iterable[str]:
    """A sentence about what was checked."""
    from aecodec.archive.verifying import summary

    yield f"{summary(report)}: {kinds(report)}."


NOUNS = {  # of one, of several
    "picture": ("picture", "pictures"),
    "jpeg": ("JPEG as JPEG XL", "JPEGs as JPEG XL"),
    "original": ("picture kept", "pictures kept"),
    "other": ("other file", "other files"),
    "folder": ("empty folder", "empty folders"),
    "link": ("link", "links"),
    "duplicate": ("duplicate", "duplicates"),
    "new": ("new file", "new files"),
    "described": ("picture described", "pictures described"),
    "shown": ("picture shown", "pictures shown"),
    "present": ("there already", "there already"),
}


def kinds(report: Report) -> str:
    """How many files of which kind."""
    counts = [(*NOUNS.get(kind, (kind, kind)), number) for kind, number in sorted(report.counts.items()) if number]
    return ", ".join(f"{number:,} {one if number == 1 else several}" for one, several, number in counts) or "nothing"


def speed(report: Report) -> str:
    """For the bar of progress."""
    from aecodec.archive.flow import PRESENT

    files = sum(number for kind, number in report.counts.items() if kind not in (FAILED, PRESENT))
    pace = report.pixels / 1e6 / max(report.seconds, 1e-9)
    pixels = f", {pace:.2f} MP/s" if pace >= 0.01 else ""
    return f"{files:,} of {count(report.files_total, 'file')}{pixels}"
