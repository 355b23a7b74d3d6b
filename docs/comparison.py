"""The picture of the README: one photograph at equal bytes as JPEG, AVIF and aecodec. python docs/comparison.py"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import aecodec

ROOT = Path(__file__).parents[1]
BYTES = 6_000
CROP = (150, 60, 450, 300)
EDGE, LABEL = 8, 26


def largest(original: Image.Image, kind: str, **options: object) -> bytes:
    """The file of the highest quality that is no larger than BYTES."""
    low, high, best = 1, 100, b""
    while low <= high:
        quality = (low + high) // 2
        buffer = io.BytesIO()
        original.save(buffer, kind, quality=quality, **options)
        if buffer.tell() <= BYTES:
            low, best = quality + 1, buffer.getvalue()
        else:
            high = quality - 1
    return best


def main() -> None:
    original = Image.open(ROOT / "examples" / "coffee.png").convert("RGB")
    jpeg = largest(original, "JPEG", optimize=True)
    avif = largest(original, "AVIF", speed=6)
    aec = aecodec.compress(original, size=BYTES)
    shown = [
        ("original", original),
        (f"JPEG, {len(jpeg):,} bytes", Image.open(io.BytesIO(jpeg))),
        (f"AVIF, {len(avif):,} bytes", Image.open(io.BytesIO(avif))),
        (f"aecodec, {len(aec):,} bytes", aecodec.decompress(aec)),
    ]
    width, height = CROP[2] - CROP[0], CROP[3] - CROP[1]
    sheet = Image.new("RGB", (4 * width + 3 * EDGE, height + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, image) in enumerate(shown):
        left = place * (width + EDGE)
        sheet.paste(image.convert("RGB").crop(CROP), (left, LABEL))
        draw.text((left + 2, 3), title, "black", ImageFont.load_default(16))
    sheet.save(ROOT / "docs" / "comparison.png", optimize=True)


main()
