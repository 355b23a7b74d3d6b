"""Makes files to begin fuzzing with, of every kind, by a small untrained model: python tests/fuzz/seeds.py FOLDER"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]
from conftest import SMALL, smooth_covariance  # noqa: E402

from aecodec.codec import Codec  # noqa: E402
from aecodec.families.aec1.network import Aec1  # noqa: E402
from aecodec.families.hyperprior.fitting import fit_tables  # noqa: E402
from aecodec.families.hyperprior.klt import start_from_klt  # noqa: E402
from aecodec.training.export import save  # noqa: E402

PIXEL_LIMIT = 2**14


def small_codec() -> Codec:
    """As the tests' fixture `codec`, with a low limit of pixels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = Aec1(SMALL)
    start_from_klt(network, smooth_covariance())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        save(path, network.requires_grad_(False), *fit_tables(None))
        return Codec("cpu", path, PIXEL_LIMIT)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    codec = small_codec()
    noise = np.random.default_rng(0).integers(0, 256, (70, 130, 4), dtype=np.uint8)
    tagged = Image.fromarray(noise[:, :, :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    tagged.info |= {"exif": exif.tobytes(), "icc_profile": b"profile", "xmp": b"<x/>"}
    drawn = Image.new("RGB", (130, 70), "white")
    for row in range(4, 70, 14):
        ImageDraw.Draw(drawn).text((4, row), "The quick brown fox", fill=(200, 0, 40))
    pictures = {
        "rgb": noise[:, :, :3],
        "grey": noise[:, :, 0],
        "alpha": noise,
        "grey-alpha": Image.fromarray(noise).convert("LA"),
        "tagged": tagged,
        "pixel": noise[:1, :1, :3],
        "flat": np.full((64, 64, 3), 90, np.uint8),
        "deep": noise.astype(np.uint16) * 257,
        "drawn": drawn,
    }
    for name, picture in pictures.items():
        for quality in (1, 60, 100):
            (folder / f"{name}-{quality}.aec").write_bytes(codec.compress(picture, quality))
    for name, picture in pictures.items():
        (folder / f"{name}-tiled.aec").write_bytes(codec.compress(picture, 30, tile=64))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
