"""`aecodec compress` and `aecodec decompress`."""

from __future__ import annotations

import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecodec import container, files, inputs, models
from aecodec.cli import output, process
from aecodec.cli.options import (
    DEVICE,
    MODEL,
    PATH,
    THREADS,
    Region,
    WithExamples,
    encode_options,
    examples,
    take_options,
    together,
)
from aecodec.errors import AecodecError, FormatError, OddityWarning, PictureWarning
from aecodec.facts import model_name
from aecodec.files import PICTURE_SUFFIXES, STANDARD, Conversion
from aecodec.progress import Progress

if TYPE_CHECKING:
    from aecodec.codec import Codec

STRIPS = ("gps", "all")
FILE_OPTIONS = together(
    click.option("-o", "--output", "target", metavar="FILE|DIR", help="Where results go; default: beside the inputs."),
    click.option("-r", "--recursive", is_flag=True, help="Go through folders."),
    click.option("-f", "--force", is_flag=True, help="Overwrite existing files."),
    DEVICE,
    MODEL,
    THREADS,
    click.option(
        "--pixel-limit",
        default=container.DEFAULT_PIXEL_LIMIT,
        type=click.IntRange(1),
        show_default=True,
        metavar="PIXELS",
        help="Refuse larger pictures.",
    ),
    click.option("--strict", is_flag=True, help="Where something of a picture would be left out, fail instead."),
    click.option("-n", "--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object per file."),
    click.option("--quiet", is_flag=True, help="Say nothing but problems."),
    click.option("-v", "--verbose", is_flag=True, help="Say more about each file."),
)


@click.command(
    cls=WithExamples,
    epilog=examples(
        "aecodec compress photo.jpg                         photo.aec beside it",
        "aecodec compress -q 80 *.png -o out/               several files into a folder",
        "aecodec compress -r holiday -o holiday-aec/        a folder with its tree",
        "aecodec compress --size 200kB photo.jpg            at most so large",
        "aecodec compress --psnr 38 photo.jpg               at least so faithful",
        "aecodec compress --bpp 0.5 --min-psnr 32 *.png     small, but none too bad",
        "aecodec compress --score 80 photo.jpg              at least so good to look at",
        "aecodec compress --tune psnr photo.png             for small errors rather than for the eye",
        "aecodec compress --effort 8 photo.jpg              a longer search, in seven times the time",
        "aecodec compress - < photo.png > photo.aec         in a pipe",
        "aecodec compress -n -r holiday -o holiday-aec/     what would be written",
    ),
)
@click.argument("photos", nargs=-1, required=True, type=PATH)
@encode_options()
@click.option("--strip", type=click.Choice(STRIPS), help="Leave out the position, or all that describes the picture.")
@click.option("--only-if-smaller", is_flag=True, help="Write no file that is not smaller than its source.")
@FILE_OPTIONS
def compress(photos: Sequence[Path], strip: str | None, only_if_smaller: bool, **options: Any) -> None:
    """Compress photographs to .aec files ("-" is standard input). The originals stay."""
    from aecodec import picture

    wanted = take_options(options)
    _refuse_other_suffix(photos, options["target"])

    def one(load: Callable[[], Codec], job: Conversion) -> dict[str, Any]:
        source = io.BytesIO(sys.stdin.buffer.read()) if job.source == STANDARD else job.source
        before = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else source.stat().st_size
        loaded = picture.load(source, options["pixel_limit"])
        if strip:
            loaded, gone = picture.strip(loaded, strip)
            if gone:
                warnings.warn(f"left out: {', '.join(gone)}", PictureWarning, stacklevel=2)
        codec = load()
        (data,) = codec.encode([loaded], wanted)
        facts = {"bytes_in": before, "bytes_out": len(data), **header_facts(data, codec)}
        if only_if_smaller and len(data) >= before:
            return {**facts, "written": False}
        _write(job, lambda file: file.write(data))
        return facts

    def codec_of(*arguments: Any) -> Codec:
        from aecodec.codec import Codec

        return Codec(*arguments)

    _run(codec_of, photos, ".aec", PICTURE_SUFFIXES, one, **options)


