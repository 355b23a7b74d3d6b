"""The command line: translates arguments into calls of the library and results into lines of text."""

from __future__ import annotations

import ctypes
import errno
import gc
import io
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from PIL import Image
from tqdm import tqdm

import aecodec
from aecodec import archive_cli, container, files
from aecodec.benchmark.command import benchmark
from aecodec.cli.options import AS_JSON, DEVICE, EFFORT, MODEL
from aecodec.errors import AecodecError, FormatError, LimitError, ModelError, PictureWarning
from aecodec.files import PICTURE_SUFFIXES, STANDARD, Job

PATH = click.Path(path_type=Path, allow_dash=True, readable=False)  # one unreadable file must not stop the others


class _Size(click.ParamType):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        from aecodec.options import parse_size

        try:
            return parse_size(str(value))
        except AecodecError as error:
            self.fail(str(error), param, context)


class _Region(click.ParamType):
    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        parts = str(value).split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is no region; write X,Y,W,H in pixels", param, context)
        return tuple(int(part) for part in parts)


class _Commands(click.Group):
    """Ends every command as a shell expects, with one line of explanation: 130 after SIGINT, 143 after SIGTERM, 141 and
    silence if nobody reads the output any more."""

    def invoke(self, context: click.Context) -> Any:
        received = signal.SIGINT

        def interrupt(number: int, _: object) -> None:
            nonlocal received
            received = signal.Signals(number)
            raise KeyboardInterrupt  # commands clean up after any signal as after Ctrl-C

        before = {}
        if threading.current_thread() is threading.main_thread():
            ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
            # A signal that is ignored stays so: nohup.
            before = {n: signal.signal(n, interrupt) for n in ends if signal.getsignal(n) == signal.SIG_DFL}
        try:
            try:
                return super().invoke(context)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo(f"aecodec: interrupted ({received.name}); nothing is half-written", err=True)
            raise SystemExit(128 + received) from None
        except SystemExit as end:
            if end.code == 128 + signal.SIGINT:  # the command has explained what becomes of its work
                raise SystemExit(128 + received) from None
            raise
        except BrokenPipeError:
            _abandon_output()
            raise SystemExit(141) from None  # as of a process that SIGPIPE ended
        except OSError as error:  # commands explain those of files, so it is one of standard output
            _abandon_output()
            raise SystemExit(_complain(Path("standard output"), error)) from error
        except MemoryError as error:
            raise SystemExit(_complain(None, error)) from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            gc.freeze()  # else the interpreter looks for garbage among all that torch made before it ends: 0.3 s


def keep_freed_memory() -> None:
    """Makes glibc keep the large blocks that torch frees, for its next ones. By default they go back to the system, and
    clearing their pages anew takes a tenth of the time. A library must not do that to a process, a command may."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt(arena_max, 1)  # what one thread frees, another can have
    if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):  # older ones allow no more than this
        mallopt(trim_threshold, 2**30)


def _abandon_output() -> None:
    """Sends what is still to be flushed nowhere, so that the interpreter does not complain at its end."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "aecodec compress photo.jpg                  photo.aec beside it",
        "aecodec decompress photo.aec -o photo.png   and back",
        "aecodec compress --help                     more about a command",
    ),
)
@click.version_option(aecodec.__version__)
def main() -> None:
    """Learned image compression: small files that decode to the same symbols on every machine."""
    keep_freed_memory()


main.add_command(archive_cli.archive)
main.add_command(benchmark)


def _file_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        [
            click.option("-o", "--output", metavar="FILE|DIR", help="Where results go; default: beside the inputs."),
            click.option("-r", "--recursive", is_flag=True, help="Go through folders."),
            click.option("-f", "--force", is_flag=True, help="Overwrite existing files."),
            DEVICE,
            MODEL,
            click.option(
                "--pixel-limit",
                default=container.DEFAULT_PIXEL_LIMIT,
                type=click.IntRange(1),
                show_default=True,
                metavar="PIXELS",
                help="Refuse larger pictures.",
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON object per file."),
            click.option("-v", "--verbose", is_flag=True, help="Say more about each file."),
        ]
    ):
        command = option(command)
    return command


