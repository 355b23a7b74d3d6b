"""The fixed sheet: 24 crops at four rates, the original beside a model and two kinds of AVIF at equal bytes.

    python benchmarks/sheet.py KODAK OUT [--model NAME_OR_FILE] [--rates 0.15,0.3] [--rows 0,1,2]

KODAK: folder of kodim01.png to kodim24.png; the screens are those of benchmarks/pictures. Every crop is coded on its
own, 256x256; AVIF by the quality whose file comes nearest to the rate, the model within the bytes of the larger AVIF.
The middle 144x144 are shown twice as large. Columns: original, model, AVIF 4:2:0 tune=iq, AVIF 4:4:4 tune=iq; below
each its bits per pixel and its SSIMULACRA2.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aecodec.codec import Codec
from aecodec.perceptual import score

SCREENS = Path(__file__).resolve().parent / "pictures" / "screens"
SIDE, SHOWN, ZOOM = 256, 144, 2
# What is to be seen, the number of a Kodak picture or the name of a screen, and the upper left corner of the crop.
CROPS = [
    ("face", 4, (130, 150)), ("painted face", 15, (180, 60)), ("face, brown", 18, (130, 60)), ("statue", 17, (110, 20)),
    ("foliage", 13, (300, 0)), ("meadow", 24, (0, 256)), ("water", 6, (400, 230)), ("rapids", 14, (300, 200)),
    ("sea and rocks", 16, (200, 200)), ("sky", 20, (250, 0)), ("sky and boats", 9, (130, 100)), ("dusk", 16, (480, 0)),
    ("stone wall", 1, (420, 180)), ("roofs", 8, (250, 60)), ("fence", 19, (180, 420)), ("red door", 2, (180, 120)),
    ("caps", 3, (60, 160)), ("parrots", 23, (80, 60)), ("red and blue cloth", 5, (0, 0)), ("flowers", 7, (250, 130)),
    ("barn, sign", 22, (340, 150)),
    ("page of text", "text_article", (128, 64)), ("interface", "interface_mail", (128, 64)),
    ("map", "map_metro", (128, 64)),
]  # fmt: skip
RATES = (0.15, 0.3, 0.6, 1.0)


def avif(image: Image.Image, rate: float, subsampling: str) -> tuple[bytes, Image.Image]:
    """The AVIF whose size comes nearest to a rate in bits per pixel."""
    low, high, files = 0, 100, {}

    def coded(quality: int) -> bytes:
        if quality not in files:
            file = io.BytesIO()
            image.save(file, "AVIF", quality=quality, speed=6, subsampling=subsampling, advanced={"tune": "iq"})
            files[quality] = file.getvalue()
        return files[quality]

    wanted = rate * image.width * image.height / 8
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(coded(middle)) < wanted else (low, middle)
    best = min(files.values(), key=lambda data: abs(len(data) - wanted))
    return best, Image.open(io.BytesIO(best)).convert("RGB")


def row(codec: Codec, name: str, image: Image.Image, rate: float) -> tuple[list[tuple[str, Image.Image]], dict]:
    """Title and picture of every column, and the numbers."""
    peers = [("AVIF 4:2:0", *avif(image, rate, "4:2:0")), ("AVIF 4:4:4", *avif(image, rate, "4:4:4"))]
    data = codec.compress(image, size=max(len(file) for _, file, _ in peers))
    columns = [("aecodec", data, codec.decompress(data).convert("RGB")), *peers]
    shown, numbers = [(f"{name}, {rate:g} bpp", image)], {"crop": name, "rate": rate}
    for title, file, picture in columns:
        points = score(np.asarray(image), np.asarray(picture))
        bpp = 8 * len(file) / (image.width * image.height)
        shown.append((f"{title}  {bpp:.3f} bpp  {points:.1f}", picture))
        numbers[title] = {"bpp": round(bpp, 4), "ssimulacra2": round(points, 2)}
    return shown, numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--rows", help="numbers of the crops, 0 to 23; default: all")
    parser.add_argument("--per-page", type=int, default=4)
    options = parser.parse_args()
    codec = Codec("cpu", options.model, threads=1)
    chosen = [CROPS[int(n)] for n in options.rows.split(",")] if options.rows else CROPS
    options.out.mkdir(parents=True, exist_ok=True)
    font, cell, found = ImageFont.load_default(14), SHOWN * ZOOM, []
    for rate in map(float, options.rates.split(",")):
        for start in range(0, len(chosen), options.per_page):
            part = chosen[start : start + options.per_page]
            page = Image.new("RGB", (4 * (cell + 8), len(part) * (cell + 24)), "white")
            draw = ImageDraw.Draw(page)
            for line, (name, number, (x, y)) in enumerate(part):
                path = SCREENS / f"{number}.png" if isinstance(number, str) else options.kodak / f"kodim{number:02}.png"
                image = Image.open(path).convert("RGB").crop((x, y, x + SIDE, y + SIDE))
                shown, numbers = row(codec, name, image, rate)
                found.append(numbers)
                edge = (SIDE - SHOWN) // 2
                for column, (title, picture) in enumerate(shown):
                    piece = picture.crop((edge, edge, edge + SHOWN, edge + SHOWN))
                    place = column * (cell + 8), line * (cell + 24)
                    page.paste(piece.resize((cell, cell), Image.Resampling.NEAREST), place)
                    draw.text((place[0], place[1] + cell + 2), title, "black", font)
            page.save(options.out / f"sheet-{rate:g}-{start:02}.png")
    (options.out / "sheet.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