@click.command(
    cls=WithExamples,
    epilog=examples(
        "aecodec decompress photo.aec                               photo.png beside it",
        "aecodec decompress photo.aec -o photo.jpg                  the suffix decides the format",
        "aecodec decompress -r holiday-aec -o holiday/              a folder with its tree",
        "aecodec decompress --region 0,0,512,512 map.aec -o a.png   only a part",
    ),
)
@click.argument("archives", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--region", type=Region(), metavar="X,Y,W,H", help="Only this part, in stored (unturned) pixels.")
@click.option("--upright", is_flag=True, help="Turn pictures as their EXIF says, for viewers that ignore it.")
@click.option("--salvage", is_flag=True, help="Of a damaged file, write what is intact and say what is lost (exit 1).")
@click.option("--dither", is_flag=True, help="Where 8 bits of more are written, noise of a level instead of bands.")
@FILE_OPTIONS
def decompress(
    archives: Sequence[Path],
    region: tuple[int, int, int, int] | None,
    upright: bool,
    salvage: bool,
    dither: bool,
    **options: Any,
) -> None:
    """Decompress .aec files; the suffix of the output decides its format, PNG by default."""
    from aecodec import native, picture

    def one(load: Callable[[], Codec], job: Conversion) -> dict[str, Any]:
        data = sys.stdin.buffer.read() if job.source == STANDARD else job.source.read_bytes()
        suffix = ".png" if job.target == STANDARD else job.target.suffix
        picture.format_of(suffix)  # before the work, not after it
        if not salvage:
            container.read_header(inputs.encoded(data), options["pixel_limit"])
        codec = load()
        if salvage:
            image, damage, filled = codec.salvage(data, region, upright=upright)
        else:
            image, damage, filled = codec.decompress(data, region, upright=upright), [], None
        after = _write(job, lambda file: picture.save(image, file, suffix, dither))
        if damage:
            how = ", what is lost filled from around it" if filled is not None and filled.any() else ""
            raise FormatError(f"only partly salvaged to {job.target}{how}: {'; '.join(damage)}")
        return {"bytes_in": len(data), "bytes_out": after, **header_facts(data, codec)}

    _run(native.decoder, archives, ".png", [".aec"], one, **options)


@click.command(
    cls=WithExamples,
    epilog=examples(
        "aecodec thumbnail photo.aec -o small.png             at most 256 pixels each way",
        "aecodec thumbnail --pixels 128 *.aec -o thumbs/      several",
    ),
)
@click.argument("archives", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option(
    "--pixels", default=256, type=click.IntRange(1), metavar="N", show_default=True, help="Of the longer side, at most."
)
@FILE_OPTIONS
def thumbnail(archives: Sequence[Path], pixels: int, **options: Any) -> None:
    """Write small pictures of .aec files, upright; quick where a preview is in the file (compress --preview)."""
    from aecodec import native, picture

    if options["target"] is None:
        raise click.UsageError("where to? Name a file or a folder with -o")

    def one(load: Callable[[], Codec], job: Conversion) -> dict[str, Any]:
        data = sys.stdin.buffer.read() if job.source == STANDARD else job.source.read_bytes()
        suffix = ".png" if job.target == STANDARD else job.target.suffix
        picture.format_of(suffix)
        codec = load()
        small = codec.thumbnail(data, pixels)
        after = _write(job, lambda file: picture.save(small, file, suffix))
        return {"bytes_in": len(data), "bytes_out": after, **header_facts(data, codec)}

    _run(native.decoder, archives, ".png", [".aec"], one, **options)


def _refuse_other_suffix(photos: Sequence[Path], target: str | None) -> None:
    """What is written is an .aec file, whatever it is called; called otherwise, nothing would open it."""
    if target is None or target.endswith(("/", os.sep)) or len(photos) > 1 or photos[0].is_dir():
        return
    path = Path(target)
    if path.suffix.lower() not in ("", ".aec") and not path.is_dir():
        raise click.UsageError(f"compress writes .aec files; use -o {path.with_suffix('.aec')} instead of {path}")


def header_facts(data: bytes, codec: Codec) -> dict[str, Any]:
    """What the header of an .aec file says."""
    header = container.read_header(data, pixel_limit=sys.maxsize)
    bpp = round(8 * len(data) / header.pixels, 4)
    model = codec.model.name if header.model_id == codec.model.id else model_name(header.model_id)
    size = {"width": header.width, "height": header.height}
    return {**size, "bpp": bpp, "quality": header.quality / 100, "model": model}


def _run(
    codec_of: Callable[[str, str | None, int, int | None], Codec],
    inputs: Sequence[Path],
    suffix: str,
    found_in_folders: Sequence[str] | frozenset[str],
    one: Callable[[Callable[[], Codec], Conversion], dict[str, Any]],
    *,
    target: str | None,
    recursive: bool,
    force: bool,
    device: str,
    model: str | None,
    threads: int | None,
    pixel_limit: int,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Does every job; one bad file does not stop the others. Exits with 1 unless all succeeded."""
    with Progress("file", quiet) as progress:
        try:
            jobs, passed_over = files.plan(inputs, target, suffix, found_in_folders, recursive, force)
            if not dry_run:
                models.locate(model or models.DEFAULT)  # a name that is wrong is told before torch is loaded
                process.prepare_pillow(heif=suffix == ".aec")
        except AecodecError as error:
            raise output.Failed(error) from error

        @cache
        def load() -> Codec:
            progress.doing("loading the model")
            try:
                loaded = codec_of(device, model, pixel_limit, threads)
            except AecodecError as error:
                raise output.Failed(error) from error  # of no file
            progress.begin()
            return loaded

        # Results on standard output leave no room for messages there.
        quiet_output = any(job.target == STANDARD for job in jobs)
        if suffix == ".aec" and passed_over:
            kinds = ", ".join(f"{count} {kind}" for kind, count in passed_over.most_common())
            progress.line(output.printable(f"aecodec: passed over in folders: {kinds}", err=True), err=True)
        totals = _Totals()
        begun = time.monotonic()
        for number, job in enumerate(jobs):
            started = time.monotonic()
            progress.update(number, len(jobs))
            try:
                if job.problem:
                    raise AecodecError(job.problem)
                if dry_run:
                    progress.line(output.printable(f"{job.source} -> {job.target}  would be written"))
                    continue
                progress.doing(output.printable(job.source.name))
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("error" if strict else "always", PictureWarning)
                    warnings.simplefilter("always", OddityWarning)  # of what loses nothing
                    facts = one(load, job)
            except BrokenPipeError:
                raise  # nobody reads the output: no job has a purpose any more
            except (AecodecError, OSError, MemoryError, PictureWarning) as error:
                totals.failed += 1
                progress.line(output.printable(output.message(job.source, error), err=True), err=True)
                continue
            seconds = time.monotonic() - started
            totals.add(facts)
            for warning in caught:
                if issubclass(warning.category, PictureWarning):
                    progress.line(output.printable(f"aecodec: {job.source}: {warning.message}", err=True), err=True)
            if as_json:
                names = {"source": str(job.source), "target": str(job.target)}
                said = output.as_json({**names, **facts, "seconds": round(seconds, 3)}, None)
            else:
                parts = _parts(job, facts, seconds)
                if verbose:
                    parts.append(f"model {facts['model']} on {load().device}")
                said = output.fitted(parts[0], parts[1:], quiet_output)
            if not quiet:
                progress.line(said, err=quiet_output)
    if totals.files > 1 and not quiet and not as_json:
        click.echo(totals.summary(time.monotonic() - begun), err=quiet_output)
    if totals.failed and len(jobs) > 1:
        click.echo(f"{totals.failed} of {len(jobs)} failed", err=True)
    if totals.failed:
        raise SystemExit(1)


@dataclass
class _Totals:
    """What all jobs together were."""

    files: int = 0
    failed: int = 0
    before: int = 0
    after: int = 0

    def add(self, facts: dict[str, Any]) -> None:
        self.files += 1
        self.before += facts["bytes_in"]
        self.after += facts["bytes_out"]

    def summary(self, seconds: float) -> str:
        """Of all together, in one line."""
        return f"{output.count(self.files, 'picture')}, {output.amounts(self.before, self.after)}, {seconds:.1f} s"


def _parts(job: Conversion, facts: dict[str, Any], seconds: float) -> list[str]:
    """What became of one picture, for one line."""
    if not facts.get("written", True):
        sizes = f"{output.size(facts['bytes_in'])}; {job.target.name} would be {output.size(facts['bytes_out'])}"
        return [f"{job.source} stays as it is, {sizes}"]
    return [
        f"{job.source} -> {job.target}",
        f"{output.size(facts['bytes_in'])} -> {output.size(facts['bytes_out'])}",
        f"{facts['width']}x{facts['height']}",
        f"{facts['bpp']:.3f} bpp",
        f"quality {facts['quality']:g}",
        f"{seconds:.2f} s",
    ]


def _write(job: Conversion, write: Callable[[Any], object]) -> int:
    """Writes a result whole or not at all, with the time of its source. Returns its size in bytes."""
    if job.target == STANDARD:
        buffer = io.BytesIO()
        write(buffer)
        output.write_standard(buffer.getbuffer())
        return buffer.getbuffer().nbytes
    size = files.write_atomically(job.target, write, None if job.source == STANDARD else job.source)
    if job.source != STANDARD:
        status = job.source.stat()
        os.utime(job.target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return size