@main.command(
    epilog=_examples(
        "aecodec compress photo.jpg                         photo.aec beside it",
        "aecodec compress -q 80 *.png -o out/               several files into a folder",
        "aecodec compress -r holiday -o holiday-aec/        a folder with its tree",
        "aecodec compress --size 200kB photo.jpg            at most so large",
        "aecodec compress --psnr 38 photo.jpg               at least so faithful",
        "aecodec compress --bpp 0.5 --min-psnr 32 *.png     small, but none too bad",
        "aecodec compress --effort 8 photo.jpg              smaller still, in eight times the time; 0: fastest",
        "aecodec compress - < photo.png > photo.aec         in a pipe",
    )
)
@click.argument("photos", nargs=-1, required=True, type=PATH)
@click.option("-q", "--quality", type=click.FloatRange(1, 100), help="1 to 100; 50 if nothing is asked for.")
@click.option("--bpp", type=float, help="Bits per pixel of each file, at most.")
@click.option("--size", type=_Size(), metavar="SIZE", help="Size of each file, at most: 200kB, 1.5MB, 64KiB.")
@click.option("--psnr", type=float, metavar="DB", help="PSNR (RGB) of each picture, at least.")
@click.option("--min-psnr", type=float, metavar="DB", help="Raise the quality where a picture would be worse.")
@EFFORT
@_file_options
def compress(
    photos: Sequence[Path],
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    min_psnr: float | None,
    effort: int,
    **options: Any,
) -> None:
    """Compress photographs to .aec files ("-" is standard input). The originals stay."""
    from aecodec.options import EncodeOptions

    try:
        wanted = EncodeOptions(quality, bpp, size, psnr, min_psnr, effort)
    except AecodecError as error:
        raise click.UsageError(str(error)) from error

    def one(codec: aecodec.Codec, job: Job) -> dict[str, Any]:
        source = io.BytesIO(sys.stdin.buffer.read()) if job.source == STANDARD else job.source
        before = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else source.stat().st_size
        (data,) = codec.encode([source], wanted)
        _write(job, lambda file: file.write(data))
        return {"bytes_in": before, "bytes_out": len(data), **_facts(data)}

    _run(photos, ".aec", PICTURE_SUFFIXES, one, **options)


