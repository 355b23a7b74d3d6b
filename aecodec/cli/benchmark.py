"""The command `aecodec benchmark`: arguments into measurements, measurements into a report."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecodec.cli import process
from aecodec.cli.options import MODEL
from aecodec.errors import AecodecError

if TYPE_CHECKING:
    from aecodec.benchmark.codecs import Peer
    from aecodec.benchmark.measure import Problem


ANCHORS = ("avif", "jpeg")  # those of them that are measured


class _Qualities(click.ParamType):
    name = "qualities"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int | list[float]:
        """The number of points, or the qualities themselves if there is a comma."""
        try:
            if "," in value:
                return sorted({float(part) for part in value.split(",") if part.strip()})
            if int(value) > 0:
                return int(value)
        except ValueError:
            pass
        self.fail(f"{value!r}: write a number of points, or qualities with commas", param, context)


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="REPORT")
@click.option(
    "--codecs",
    "names",
    metavar="NAME,NAME",
    help="Default: what people use. Others: aecodec:MODEL@EFFORT, compressai:ARCHITECTURE:FILES, and more.",
)
@click.option(
    "--metrics",
    metavar="NAME,NAME",
    help="Of psnr, psnr-y, ms-ssim, ssimulacra2, butteraugli, cvvdp; default: all but psnr-y and cvvdp.",
)
@click.option(
    "--qualities",
    type=_Qualities(),
    metavar="N|Q,Q,...",
    help="Points of each codec's own ladder, 6 by default and at most, or qualities that every codec is given.",
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1), metavar="N", help="Processes; disturb the times."
)
@click.option("--anchor", metavar="NAME,NAME", help="Compare to these codecs; default: avif,jpeg.")
@MODEL
def benchmark(
    photos: Sequence[Path],
    output: Path,
    names: str | None,
    metrics: str | None,
    qualities: int | list[float] | None,
    jobs: int,
    anchor: str | None,
    model: str | None,
) -> None:
    """Compare codecs on your own photographs, files or folders: a page, tables and plots in the folder REPORT.

    Each folder is a kind of content of its own: kinds are never averaged together.

    What is measured once is kept; after an interruption the same command continues.
    """
    process.prepare_pillow()
    try:
        problems = _benchmark(photos, output, names, metrics, qualities, jobs, anchor, model)
    except KeyboardInterrupt:
        click.echo("aecodec: interrupted; what is measured stays, the same command continues", err=True)
        raise SystemExit(130) from None
    except BrokenExecutor:
        message = "a process was killed, for lack of memory perhaps; with fewer --jobs the same command continues"
        click.echo(f"aecodec: {message}", err=True)
        raise SystemExit(1) from None
    except (AecodecError, OSError) as error:
        click.echo(f"aecodec: {error}", err=True)
        raise SystemExit(1) from error
    if any(not problem.codec for problem in problems):
        raise SystemExit(1)  # a picture could not be read


def _benchmark(
    inputs: Sequence[Path],
    output: Path,
    names: str | None,
    wanted: str | None,
    qualities: int | list[float] | None,
    jobs: int,
    anchor: str | None,
    model: str | None,
) -> Sequence[Problem]:
    for module in ("bjontegaard", "matplotlib", "plotly"):
        if not importlib.util.find_spec(module):
            raise AecodecError(f"the report needs {module}; pip install 'aecodec[bench]'")
    from aecodec.benchmark import codecs, memory, metrics, report, viewer
    from aecodec.benchmark.measure import cache_folder, find_photos, measure

    peers: list[Peer] = []
    scores, missing = metrics.choose(wanted)
    if not scores:
        raise AecodecError("; ".join(missing.values()))
    for name, reason in missing.items():
        click.echo(f"not available: {name}: {reason}", err=True)
    for name in dict.fromkeys(names.split(",") if names else codecs.DEFAULT):
        try:
            peers.append(codecs.make(name, model))
        except codecs.MissingCodec as error:
            missing[name] = str(error)
            click.echo(f"not available: {name}: {error}", err=True)
    if not peers:
        raise AecodecError("none of the codecs is available")
    if qualities:
        peers = [replace(peer, qualities=_ladder(peer, qualities)) for peer in peers]
    usable = [peer.name for peer in peers]
    anchors = anchor.split(",") if anchor else [name for name in ANCHORS if name in usable] or usable[:1]
    for name in anchors:
        if name not in usable:
            raise AecodecError(f"the anchor {name!r} is not among the codecs {', '.join(usable)}")

    photos, problems = find_photos(inputs)
    for problem in problems:
        click.echo(f"aecodec: {problem.image}: {problem.reason}", err=True)
    if not photos:
        raise AecodecError("there is no picture to measure")
    measurements, failed = measure(photos, peers, scores, model, jobs)
    largest = max(photos, key=lambda photo: photo.width * photo.height)
    peaks, unknown = memory.peaks(largest, peers, model, cache_folder())
    results = report.build(
        photos,
        peers,
        scores,
        measurements,
        [*problems, *failed, *unknown],
        memory={"photo": largest.name, "width": largest.width, "height": largest.height, "peaks": peaks},
        anchors=anchors,
        missing=missing,
        command=shlex.join(["aecodec", *sys.argv[1:]]),
        jobs=jobs,
    )
    crops, unseen = viewer.comparisons(results, photos, peers, measurements, cache_folder())
    results["problems"] += [vars(problem) for problem in unseen]
    report.write(output, results, measurements, crops)
    for kind, found in results["kinds"].items():
        click.echo(f"{kind}, {len(found['photos'])} pictures: bytes at equal quality against {anchors[0]}, percent")
        click.echo(f"{'':18}" + "".join(f"{metric:>20}" for metric in scores))
        for peer in peers:
            if peer.name != anchors[0]:
                row = [_cell(found["bd_rates"][anchors[0]][metric][peer.name]["summary"]) for metric in scores]
                click.echo(f"{peer.name:18}" + "".join(f"{text:>20}" for text in row))
    click.echo(output / "report.html")
    return problems


def _cell(summary: dict[str, Any] | None) -> str:
    if not summary:
        return "none"
    error = f" +-{summary['error']:.1f}" if summary["error"] is not None else ""
    return f"{summary['mean']:+.1f}{error}"


def _ladder(peer: Peer, wanted: int | list[float]) -> Sequence[float]:
    """So many of the codec's qualities, from its first to its last, or those that are wanted."""
    if not isinstance(wanted, int):
        return wanted
    own = peer.qualities
    count = min(wanted, len(own))
    return own[:1] if count == 1 else [own[round(i * (len(own) - 1) / (count - 1))] for i in range(count)]
