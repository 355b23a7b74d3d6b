"""How well descriptions find duplicates, outliers and similar pictures, and what they cost.

    python benchmarks/describe.py make CACHE --photos PHOTOS/*.tar --kodak KODAK --seconds 100  # until it is done
    python benchmarks/describe.py measure CACHE --photos PHOTOS/*.tar --kodak KODAK -o benchmarks/describe.json
    python benchmarks/describe.py tables benchmarks/describe.json                                # as in docs/archive.md

`make` describes pictures and what is made of them (nine edits; foreign items of twelve kinds; halves), each once, in
CACHE, and goes on where it was stopped. What is random has seeds.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from aecodec.archive import alike, outlying
from aecodec.description import RECORD

SIDE = 512
QUALITY = 98  # of archives
# Originals of edits, usual pictures, foreign items of a kind, pictures that are halved.
EDITED, USUAL, EACH_KIND, HALVED = 15, 80, 2, 40
WORDS = [
    "the",
    "archive",
    "keeps",
    "every",
    "photograph",
    "in",
    "a",
    "small",
    "file",
    "invoice",
    "total",
    "amount",
    "page",
]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def turned(image: Image.Image) -> Image.Image:
    """By two degrees, without the corners."""
    margin = int(0.035 * max(image.size))
    whole = image.rotate(2, Image.Resampling.BICUBIC)
    return whole.crop((margin, margin, image.width - margin, image.height - margin))


def marked(image: Image.Image) -> Image.Image:
    image = image.copy()
    font = ImageFont.load_default(size=image.height // 8)
    place = image.width * 0.12, image.height * 0.42
    ImageDraw.Draw(image, "RGBA").text(place, "(c) EXAMPLE", fill=(255, 255, 255, 150), font=font)
    return image


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": lambda im: im.resize((im.width // 2, im.height // 2), Image.Resampling.LANCZOS),
    "JPEG 30": lambda im: jpeg(im, 30),
    "cropped 10 %": lambda im: im.crop(
        (int(0.06 * im.width), int(0.03 * im.height), int(0.96 * im.width), int(0.93 * im.height))
    ),
    "brighter 10 %": lambda im: ImageEnhance.Brightness(im).enhance(1.1),
    "turned 2 degrees": turned,
    "mirrored": ImageOps.mirror,
    "text over it": marked,
    "grey": lambda im: im.convert("L").convert("RGB"),
    "quality 20": lambda im: im,
}


def text_over(
    g: np.random.Generator, draw: ImageDraw.ImageDraw, box: tuple[int, ...], size: int, colour: object
) -> None:
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = box
    while top + size < bottom:
        words = ""
        while draw.textlength(words, font=font) < 0.85 * (right - left):
            words += g.choice(WORDS) + " "
        draw.text((left, top), words, fill=colour, font=font)  # type: ignore[arg-type]
        top += int(1.45 * size)


def colour_of(g: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, ...]:
    return tuple(int(value) for value in g.integers(low, high, 3))


def screenshot(g: np.random.Generator, _: Image.Image) -> Image.Image:
    dark = g.random() < 0.4
    image = Image.new("RGB", (SIDE, SIDE), colour_of(g, 20, 45) if dark else colour_of(g, 235, 256))
    draw = ImageDraw.Draw(image)
    ink = (220,) * 3 if dark else (30,) * 3
    draw.rectangle((0, 0, SIDE, 28), fill=colour_of(g))
    text_over(g, draw, (6, 40, 106, 480), 12, ink)
    for k in range(int(g.integers(2, 5))):
        x, y = int(g.integers(120, 330)), 40 + 110 * k
        draw.rectangle((x, y, x + 170, y + 90), outline=ink, fill=colour_of(g) if g.random() < 0.3 else None)
        text_over(g, draw, (x + 6, y + 6, x + 160, y + 86), int(g.integers(11, 16)), ink)
    return image


def scan(g: np.random.Generator, _: Image.Image) -> Image.Image:
    paper = int(g.integers(236, 252))
    image = Image.new("RGB", (SIDE, SIDE), (paper, paper, paper - 8))
    text_over(g, ImageDraw.Draw(image), (30, 20, 480, 500), int(g.integers(11, 24)), (40, 40, 45))
    image = image.rotate(float(g.uniform(-1.5, 1.5)), Image.Resampling.BICUBIC, fillcolor=(paper, paper, paper))
    return noisy(g, image.filter(ImageFilter.GaussianBlur(0.6)), 3)


def noisy(g: np.random.Generator, image: Image.Image, sigma: float) -> Image.Image:
    values = np.asarray(image, np.float32) + g.normal(0, sigma, (*image.size[::-1], 3))
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def drawing(g: np.random.Generator, _: Image.Image) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), colour_of(g, 180))
    draw = ImageDraw.Draw(image)
    for _ in range(int(g.integers(8, 30))):
        x, y = (int(v) for v in g.integers(0, SIDE, 2))
        w, h = (int(v) for v in g.integers(20, 200, 2))
        shape = draw.rectangle if g.random() < 0.5 else draw.ellipse
        shape((x, y, x + w, y + h), fill=colour_of(g), outline=(0, 0, 0), width=int(g.integers(1, 5)))
    return image


def sketch(g: np.random.Generator, image: Image.Image) -> Image.Image:
    grey = np.asarray(image.convert("L"), np.float32)
    blurred = Image.fromarray(255 - grey.astype(np.uint8)).filter(ImageFilter.GaussianBlur(float(g.uniform(3, 8))))
    lines = 256 * grey / np.maximum(255 - np.asarray(blurred, np.float32), 1)
    return Image.fromarray(lines.clip(0, 255).astype(np.uint8)).convert("RGB")


def upscaled(g: np.random.Generator, image: Image.Image) -> Image.Image:
    side = int(g.choice([96, 128, 160]))
    return image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


FOREIGN: dict[str, Callable[[np.random.Generator, Image.Image], Image.Image]] = {
    "screenshot": screenshot,
    "scan": scan,
    "noise": lambda g, im: noisy(g, Image.new("RGB", im.size, colour_of(g, 60, 190)), g.uniform(15, 50)),
    "noisy photo": lambda g, im: noisy(g, im, g.uniform(20, 35)),
    "black": lambda g, im: noisy(g, Image.new("RGB", im.size, (int(g.choice([0, 3, 8])),) * 3), g.uniform(0, 2.5)),
    "sketch": sketch,
    "drawing": drawing,
    "posterised": lambda g, im: ImageOps.posterize(im, 2),
    "blurred": lambda g, im: im.filter(ImageFilter.GaussianBlur(float(g.uniform(4, 10)))),
    "upscaled": upscaled,
    "grey": lambda g, im: im.convert("L").convert("RGB"),
    "negative": lambda g, im: ImageOps.invert(im),
    "JPEG 4 to 9": lambda g, im: jpeg(im, int(g.integers(4, 10))),
}


def photos(tars: list[Path]) -> Iterator[Image.Image]:
    for path in sorted(tars):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.lower().endswith((".png", ".jpg", ".jpeg", ".webp")):
                    image = Image.open(io.BytesIO(file.read())).convert("RGB")
                    if min(image.size) >= SIDE:
                        yield image.crop((0, 0, SIDE, SIDE))


def squares(kodak: Path) -> Iterator[Image.Image]:
    for path in sorted(kodak.glob("*.png")):
        image = Image.open(path).convert("RGB")
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        yield image.crop((left, top, left + SIDE, top + SIDE))


def items(
    tars: list[Path], kodak: Path, usual: int
) -> Iterator[tuple[tuple[str, ...], Callable[[], Image.Image], int]]:
    """(what it is, the picture, the quality) of all that is described; usual: the quality of all but one edit."""
    own = list(squares(kodak))
    found = []
    for image in photos(tars):
        found.append(image)
        if len(found) == max(USUAL, HALVED, EDITED):
            break
    for number, image in enumerate([*own, *found][:EDITED]):
        yield ("edit", str(number), "original"), lambda image=image: image, usual
        for name, edit in EDITS.items():
            yield (
                ("edit", str(number), name),
                lambda image=image, edit=edit: edit(image),
                (20 if name == "quality 20" else usual),
            )
    for number, image in enumerate(found[:USUAL]):
        yield ("usual", str(number), "photo"), lambda image=image: image, usual
    for k, (name, make) in enumerate(FOREIGN.items()):
        for n in range(EACH_KIND):
            image = found[(7 * k + n) % len(found)]
            yield (
                ("foreign", str(n), name),
                lambda image=image, make=make, k=k, n=n: make(np.random.default_rng([k, n]), image),
                usual,
            )
    for number, image in enumerate(found[:HALVED]):
        for side, left in (("left", 0), ("right", SIDE // 2)):
            half = (left, 0, left + SIDE // 2, SIDE)
            yield ("half", str(number), side), lambda image=image, half=half: image.crop(half), usual


def make(cache: Path, tars: list[Path], kodak: Path, usual: int, seconds: float) -> None:
    from aecodec.codec import Codec

    codec = Codec("cpu", threads=1)
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / "records.npy"
    keys = json.loads((cache / "keys.json").read_text()) if kept.exists() else []
    rows = list(np.load(kept)) if kept.exists() else []
    known = {tuple(key) for key in keys}
    started, done = time.monotonic(), True
    for key, picture, quality in items(tars, kodak, usual):
        if key in known:
            continue
        if time.monotonic() - started > seconds:
            done = False
            break
        rows.append(codec.describe(picture(), quality).record()[0])
        keys.append(key)
    np.save(kept, np.array(rows, RECORD))
    (cache / "keys.json").write_text(json.dumps(keys))
    print(f"{len(keys)} described{'' if done else ', more to do'}")


def measure(cache: Path, tars: list[Path], kodak: Path) -> dict[str, Any]:
    """What docs/archive.md tells of what `make` has described."""
    rows = np.load(cache / "records.npy")
    keys = [tuple(key) for key in json.loads((cache / "keys.json").read_text())]
    parts = {name: np.array([key[0] == name for key in keys]) for name in ("edit", "usual", "foreign", "half")}
    numbers, kinds = np.array([int(key[1]) for key in keys]), np.array([key[2] for key in keys])
    edits = parts["edit"] & (numbers < EDITED)
    found = {
        "model": bytes(rows["model"][0]).hex(),
        "quality": int(rows["quality"][0]) // 100,
        "record_bytes": RECORD.itemsize + 1,
        "seconds_per_megapixel": of_speed(kodak, int(rows["quality"][0]) // 100),
        "duplicates": of_duplicates(*(values[edits] for values in (rows, numbers, kinds)), of_pixels(tars)),
        "outliers": of_outliers(rows[parts["usual"]], rows[parts["foreign"]], kinds[parts["foreign"]]),
    }
    if parts["half"].sum() == 2 * HALVED:  # the last that `make` makes
        found["similar"] = of_halves(rows[parts["half"]], numbers[parts["half"]])
    return found


def of_speed(kodak: Path, quality: int) -> dict[str, float]:
    """Seconds of processor time, one thread, for a megapixel; the least of three pictures."""
    from aecodec.codec import Codec

    codec = Codec("cpu", threads=1)
    found: dict[str, list[float]] = {}
    for image in [image for image, _ in zip(squares(kodak), range(4), strict=False)]:
        pixels = image.width * image.height / 1e6

        def timed(name: str, work: Callable[[], Any], pixels: float = pixels) -> Any:
            started = time.process_time()
            result = work()
            found.setdefault(name, []).append((time.process_time() - started) / pixels)
            return result

        timed("compress, effort 0", lambda image=image: codec.compress(image, quality, effort=0))
        data = timed("compress", lambda image=image: codec.compress(image, quality))
        timed("decompress", lambda data=data: codec.decompress(data))
        timed("describe the file", lambda data=data: codec.describe(data))
    return {name: round(min(values[1:]), 3) for name, values in found.items()}  # the first one warms up


def of_pixels(tars: list[Path]) -> Any:
    """Records with the luma and chroma of photographs in 8x8, made of their pixels: enough pairs of different ones to
    count the false ones, at no cost."""
    small = [image.resize((8, 8), Image.Resampling.BOX).convert("YCbCr") for image in photos(tars)]
    planes = np.stack([np.asarray(image) for image in small])
    rows = np.zeros(len(planes), RECORD)
    rows["luma"], rows["chroma"] = planes[..., 0], planes[..., 1:].transpose(0, 3, 1, 2)
    return rows


def of_duplicates(rows: Any, numbers: Any, kinds: Any, photographs: Any) -> dict[str, Any]:
    """photographs: see `of_pixels`."""
    originals = kinds == "original"
    own = alike.shapes(rows)
    mirrored = alike.shapes(rows, mirrored=True)
    found = np.minimum(alike.distances(own[originals], own), alike.distances(own[originals], mirrored))
    same = numbers[originals][:, None] == numbers
    different = found[~same]
    others, reflected = alike.shapes(photographs), alike.shapes(photographs, mirrored=True)
    nearest = np.minimum(alike.distances(others, others), alike.distances(others, reflected))
    among = nearest[np.triu_indices(len(others), 1)]
    result: dict[str, Any] = {
        "originals": int(originals.sum()),
        "pairs_of_different": int(different.size),
        "nearest_different": round(float(different.min()), 3),
        "photographs": len(photographs),
        "pairs_of_photographs": int(among.size),
        "nearest_photographs": round(float(among.min()), 3),
        "quantile_1e-4": round(float(np.quantile(among, 1e-4)), 3),
        "limits": {},
    }
    for name, limit in {"strict": alike.STRICT, "usual": alike.LIMIT}.items():
        recalls = {
            edit: round(100 * float((found[:, kinds == edit][same[:, kinds == edit]] < limit).mean()), 1)
            for edit in EDITS
        }
        result["limits"][name] = {
            "limit": limit,
            "false_per_10000_pairs": round(1e4 * float((among < limit).mean()), 3),
            "recall": recalls,
            "mean_recall": round(float(np.mean(list(recalls.values()))), 1),
        }
    return result


def of_outliers(usual: Any, foreign: Any, kinds: Any) -> dict[str, Any]:
    """3 % foreign items at a time, each once, among usual pictures; what is fitted is fitted on the mixture."""
    from sklearn.metrics import roc_auc_score

    scores = {
        "archive outliers": outlying.strangeness,
        "Mahalanobis": mahalanobis,
        "bits per pixel": lambda rows: np.abs(np.log(rows["bpp"] / np.median(rows["bpp"]))),
    }
    order = np.random.default_rng(0).permutation(len(foreign))
    each = max(1, round(0.03 * len(usual) / 0.97))
    result: dict[str, Any] = {"usual": len(usual), "foreign": len(foreign), "at_a_time": each, "scores": {}}
    for name, score in scores.items():
        areas, precise, by_kind = [], [], {kind: [] for kind in FOREIGN}
        for start in range(0, len(order) - each + 1, each):
            chosen = order[start : start + each]
            values = score(np.concatenate([usual, foreign[chosen]]))
            labels = np.arange(len(values)) >= len(usual)
            areas.append(roc_auc_score(labels, values))
            precise.append(labels[np.argsort(-values)[:each]].mean())
            for k, number in enumerate(chosen):
                by_kind[kinds[number]].append((values[: len(usual)] < values[len(usual) + k]).mean())
        result["scores"][name] = {
            "auroc": round(100 * float(np.mean(areas)), 1),
            "precision_at_k": round(100 * float(np.mean(precise)), 1),
            "kinds": {kind: round(100 * float(np.mean(found)), 0) for kind, found in by_kind.items() if found},
        }
    return result


def mahalanobis(rows: Any) -> Any:
    """Distances in 40 components, and in what is left of them."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    values = StandardScaler().fit_transform(outlying.numbers(rows)).clip(-8, 8)
    model = PCA(40, whiten=True, svd_solver="full").fit(values)
    whitened = model.transform(values)
    rest = values - model.inverse_transform(whitened)
    return np.sqrt((whitened**2).sum(1) + 40 * (rest**2).mean(1))