@main.command(
    epilog=_examples(
        "aecodec decompress photo.aec                               photo.png beside it",
        "aecodec decompress photo.aec -o photo.jpg                  the suffix decides the format",
        "aecodec decompress -r holiday-aec -o holiday/              a folder with its tree",
        "aecodec decompress --region 0,0,512,512 map.aec -o a.png   only a part",
    )
)
@click.argument("archives", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--region", type=_Region(), metavar="X,Y,W,H", help="Only this part, in stored (unturned) pixels.")
@click.option("--salvage", is_flag=True, help="Of a damaged file, write what is intact and say what is lost (exit 1).")
@_file_options
def decompress(
    archives: Sequence[Path], region: tuple[int, int, int, int] | None, salvage: bool, **options: Any
) -> None:
    """Decompress .aec files; the suffix of the output decides its format, PNG by default."""
    from aecodec import picture

    def one(codec: aecodec.Codec, job: Job) -> dict[str, Any]:
        data = sys.stdin.buffer.read() if job.source == STANDARD else job.source.read_bytes()
        suffix = ".png" if job.target == STANDARD else job.target.suffix
        picture.format_of(suffix)  # before the work, not after it
        image, damage = codec.salvage(data, region) if salvage else (codec.decompress(data, region), [])
        after = _write(job, lambda file: picture.save(image, file, suffix))
        if damage:
            raise FormatError(f"only partly salvaged to {job.target}: {'; '.join(damage)}")
        return {"bytes_in": len(data), "bytes_out": after, **_facts(data)}

    _run(archives, ".png", [".aec"], one, **options)


@main.command()
@click.argument("file", type=PATH)
@AS_JSON
def info(file: Path, as_json: bool) -> None:
    """Show what an .aec file says of itself, after verifying its checksums. Needs no network."""
    try:
        data = sys.stdin.buffer.read() if file == STANDARD else file.read_bytes()
        content = container.read(data, pixel_limit=sys.maxsize)
    except (AecodecError, OSError) as error:
        raise SystemExit(_complain(file, error)) from error
    header = content.header
    facts = {
        "file": str(file),
        "bytes": len(data),
        "format_version": container.VERSION,
        **_facts(data),
        "channels": header.channels,
        "model": header.model_id.hex(),
        "tile": header.tile,
        "tiles": len(content.tiles),
        "chunks": {name: len(chunk) for name, chunk in content.chunks.items()},
    }
    _show(facts, as_json)


@main.command(
    epilog=_examples(
        "aecodec compare photo.png photo.aec",
        "aecodec compare --json photo.png photo.webp",
        "aecodec compare a.png b.jpg --heatmap heat.png",
    )
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@AS_JSON
@click.option("--heatmap", "heat", type=click.Path(path_type=Path), metavar="FILE", help="Draw where they differ.")
@DEVICE
@MODEL
def compare(a: Path, b: Path, as_json: bool, heat: Path | None, device: str, model: str | None) -> None:
    """Show how far picture B is from picture A: PSNR, MS-SSIM, SSIMULACRA2, Butteraugli, and bits per pixel.

    Any two files that Pillow reads. Alpha is left out.
    """
    import numpy as np

    from aecodec import picture
    from aecodec.benchmark.heatmap import heatmap
    from aecodec.benchmark.metrics import METRICS, missing

    path = a
    try:
        if ".aec" in (a.suffix.lower(), b.suffix.lower()):
            aecodec.register(aecodec.Codec(device, model))
        pictures = []
        for path in (a, b):
            pictures.append(picture.load(path))
        one, other = (np.asarray(picture.to_image(each).convert("RGB")) for each in pictures)
        if one.shape != other.shape:
            raise AecodecError(f"{other.shape[1]}x{other.shape[0]} pixels; {a} has {one.shape[1]}x{one.shape[0]}")
    except (AecodecError, OSError) as error:
        raise SystemExit(_complain(path, error)) from error
    height, width = one.shape[:2]
    bits = {f"bpp_{name}": round(8 * path.stat().st_size / (width * height), 4) for name, path in (("a", a), ("b", b))}
    facts = {"a": str(a), "b": str(b), "width": width, "height": height, **bits}
    for name, metric in METRICS.items():
        value = None if name in missing() else metric(one, other)
        facts[name] = None if value is None else round(value, 4)
    if heat:
        try:
            if heat.exists():
                raise FileExistsError(errno.EEXIST, "exists already")
            drawn = heatmap(one, other)
            files.write_atomically(heat, lambda file: picture.save(drawn, file, heat.suffix))
        except (AecodecError, OSError) as error:
            raise SystemExit(_complain(heat, error)) from error
        facts["heatmap"] = str(heat)
    _show(facts, as_json)


@main.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="RUN", help="Folder of the run."
)
@click.option("--steps", type=int, help="Stop at this step; default: run until interrupted.")
@click.option("--minutes", type=float, help="Stop after this time.")
@click.option("--decay", type=int, metavar="STEPS", help="Decay the learning rate from the trunk, for a release.")
@click.option(
    "--tune", type=int, metavar="STEPS", help="After a decay, or with --start: tune on the latents that files hold."
)
@click.option("--network", type=click.Choice(["base", "large"]), default="base", help="Of a new run.")
@click.option("--start", metavar="NAME|FILE", help="Of a new run: the model whose training it goes on with.")
@click.option("--batch", type=int, help="Patches per step.")
@click.option("--patch", type=int, help="Side of the patches, a multiple of 128 pixels.")
@click.option("--report-every", default=500, show_default=True, metavar="STEPS")
@DEVICE
@click.option("--threads", type=int, help="CPU threads.")
def train(
    data: Sequence[Path],
    output: Path,
    network: str,
    batch: int | None,
    patch: int | None,
    threads: int | None,
    device: str,
    **options: Any,
) -> None:
    """Train on folders or tar files of pictures. What RUN holds is resumed exactly."""
    import torch

    from aecodec.models import find_device
    from aecodec.training import loop

    if threads:
        torch.set_num_threads(threads)
    try:
        changes = {name: value for name, value in (("batch", batch), ("patch", patch)) if value is not None}
        config = loop.NETWORKS[network]
        loop.train(
            data, output, device=find_device(device).partition(":")[0], model_config=config, changes=changes, **options
        )
    except KeyboardInterrupt:
        click.echo(f"interrupted; {output} is saved, the same command goes on")
        raise SystemExit(130) from None
    except (AecodecError, OSError) as error:
        raise SystemExit(_complain(output, error)) from error


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
def export(checkpoint: Path, data: Sequence[Path], output: Path) -> None:
    """Write the averaged weights of a checkpoint as a weights file; frequency tables are counted on DATA."""
    from aecodec.training.export import export as export_weights

    try:
        export_weights(checkpoint, data, output, say=click.echo)
    except (AecodecError, OSError) as error:
        raise SystemExit(_complain(checkpoint, error)) from error


def _run(
    inputs: Sequence[Path],
    suffix: str,
    found_in_folders: Sequence[str] | frozenset[str],
    one: Callable[[aecodec.Codec, Job], dict[str, Any]],
    *,
    output: str | None,
    recursive: bool,
    force: bool,
    device: str,
    model: str | None,
    pixel_limit: int,
    as_json: bool,
    verbose: bool,
) -> None:
    """Does every job; one bad file does not stop the others. Exits with 1 unless all succeeded."""
    try:
        jobs = files.plan(inputs, output, suffix, found_in_folders, recursive, force)
        codec = None
        if any(not job.problem for job in jobs):
            codec = aecodec.Codec(device, model, pixel_limit)
    except AecodecError as error:
        raise SystemExit(_complain(None, error)) from error
    # Results on standard output leave no room for messages there.
    quiet_output = any(job.target == STANDARD for job in jobs)
    failed = 0
    for job in tqdm(jobs, unit="file", disable=len(jobs) < 2 or not sys.stderr.isatty()):
        started = time.monotonic()
        try:
            if job.problem:
                raise AecodecError(job.problem)
            assert codec is not None  # there is a job without a problem
            with _pillow_limit(pixel_limit), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", PictureWarning)
                facts = one(codec, job)
        except BrokenPipeError:
            raise  # nobody reads the output: no job has a purpose any more
        except (AecodecError, OSError, MemoryError) as error:
            failed += 1
            tqdm.write(_message(job.source, error), file=sys.stderr)
            continue
        seconds = time.monotonic() - started
        for warning in caught:
            tqdm.write(f"aecodec: {job.source}: {warning.message}", file=sys.stderr)
        if as_json:
            names = {"source": str(job.source), "target": str(job.target)}
            line = json.dumps({**names, **facts, "seconds": round(seconds, 3), "model": codec.model.name})
        else:
            line = (
                f"{job.source} -> {job.target}  {_size(facts['bytes_in'])} -> {_size(facts['bytes_out'])}  "
                f"{facts['width']}x{facts['height']}  {facts['bpp']:.3f} bpp  quality {facts['quality']:g}  "
                f"{seconds:.2f} s"
            )
        if verbose and not as_json:
            line += f"  model {codec.model.name} on {codec.device}"
        tqdm.write(line, file=sys.stderr if quiet_output else sys.stdout)
    if failed and len(jobs) > 1:
        tqdm.write(f"{failed} of {len(jobs)} failed", file=sys.stderr)
    if failed:
        raise SystemExit(1)


@contextmanager
def _pillow_limit(pixel_limit: int) -> Iterator[None]:
    """Sets Pillow's own limit, which is one of the process, for a while."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = -(-pixel_limit // 2)  # Pillow refuses what has more than twice as many
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _write(job: Job, write: Callable[[Any], object]) -> int:
    """Writes a result whole or not at all, with the time of its source. Returns its size in bytes."""
    if job.target == STANDARD:
        buffer = io.BytesIO()
        write(buffer)
        rest = buffer.getbuffer()
        try:
            while rest:  # with PYTHONUNBUFFERED, a part may be all that is written
                rest = rest[sys.stdout.buffer.write(rest) :]
            sys.stdout.buffer.flush()
        except OSError as error:
            error.filename = "standard output"
            _abandon_output()
            raise
        return len(buffer.getbuffer())
    size = files.write_atomically(job.target, write)
    if job.source != STANDARD:
        status = job.source.stat()
        os.utime(job.target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return size


def _facts(data: bytes) -> dict[str, Any]:
    """What the header of an .aec file says."""
    header = container.read_header(data, pixel_limit=sys.maxsize)
    bpp = round(8 * len(data) / (header.width * header.height), 4)
    return {"width": header.width, "height": header.height, "bpp": bpp, "quality": header.quality / 100}


def _show(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for name, value in facts.items():
            click.echo(f"{name:15} {'-' if value is None else value}")


def _size(count: int) -> str:
    return (
        f"{count:,} B"
        if count < 10_000
        else f"{count / 1000:,.1f} kB"
        if count < 10_000_000
        else f"{count / 1e6:,.1f} MB"
    )


def _message(path: Path | str | None, error: BaseException) -> str:
    if isinstance(error, MemoryError):
        reason = "not enough memory"
    elif isinstance(error, OSError) and error.strerror:
        path, reason = error.filename or path, error.strerror
    elif isinstance(error, LimitError):
        reason = f"{error} (--pixel-limit)"
    else:
        reason = str(error)
    return "aecodec: " + (f"{path}: {reason}" if path else reason)


def _complain(path: Path | None, error: BaseException) -> int:
    # An error about a model or another file names that file itself.
    click.echo(_message(None if isinstance(error, ModelError) else path, error), err=True)
    return 1
