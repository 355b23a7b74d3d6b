"""`aecodec info` and `aecodec compare`."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import click

from aecodec import container, files
from aecodec.cli import output, process
from aecodec.cli.coding import PATH, header_facts
from aecodec.cli.options import AS_JSON, DEVICE, MODEL, examples
from aecodec.errors import AecodecError
from aecodec.files import STANDARD


@click.command()
@click.argument("file", type=PATH)
@AS_JSON
def info(file: Path, as_json: bool) -> None:
    """Show what an .aec file says of itself, after verifying its checksums. Needs no network."""
    try:
        data = sys.stdin.buffer.read() if file == STANDARD else file.read_bytes()
        content = container.read(data, pixel_limit=sys.maxsize)
    except (AecodecError, OSError) as error:
        raise output.Failed(error, file) from error
    from aecodec import picture

    header = content.header
    facts = {
        "file": str(file),
        "bytes": len(data),
        "format_version": container.VERSION,
        **header_facts(data),
        "channels": header.channels,
        "bits": picture.depth_of(content.chunks),
        "model": header.model_id.hex(),
        "tile": header.tile,
        "tiles": len(content.tiles),
    }
    sizes = {name: len(chunk) for name, chunk in content.chunks.items()}
    described = picture.describe(content.chunks)
    if as_json:
        facts |= {"chunks": sizes, "holds": described}
    else:
        facts |= {f"chunk {name}": f"{output.size(size)}  {described[name]}" for name, size in sizes.items()}
    output.show(facts, as_json)


@click.command(
    epilog=examples(
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
    from aecodec.codec import Codec

    process.prepare_pillow()
    path = a
    try:
        codec = Codec(device, model) if ".aec" in (a.suffix.lower(), b.suffix.lower()) else None
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
            raise output.Failed(error, heat) from error
        facts["heatmap"] = str(heat)
    output.show(facts, as_json)
