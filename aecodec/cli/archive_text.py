"""What the commands of `aecodec archive` say."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aecodec.archive.manifest import FAILED, PICTURE, Record
from aecodec.cli.output import amounts, count, printable, size

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


def created(report: Report) -> Iterable[str]:
    if report.left_out:
        names = sorted({name.rstrip("/").rsplit("/", 1)[-1] for name in report.left_out})
        yield f"{count(len(report.left_out), 'file')} left out: {', '.join(names[:5])}{' ...' * (len(names) > 5)}"
    if "new" in report.counts:
        counts = _kinds(report)
        yield f"to do: {counts}; {size(report.bytes_total)} to read"
        return
    lossy = report.counts[PICTURE]
    if lossy:
        worst = "; ".join(f"{name} {psnr:.1f}" for psnr, name in report.worst)
        yield (
            f"{count(lossy, 'picture')} stored lossy: PSNR {report.psnr_sum / lossy:.1f} dB on average, at worst "
            f"{report.worst[0][0]:.1f} dB ({worst})"
        )
    yield from counted(report)


def _kinds(report: Report) -> str:
    """How many of each kind: 1 kept, 3 pictures."""
    numbers = [(kind, number) for kind, number in sorted(report.counts.items()) if number]
    return ", ".join(count(number, kind) if kind == PICTURE else f"{number:,} {kind}" for kind, number in numbers)


def counted(report: Report) -> Iterable[str]:
    counts = _kinds(report)
    moved = f"; {amounts(report.bytes_in, report.bytes_out)}, {report.seconds:.1f} s" if report.bytes_out else ""
    yield (counts or "nothing to do") + moved


def verified(report: Report) -> Iterable[str]:
    from aecodec.archive.verifying import summary

    counts = _kinds(report)
    yield f"{summary(report)} ({counts or 'nothing'})"


def speed(report: Report) -> str:
    files = sum(number for kind, number in report.counts.items() if kind != FAILED)
    pace = report.pixels / 1e6 / max(report.seconds, 1e-9)
    return f"{count(files, 'file')}, {pace:.2f} MP/s, {amounts(report.bytes_in, report.bytes_out)}"
