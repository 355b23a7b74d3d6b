"""Makes files to begin fuzzing with, of every kind, by small untrained models: python tests/fuzz/seeds.py FOLDER

For each family, FOLDER gets its weights, `aec1.safetensors`, and a folder `aec1` of files.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]
from conftest import make_small_aec2_weights, make_small_network  # noqa: E402

from aecodec import container  # noqa: E402
from aecodec.codec import Codec  # noqa: E402
from aecodec.families.hyperprior.fitting import fit_tables  # noqa: E402
from aecodec.training.export import save  # noqa: E402

PIXEL_LIMIT = 2**14


def make_weights(family: str, path: Path) -> Path:
    """The tests' small model of a family."""
    torch.set_num_threads(1)
    if family == "aec1":
        save(path, make_small_network(), *fit_tables(None))
        return path
    return make_small_aec2_weights(path)


def pictures() -> dict[str, np.ndarray | Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (70, 130, 4), dtype=np.uint8)
    noise[:, :, 3] = np.arange(130)  # so that most of a file is not deflated noise
    tagged = Image.fromarray(noise[:, :, :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    tagged.info |= {"exif": exif.tobytes(), "icc_profile": b"profile", "xmp": b"<x/>"}
    return {
        "rgb": noise[:, :, :3],
        "grey": noise[:, :, 0],
        "alpha": noise,
        "grey-alpha": Image.fromarray(noise).convert("LA"),
        "tagged": tagged,
        "pixel": noise[:1, :1, :3],
        "flat": np.full((64, 64, 3), 90, np.uint8),
        "deep": noise.astype(np.uint16) * 257,
    }


def patched(codec: Codec, **webp: bool | int) -> bytes:
    """A file of two tiles, of the first of which two blocks are coded without loss."""
    drawn = Image.new("RGB", (130, 70), "white")
    ImageDraw.Draw(drawn).text((4, 4), "The quick brown fox", fill=(200, 0, 40))
    buffer = io.BytesIO()
    drawn.crop((0, 0, 128, 70)).save(buffer, "WEBP", lossless=True, **webp)
    patch = b"\0" + container.encode_varint(len(buffer.getvalue())) + b"\xc0" + buffer.getvalue()
    file = container.read(codec.compress(drawn, 50, tile=128))
    return container.write(replace(file, chunks={container.PATCHES: patch}))


def main(folder: Path) -> None:
    for family in ("aec1", "aec2"):
        own = folder / family
        own.mkdir(parents=True, exist_ok=True)
        codec = Codec("cpu", make_weights(family, folder / f"{family}.safetensors"), PIXEL_LIMIT)
        for name, picture in pictures().items():
            for quality in (1, 60, 100):
                (own / f"{name}-{quality}.aec").write_bytes(codec.compress(picture, quality))
            (own / f"{name}-tiled.aec").write_bytes(codec.compress(picture, 30, tile=64))
        (own / "patched.aec").write_bytes(patched(codec))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
