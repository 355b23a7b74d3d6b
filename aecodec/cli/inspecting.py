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
    """Show how far picture B is from picture A: PSNR, MS-SSIM, SSIMULACRA2, Butteraugli, CVVDP, and bits per pixel.

    Any two files that Pillow reads. They are compared at 8 bits a sample; alpha is left out.
    """
    import numpy as np

    from aecodec import picture
    from aecodec.benchmark.heatmap import heatmap
    from aecodec.benchmark.metrics import METRICS, why_not
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
    notes = ["alpha is left out"] if any(each.alpha is not None for each in pictures) else []
    notes += ["compared at 8 bits a sample"] if any(each.depth > 8 for each in pictures) else []
    height, width = one.shape[:2]
    sizes = [path.stat().st_size for path in (a, b)]
    bits = [round(8 * size / (width * height), 4) for size in sizes]
    measured = {"a": str(a), "b": str(b), "width": width, "height": height, "bpp_a": bits[0], "bpp_b": bits[1]}
    unmeasured = {name: reason for name in METRICS if (reason := why_not(name))}
    scores = {name: None if name in unmeasured else METRICS[name](one, other) for name in METRICS}
    for name, value in scores.items():
        if value is None and not name.startswith("psnr"):
            unmeasured.setdefault(name, "the picture is too small for it")
    measured |= {name: None if value is None else round(value, 4) for name, value in scores.items()}
    measured |= {"not_measured": unmeasured, "notes": notes}
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
            "note": "; ".join(notes) or None,
        },
        column=11,
    )


def _score(name: str, value: float | None) -> str:
    """A score for people. None is what PSNR gives where nothing differs."""
    if value is None:
        return "nothing differs"
    return f"{value:.{DECIMALS.get(name, 2)}f}" + (" dB" if name.startswith("psnr") else "")


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
