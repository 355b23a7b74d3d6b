"""The fixed sheet: 24 crops at four rates, the original beside a model and two kinds of AVIF at equal bytes.

    python benchmarks/sheet.py KODAK PHOTOS --json OUT.json [--pages FOLDER] [--model NAME_OR_FILE] [--seconds 110]

KODAK: folder of kodim01.png to kodim24.png; PHOTOS: folder of the tar files of the training photographs, for a crop
that training holds out; the screens are those of benchmarks/pictures. Every crop is coded on its own, 256x256; AVIF by
the quality whose file comes nearest to the rate, the model within the bytes of the larger AVIF. On the pages the middle
144x144 are shown twice as large. Columns: original, model, AVIF 4:2:0 tune=iq, AVIF 4:4:4 tune=iq; below each its bits
per pixel and its SSIMULACRA2. What OUT.json holds is not measured again, but for pages; with --seconds the script ends
after about so long, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from heldout import PICTURES, crops
from PIL import Image, ImageDraw, ImageFont

from aecodec.benchmark import codecs
from aecodec.benchmark.codecs import Peer
from aecodec.codec import Codec
from aecodec.files import write_atomically
from aecodec.models import DEFAULT
from aecodec.perceptual import score

SIDE, SHOWN, ZOOM = 256, 144, 2
# What is to be seen, the number of a Kodak picture, the name of a screen or of a photograph that is held out, and the
# upper left corner of the crop.
CROPS = [
    ("face", 4, (130, 150)), ("painted face", 15, (180, 60)), ("face, brown", 18, (130, 60)), ("statue", 17, (110, 20)),
    ("foliage", 13, (300, 0)), ("meadow", 24, (0, 256)), ("water", 6, (400, 230)), ("rapids", 14, (300, 200)),
    ("sea and rocks", 16, (200, 200)), ("nightfall", "photos-00.tar/00083.jpg", (90, 40)),
    ("sky and boats", 9, (130, 100)), ("dusk", 16, (480, 0)),
    ("stone wall", 1, (420, 180)), ("roofs", 8, (250, 60)), ("fence", 19, (180, 420)), ("red door", 2, (180, 120)),
    ("caps", 3, (60, 160)), ("parrots", 23, (80, 60)), ("red and blue cloth", 5, (0, 0)), ("flowers", 7, (250, 130)),
    ("barn, sign", 22, (340, 150)),
    ("page of text", "text_article", (128, 64)), ("interface", "interface_mail", (128, 64)),
    ("map", "map_metro", (128, 64)),
]  # fmt: skip
RATES = (0.15, 0.3, 0.6, 1.0)
AVIFS = ("avif", "avif-444")
PER_PAGE = 4
Files = dict[str, tuple[bytes, Image.Image]]  # by codec: the file, and what is decoded from it


def is_screen(name: int | str) -> bool:
    return isinstance(name, str) and ".tar/" not in name


def original(name: int | str, corner: tuple[int, int], kodak: Path, photos: Path) -> Image.Image:
    if isinstance(name, int):
        path = kodak / f"kodim{name:02}.png"
    elif is_screen(name):
        path = PICTURES / "screens" / f"{name}.png"
    else:
        path = next(photo.path for photo in crops(photos, "photographs") if photo.name == name)
    left, top = corner
    with Image.open(path) as image:
        return image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))


def nearest(peer: Peer, image: Image.Image, rate: float) -> bytes:
    """The file of a codec whose size comes nearest to a rate in bits per pixel."""
    low, high, files = 0, 100, {}

    def at(quality: int) -> bytes:
        if quality not in files:
            files[quality] = peer.encode(image, quality)
        return files[quality]

    wanted = rate * image.width * image.height / 8
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(at(middle)) < wanted else (low, middle)
    return min(files.values(), key=lambda data: abs(len(data) - wanted))


def coded(ours: str, codec: Codec, avifs: list[Peer], image: Image.Image, rate: float) -> Files:
    files = {peer.name: nearest(peer, image, rate) for peer in avifs}
    files = {ours: codec.compress(image, size=max(map(len, files.values()))), **files}
    decode = {ours: codec.decompress, **{peer.name: peer.decode for peer in avifs}}
    return {name: (data, decode[name](data).convert("RGB")) for name, data in files.items()}


def figures(image: Image.Image, files: Files) -> dict[str, dict[str, float]]:
    """Bits per pixel and SSIMULACRA2 of each file."""
    pixels = image.width * image.height
    return {
        name: {
            "bpp": round(8 * len(data) / pixels, 4),
            "ssimulacra2": round(score(np.asarray(image), np.asarray(picture)), 2),
        }
        for name, (data, picture) in files.items()
    }


def page(rows: list[tuple[dict[str, Any], Image.Image, Files]], titles: dict[str, str]) -> Image.Image:
    """Some crops of one rate, one below the other."""
    font, cell, edge = ImageFont.load_default(14), SHOWN * ZOOM, (SIDE - SHOWN) // 2
    sheet = Image.new("RGB", ((1 + len(titles)) * (cell + 8), len(rows) * (cell + 24)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (row, image, files) in enumerate(rows):
        shown = [(f"{row['crop']}, {row['rate']:g} bpp", image)]
        for name, (_, picture) in files.items():
            own = row["files"][name]
            shown.append((f"{titles[name]}  {own['bpp']:.3f} bpp  {own['ssimulacra2']:.1f}", picture))
        for column, (title, picture) in enumerate(shown):
            piece = picture.crop((edge, edge, edge + SHOWN, edge + SHOWN))
            place = column * (cell + 8), line * (cell + 24)
            sheet.paste(piece.resize((cell, cell), Image.Resampling.NEAREST), place)
            draw.text((place[0], place[1] + cell + 2), title, "black", font)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="write the figures, after each crop")
    parser.add_argument("--pages", type=Path, help="write the pages to look at into this folder")
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    name = f"aecodec:{options.model}"
    peers = [codecs.make(peer) for peer in (name, *AVIFS)]
    codec = Codec("cpu", options.model, threads=1)
    found: dict[str, Any] = {
        "codecs": {p.name: {"title": p.title, "version": p.version, "settings": p.settings} for p in peers},
        "rows": [],
    }
    if options.json.exists():
        found = json.loads(options.json.read_text())
    titles = {peer.name: peer.title.partition(",")[0] for peer in peers}
    measured = {(row["crop"], row["rate"]): row for row in found["rows"]}
    for rate in map(float, options.rates.split(",")):
        for start in range(0, len(CROPS), PER_PAGE):
            shown = []
            for crop, number, corner in CROPS[start : start + PER_PAGE]:
                if (crop, rate) in measured and not options.pages:
                    continue
                if time.monotonic() > end:
                    sys.exit("not all is measured yet; the same command goes on")
                image = original(number, corner, options.kodak, options.photos)
                files = coded(name, codec, peers[1:], image, rate)
                row = {"crop": crop, "screen": is_screen(number), "rate": rate, "files": figures(image, files)}
                if (crop, rate) not in measured:
                    found["rows"].append(row)
                    text = json.dumps(found, indent=1) + "\n"
                    write_atomically(options.json, lambda file, text=text: file.write(text.encode()))
                shown.append((row, image, files))
            if options.pages:
                options.pages.mkdir(parents=True, exist_ok=True)
                page(shown, titles).save(options.pages / f"sheet-{rate:g}-{start:02}.png")


if __name__ == "__main__":
    main()
