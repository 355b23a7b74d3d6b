"""Makes the golden files of what the format has beyond the first: python tests/conformance/make_extensions.py MODEL

NAME.aec and NAME.png with the decoded samples, 16 bits where there are more than 8. What is there is never replaced.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from aecodec.codec import Codec
from aecodec.picture import Picture, save

HERE = Path(__file__).parent


def pictures() -> dict[str, tuple[Picture | np.ndarray, dict[str, int]]]:
    """Name: (picture, options)."""
    photo = Image.open(HERE.parent.parent / "examples" / "coffee.png").convert("RGB").crop((200, 100, 330, 190))
    samples = np.asarray(photo).astype(np.uint16)
    ramp = np.linspace(0, 65535, samples.shape[0] * samples.shape[1]).astype(np.uint16).reshape(samples.shape[:2])
    page = photo.copy()
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 129, 63), fill="white")
    for top in range(4, 60, 12):
        draw.text((4, top), "The quick brown fox", fill=(190, 0, 30))
    more = {"cicp": bytes([9, 16, 0, 1]), "dens": bytes.fromhex("012c0100002c010000"), "note": b"a comment"}
    return {
        "deep-alpha-q60": (
            Picture(samples * 256 + (ramp // 256)[:, :, None], ramp, more=more, depth=16),
            {"quality": 60},
        ),
        "ten-bits-q90": (Picture((samples << 2)[:, :, 0] + 1, depth=10), {"quality": 90}),
        "drawn-q50": (np.asarray(page), {"quality": 50}),
        "drawn-tiled-q80": (np.asarray(page), {"quality": 80, "tile": 64}),
        "neutral-q60": (np.repeat(np.asarray(photo)[:, :, 1:2], 3, 2), {"quality": 60}),
    }


def main(name: str) -> None:
    folder = HERE / f"{name}-extensions"
    folder.mkdir()  # fails if they are there
    codec = Codec("cpu", name, precision="float32")
    warnings.simplefilter("ignore")  # of what PNG does not hold
    for title, (picture, options) in pictures().items():
        data = codec.compress(picture, **options)
        (folder / f"{title}.aec").write_bytes(data)
        with (folder / f"{title}.png").open("xb") as file:
            save(codec.decompress(data), file, ".png")


if __name__ == "__main__":
    main(sys.argv[1])
