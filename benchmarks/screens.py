"""What patches bring to pictures of screens and drawings, beside WebP: python benchmarks/screens.py PICTURE...

For each picture and quality: bytes and PSNR without patches and with them; of WebP, lossless, and lossy at no less
PSNR.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aecodec import Codec, EncodeOptions, container
from aecodec.encoding import Encoder
from aecodec.metrics import psnr
from aecodec.picture import Picture


def by_the_network_alone(codec: Codec, pixels: np.ndarray, quality: int, **more: Any) -> bytes:
    """As if nothing looked drawn."""
    options = EncodeOptions(quality=quality, **more)
    encoder = Encoder(codec.model_for(options), options, codec.decode)
    return container.write(encoder.files([Picture(pixels)])[0])


def webp(pixels: np.ndarray, fidelity: float) -> tuple[int, int | None]:
    """Bytes without loss, and of the smallest lossy file that is at least so faithful; None if none is."""
    image = Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), "WEBP", lossless=True, quality=100, method=6)
    for quality in range(1, 101, 3):
        image.save(lossy := io.BytesIO(), "WEBP", quality=quality, method=6)
        if psnr(np.asarray(Image.open(lossy).convert("RGB")), pixels) >= fidelity:
            return len(buffer.getvalue()), len(lossy.getvalue())
    return len(buffer.getvalue()), None


def main(paths: list[Path]) -> None:
    codec = Codec("cpu")
    print("picture, quality: without patches, with patches (of so many blocks); WebP lossless, lossy at no less PSNR")
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for quality in (30, 50, 80):
            found = []
            for data in (by_the_network_alone(codec, pixels, quality), codec.compress(pixels, quality)):
                found.append((len(data), psnr(codec.decompress(data, as_array=True), pixels), data))
            patched = container.PATCHES in container.read(found[1][2]).chunks
            lossless, lossy = webp(pixels, min(found[1][1], 60))
            fidelity = "exact" if math.isinf(found[1][1]) else f"{found[1][1]:.2f} dB"
            print(
                f"{path.stem:12} {quality:3}: {found[0][0]:7,} B {found[0][1]:.2f} dB, {found[1][0]:7,} B {fidelity}"
                f"{' patched' if patched else ''}; {lossless:7,} B, {f'{lossy:,} B' if lossy else '-'}",
                flush=True,
            )


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
