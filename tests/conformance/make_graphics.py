"""Makes the golden files of what no photograph looks like: python tests/conformance/make_graphics.py MODEL

A chart, noise and text, all of them by the network, and a forged file whose symbols are beyond any picture's. NAME.aec
and NAME.png with the decoded samples. What is there is never replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageDraw

from aecodec import container
from aecodec.codec import Codec
from aecodec.families.hyperprior.constants import scale_of_index
from aecodec.families.hyperprior.hiding import sign_groups, tables_of, without_signs
from aecodec.families.layouts import array

HERE = Path(__file__).parent
SIDE = 128  # pixels


def pictures() -> dict[str, tuple[np.ndarray, float]]:
    """Name: (picture, quality)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    page = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(page)
    for top in range(4, SIDE, 14):
        draw.text((3, top), "The quick brown fox jumps", fill=(20, 0, 120) if top % 3 else (230, 30, 0))
    return {
        "chart-q90": (np.stack([(x // 3 + y // 5) % 2 * 255] * 2 + [x * y % 256], 2).astype(np.uint8), 90),
        "noise-q70": (np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), 70),
        "text-q50": (np.asarray(page), 50),
    }


def forged(codec: Codec, quality: int, seed: int = 1) -> bytes:
    """A valid file: random hyper latents, and symbols of which one in three hundred is 30000. quality: hundredths."""
    family, rng = codec.model.family, np.random.default_rng(seed)
    reach = family.tables.reach
    shape = (family.network.config.hyper_channels, SIDE // 64, SIDE // 64)
    z_indices = family.z_indices(shape, quality)
    z = rng.integers(-3, 4, (1, *shape)) * (reach[z_indices] > 0)
    hyper = array(family.scale_model.z_residual(torch.from_numpy(z).float()), torch.int32)
    _, index = family.scale_model(torch.from_numpy(z).float(), quality - container.QUALITY_MIN)
    groups = sign_groups(index)
    symbols = np.round(rng.normal(size=index.shape) * scale_of_index(index).numpy())
    symbols[rng.random(symbols.shape) < 1 / 300] = 30000
    symbols *= reach[index.int().numpy()] > 0
    coded = array(without_signs(torch.from_numpy(symbols).float(), groups), torch.int32)
    payload = family.tables.encode([(hyper[0], z_indices), (coded[0], array(tables_of(index, groups), torch.uint8)[0])])
    return container.write(container.File(container.Header(SIDE, SIDE, 3, codec.model.id, quality), {}, [payload]))


def main(name: str) -> None:
    folder = HERE / f"{name}-graphics"
    folder.mkdir()  # fails if they are there
    codec = Codec("cpu", name, precision="float32")
    with mock.patch("aecodec.patches.drawing.drawn", return_value=np.zeros((1, 1), bool)):
        files = {title: codec.compress(picture, quality) for title, (picture, quality) in pictures().items()}
    files["forged-q50"] = forged(codec, 5000)
    for title, data in files.items():
        (folder / f"{title}.aec").write_bytes(data)
        codec.decompress(data).save(folder / f"{title}.png")


if __name__ == "__main__":
    main(sys.argv[1])
