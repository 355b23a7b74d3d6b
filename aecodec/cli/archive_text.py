"""What the commands of `aecodec archive` say."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aecodec.archive.manifest import FAILED, JPEG, PICTURE, Record
from aecodec.cli.output import amounts, count, printable, size
from aecodec.errors import ModelError
from aecodec.models.registry import released_name

if TYPE_CHECKING:
    from aecodec.archive.flow import Report

HEAD = f"{'taken or changed':16}  {'kind':9}{'bytes':>13}{'stored':>13}  {'pixels':>11}  {'dB':>5}  name"


def line(record: Record) -> str:
    moment = record.taken.replace("T", " ")[:16]
    if not moment and record.mtime_ns is not None:
        moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.mtime_ns // 10**9))
    pixels = f"{record.width}x{record.height}" if record.width else ""
    fidelity = f"{record.psnr:.1f}" if record.kind == PICTURE else ""
    why = (
        f"the same as {record.same_as}" if record.same_as else f"-> {record.target}" if record.target else record.reason
    )
    text = f"{moment:16}  {record.kind:9}{record.bytes:>13,}{record.stored:>13,}  {pixels:>11}  {fidelity:>5}"
    return printable(f"{text}  {record.name}" + (f"  ({why})" if why else ""))


def words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {words(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list):
        return "; ".join(map(words, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def settings_in_words(settings: dict[str, Any]) -> dict[str, Any]:
    """What a shard says of its settings, with the model by its name if it is a released one."""
    try:
        name = released_name(bytes.fromhex(settings["model"]))
    except (KeyError, TypeError, ValueError, ModelError):
        return settings
    return {**settings, "model": name}


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
        (lowest, worst), *others = report.worst
        more = "; then " + ", ".join(f"{name} {psnr:.1f}" for psnr, name in others) if others else ""
        average = report.psnr_sum / lossy
        least = f"{worst} at worst {lowest:.1f} dB"
        yield f"{count(lossy, 'picture')} stored lossy: {average:.1f} dB on average, {least}{more}"
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

    yield f"{summary(report)} ({kinds(report)})"


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
