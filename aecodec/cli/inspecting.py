"""`aecodec info` and `aecodec compare`."""

from __future__ import annotations

import errno
import sys
from dataclasses import asdict
from pathlib import Path

import click

from aecodec import facts, files
from aecodec.cli import output, process
from aecodec.cli.options import AS_JSON, DEVICE, MODEL, PATH, WithExamples, examples
from aecodec.errors import AecodecError
from aecodec.files import STANDARD

DECIMALS = {"ms_ssim": 4, "ssimulacra2": 1}
TOLD_TUNES = {"visual": "for the eye (visual)", "psnr": "for small errors (psnr)"}
NOT_PORTABLE = "no: another machine may decode it to an error, never to another picture"
MODES = {"L": "grey", "LA": "grey with alpha", "RGB": "RGB", "RGBA": "RGB with alpha"}


@click.command()
@click.argument("file", type=PATH)
@AS_JSON
def info(file: Path, as_json: bool) -> None:
    """Show what an .aec file says of itself, after verifying its checksums. Needs no network."""
    try:
        told = facts.info(sys.stdin.buffer.read() if file == STANDARD else file)
    except (AecodecError, OSError) as error:
        raise output.Failed(error, file) from error
    if as_json:
        click.echo(output.as_json({"file": str(file), **asdict(told)}))
        return
    output.show(
        {
            "file": str(file),
            "picture": f"{told.width}x{told.height}, {MODES[told.mode]}, {told.depth} bits a sample",
            "size": f"{output.size(told.bytes)}, {told.bpp:.3f} bpp",
            "quality": f"{told.quality:g}",
            "model": told.model,
            **({} if told.portable else {"portable": NOT_PORTABLE}),
            "made": TOLD_TUNES.get(told.tune or ""),
            "tiles": f"{told.tiles} of {told.tile}x{told.tile} pixels" if told.tile else "one",
            "holds": ", ".join(f"{name} ({output.size(count)})" for name, count in told.metadata.items()) or None,
            "format": f"version {told.version}",
        },
        column=8,
    )


@click.command(
    cls=WithExamples,
    epilog=examples(
        "aecodec compare photo.png photo.aec",
        "aecodec compare --json photo.png photo.webp",
        "aecodec compare a.png b.jpg --heatmap heat.png",
    ),
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
    from aecodec.benchmark.metrics import METRICS, PACKAGES, missing
    from aecodec.native import decoder

    process.prepare_pillow()
    path = a
    try:
        codec = decoder(device, model) if ".aec" in (a.suffix.lower(), b.suffix.lower()) else None
        pictures = []
        for path in (a, b):
            coded = codec if path.suffix.lower() == ".aec" else None
            pictures.append(picture.load(coded.decompress(path.read_bytes()) if coded else path))
        one, other = (np.asarray(picture.to_image(each).convert("RGB")) for each in pictures)
        if one.shape != other.shape:
            raise AecodecError(f"{other.shape[1]}x{other.shape[0]} pixels; {a} has {one.shape[1]}x{one.shape[0]}")
    except (AecodecError, OSError) as error:
        raise output.Failed(error, path) from error
    height, width = one.shape[:2]
    sizes = [path.stat().st_size for path in (a, b)]
    bits = [round(8 * size / (width * height), 4) for size in sizes]
    measured = {"a": str(a), "b": str(b), "width": width, "height": height, "bpp_a": bits[0], "bpp_b": bits[1]}
    unmeasured = missing()
    scores: dict[str, float | None] = dict.fromkeys(METRICS)
    for name in METRICS.keys() - unmeasured.keys():
        try:
            scores[name] = METRICS[name](one, other)
        except (ImportError, RuntimeError) as error:  # a package that does not fit the others
            if name not in PACKAGES:
                raise
            unmeasured[name] = f"{PACKAGES[name]} does not work here ({error})"
    measured |= {name: None if value is None else round(value, 4) for name, value in scores.items()}
    if heat:
        try:
            if heat.exists():
                raise FileExistsError(errno.EEXIST, "exists already")
            drawn = heatmap(one, other)
            files.write_atomically(heat, lambda file: picture.save(drawn, file, heat.suffix))
        except (AecodecError, OSError) as error:
            raise output.Failed(error, heat) from error
        measured["heatmap"] = str(heat)
    if as_json:
        click.echo(output.as_json(measured))
        return
    files_ = [f"{p}, {output.size(s)}, {bpp:.3f} bpp" for p, s, bpp in zip((a, b), sizes, bits, strict=True)]
    told = {name: unmeasured.get(name) or _score(name, value) for name, value in scores.items()}
    output.show(
        {
            "a": files_[0],
            "b": files_[1],
            "pixels": f"{width}x{height}",
            "PSNR": f"{told['psnr_rgb']} (RGB), {told['psnr_y']} (luma)",
            "MS-SSIM": told["ms_ssim"],
            "SSIMULACRA2": told["ssimulacra2"],
            "Butteraugli": told["butteraugli"],
            "CVVDP": told["cvvdp"],
            "heatmap": heat,
        },
        column=11,
    )


def _score(name: str, value: float | None) -> str:
    """A score for people. None is what metrics give where nothing differs, or for pictures that are too small."""
    if name.startswith("psnr"):
        return "nothing differs" if value is None else f"{value:.2f} dB"
    return "the picture is too small for it" if value is None else f"{value:.{DECIMALS.get(name, 2)}f}"


@click.command()
@AS_JSON
def models(as_json: bool) -> None:
    """List the released models; files that name one of them decode forever."""
    from aecodec.container import MODEL_ID_BYTES
    from aecodec.models import DEFAULT, RELEASED, locate

    found = []
    for name, digest in RELEASED.items():
        path, _ = locate(name)
        known = {"name": name, "id": digest[: 2 * MODEL_ID_BYTES], "sha256": digest, "default": name == DEFAULT}
        found.append({**known, "file": str(path) if path.is_file() else None})
    if as_json:
        click.echo(output.as_json(found))
        return
    width = max(len(name) for name in RELEASED)
    click.echo(f"{'name':{width}}  {'id':8}  {'size':>8}")
    for model in found:
        file = Path(str(model["file"])) if model["file"] else None
        size = output.size(file.stat().st_size) if file else "not installed"
        click.echo(f"{model['name']:{width}}  {model['id']}  {size:>8}" + ("  default" if model["default"] else ""))