def of_halves(rows: Any, numbers: Any) -> dict[str, Any]:
    """Whether one half of a picture finds the other among all halves."""
    texture, colour = alike.distances(*2 * [alike.textures(rows)]), alike.distances(*2 * [alike.colours(rows)])
    parts = {"colours and texture": colour + alike.TEXTURE * texture, "colours": colour, "texture": texture}
    result: dict[str, Any] = {"halves": len(rows), "scores": {}}
    for name, found in parts.items():
        found = found + np.diag(np.full(len(rows), np.inf))
        order = numbers[np.argsort(found, 1)] == numbers[:, None]
        result["scores"][name] = {
            "recall_at_1": round(100 * float(order[:, 0].mean()), 1),
            "recall_at_10": round(100 * float(order[:, :10].any(1).mean()), 1),
        }
    other = (numbers[:, None] == numbers) & ~np.eye(len(rows), dtype=bool)
    result["distance_of_other_half"] = round(float(np.median(parts["colours and texture"][other])), 2)
    result["distance_of_others"] = round(float(np.median(parts["colours and texture"][~other])), 2)
    return result


def tables(found: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown."""
    duplicates = found["duplicates"]
    yield "| limit | false pairs in 10,000 | " + " | ".join(EDITS) + " | mean |"
    yield "|---" * (3 + len(EDITS)) + "|"
    for name, one in duplicates["limits"].items():
        recalls = " | ".join(f"{one['recall'][edit]:.0f}" for edit in EDITS)
        yield f"| {one['limit']} ({name}) | {one['false_per_10000_pairs']:.2f} | {recalls} | {one['mean_recall']:.1f} |"
    yield ""
    yield "| score | AUROC | precision at k | " + " | ".join(FOREIGN) + " |"
    yield "|---" * (3 + len(FOREIGN)) + "|"
    for name, one in found["outliers"]["scores"].items():
        kinds = " | ".join(f"{one['kinds'].get(kind, float('nan')):.0f}" for kind in FOREIGN)
        yield f"| {name} | {one['auroc']:.0f} | {one['precision_at_k']:.0f} | {kinds} |"
    if "similar" not in found:
        return
    yield ""
    yield "| the other half, among " + str(found["similar"]["halves"] - 1) + " | first | among ten |"
    yield "|---|---|---|"
    for name, one in found["similar"]["scores"].items():
        yield f"| {name} | {one['recall_at_1']:.0f} % | {one['recall_at_10']:.0f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("cache", type=Path)
    making.add_argument("--photos", type=Path, nargs="+", required=True)
    making.add_argument("--kodak", type=Path, required=True)
    making.add_argument("--quality", type=int, default=QUALITY)
    making.add_argument("--seconds", type=float, default=100)
    measuring = commands.add_parser("measure")
    measuring.add_argument("cache", type=Path)
    measuring.add_argument("--photos", type=Path, nargs="+", required=True)
    measuring.add_argument("--kodak", type=Path, required=True)
    measuring.add_argument("-o", "--output", type=Path, required=True)
    showing = commands.add_parser("tables")
    showing.add_argument("results", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.cache, arguments.photos, arguments.kodak, arguments.quality, arguments.seconds)
    elif arguments.command == "measure":
        arguments.output.write_text(
            json.dumps(measure(arguments.cache, arguments.photos, arguments.kodak), indent=1) + "\n"
        )
    else:
        print("\n".join(tables(json.loads(arguments.results.read_text()))))


if __name__ == "__main__":
    main()
