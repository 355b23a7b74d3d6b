"""Pictures per second into training: an archive against folders of JPEG, by torchvision and by Pillow, on one core.

    OMP_NUM_THREADS=1 python benchmarks/loader.py PICTURE... [-o benchmarks/results/loader/loader.json] [--side 3]

Every loader gives uint8 tensors (3, H, W), whole pictures or random squares of 256 pixels, with one process. Time
is that of the processor, so other work on the machine hardly changes it. The pictures are taken as they are, or put
together, --side of them each way; what the results hold of other sizes stays. torchvision is measured where it is.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aecodec import archive, native
from aecodec.benchmark.measure import machine
from aecodec.codec import Codec
from aecodec.models import DEFAULT

JPEG_QUALITY = 90  # what a camera or a data set has
QUALITY = 90  # of .aec
CROP = 256
SMALL, LARGE = 8, 2  # how many pictures there are


def larger(images: list[Image.Image], side: int, first: int) -> Image.Image:
    width, height = images[0].size
    whole = Image.new("RGB", (side * width, side * height))
    for number in range(side**2):
        image = images[(first + number) % len(images)].resize((width, height))
        whole.paste(image, (number % side * width, number // side * height))
    return whole


def rate(pictures: Iterator[Any], seconds: float) -> dict[str, float]:
    """Pictures per second of the processor, after the first."""
    next(pictures)
    started, count = time.process_time(), 0
    while (spent := time.process_time() - started) < seconds or count < 3:
        next(pictures)
        count += 1
    return {"pictures_per_second": round(count / spent, 2), "pictures": count}


def cropped(tensor: torch.Tensor, crop: int | None) -> torch.Tensor:
    if crop is None:
        return tensor
    top, left = (random.randint(0, side - crop) for side in tensor.shape[1:])
    return tensor[:, top : top + crop, left : left + crop]


def by_pillow(files: list[Path], crop: int | None) -> Iterator[torch.Tensor]:
    while True:
        for path in files:
            pixels = np.array(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
            yield cropped(torch.from_numpy(pixels).permute(2, 0, 1), crop).contiguous()


def by_torchvision(files: list[Path], crop: int | None) -> Iterator[torch.Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    while True:
        for path in files:
            yield cropped(decode_jpeg(read_file(str(path)), ImageReadMode.RGB), crop).contiguous()


def by_aecodec(packed: Path, crop: int | None, torch_alone: bool) -> Iterator[torch.Tensor]:
    loader = archive.ArchiveLoader(packed, 1, device="cpu", model=DEFAULT, crop=crop)
    if torch_alone:
        loader.dataset._archive.__dict__["codec"] = Codec("cpu", DEFAULT)
    while True:
        yield from loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--side", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement, at least")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    images = [Image.open(path).convert("RGB") for path in args.pictures]
    count = SMALL if args.side == 1 else LARGE
    images = [larger(images, args.side, number) for number in range(count)]
    loaders: dict[str, Callable[[Path, int | None], Iterator[torch.Tensor]]] = {
        "aecodec, libaec": lambda folder, crop: by_aecodec(folder / "arc", crop, False),
        "aecodec, torch": lambda folder, crop: by_aecodec(folder / "arc", crop, True),
        "JPEG, Pillow": lambda folder, crop: by_pillow(sorted((folder / "jpeg").iterdir()), crop),
    }
    if not native.available():
        del loaders["aecodec, libaec"]
    try:
        import torchvision

        loaders["JPEG, torchvision"] = lambda folder, crop: by_torchvision(sorted((folder / "jpeg").iterdir()), crop)
        version: str | None = torchvision.__version__
    except ImportError:
        version = None
    results: dict[str, Any] = {
        "machine": machine(),
        "versions": {"torch": torch.__version__, "torchvision": version, "Pillow": Image.__version__},
        "qualities": {f"aecodec {DEFAULT}": QUALITY, "JPEG": JPEG_QUALITY},
        "crop": CROP,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("png", "jpeg"):
            (folder / part).mkdir()
        for number, image in enumerate(images):
            image.save(folder / "png" / f"{number}.png", compress_level=1)
            image.save(folder / "jpeg" / f"{number}.jpg", quality=JPEG_QUALITY)
        options = {"device": "cpu", "model": DEFAULT, "workers": 1, "min_psnr": None, "min_saving": 0.0}
        archive.create(folder / "png", folder / "arc", QUALITY, effort=0, **options)
        sizes = {
            "aecodec": sum(item.record.stored for item in archive.Archive(folder / "arc").values()),
            "JPEG": sum(path.stat().st_size for path in (folder / "jpeg").iterdir()),
        }
        width, height = images[0].size
        found: dict[str, Any] = {"width": width, "height": height, "pictures": len(images)}
        found["bytes_a_picture"] = {kind: round(total / len(images)) for kind, total in sizes.items()}
        for what, crop in (("whole", None), ("crops", CROP)):
            found[what] = {}
            for kind, make in loaders.items():
                found[what][kind] = rate(make(folder, crop), args.seconds)
                print(f"{width}x{height} {what}, {kind}: {found[what][kind]}", flush=True)
    if args.output:
        known = json.loads(args.output.read_text())["sets"] if args.output.exists() else []
        others = [each for each in known if (each["width"], each["height"]) != images[0].size]
        results["sets"] = sorted([*others, found], key=lambda each: each["width"])
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
