"""What `compress --denoise` brings: PSNR and SSIMULACRA2 to the clean picture over rate, beside plain aecodec,
non-local means before it, AVIF, and BM3D where it is installed (pip install scikit-image PyWavelets bm3d).

    python benchmarks/denoise.py KODAK [--look FOLDER]
    python benchmarks/denoise.py KODAK --model aec1-visual-2 --own --kinds camera -o benchmarks/denoise-camera.json

KODAK is the folder with the 24 Kodak pictures; 8 crops of 256x256 of them. Noise is added in 8 bits: Gaussian,
Poisson-Gaussian as of a sensor (full well of 600 electrons at white, read noise of 2, gamma 2.2), and demosaiced as of
a camera (250 electrons, read noise of 3, bilinear, JPEG of quality 92). Prints a table, and writes
benchmarks/denoise.json. --look writes crops side by side. --own leaves out all but aecodec's own ways.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import convolve
from skimage.restoration import denoise_nl_means

from aecodec.codec import Codec
from aecodec.metrics import psnr
from aecodec.perceptual import score
from aecodec.picture import load
from aecodec.picture.noise import estimated_noise

Pixels = npt.NDArray[np.uint8]
CROPS = (0, 3, 6, 8, 14, 18, 21, 22)
QUALITIES = (20, 35, 50, 65, 80, 92)
AVIF_QUALITIES = (15, 30, 45, 60, 75, 88)
KINDS = (5, 15, 25, "sensor", "camera")
MOSAIC = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))  # row, column, colour
NEIGHBOURS = (((1, 2, 1), (2, 4, 2), (1, 2, 1)), ((0, 1, 0), (1, 4, 1), (0, 1, 0)), ((1, 2, 1), (2, 4, 2), (1, 2, 1)))


def camera(clean: Pixels, rng: np.random.Generator) -> Pixels:
    """As a camera at high sensitivity gives it: one colour a pixel, the others from its neighbours, so that noise is
    correlated; then a JPEG file."""
    electrons = rng.poisson((clean / 255.0) ** 2.2 * 250) + rng.normal(0, 3, clean.shape)
    seen = np.zeros(clean.shape)
    for row, column, colour in MOSAIC:
        seen[row::2, column::2, colour] = electrons[row::2, column::2, colour] / 250
    planes = [convolve(seen[..., k], np.array(NEIGHBOURS[k]) / 4, mode="mirror") for k in range(3)]
    levels = 255 * np.stack(planes, 2).clip(0, 1) ** (1 / 2.2)
    buffer = io.BytesIO()
    Image.fromarray(levels.round().astype(np.uint8)).save(buffer, "JPEG", quality=92, subsampling=0)
    return np.asarray(Image.open(buffer).convert("RGB"))


def noisy(clean: Pixels, kind: int | str, rng: np.random.Generator) -> Pixels:
    if kind == "camera":
        return camera(clean, rng)
    if kind == "sensor":
        light = (clean / 255.0) ** 2.2
        electrons = rng.poisson(light * 600) + rng.normal(0, 2, clean.shape)
        levels = 255 * np.maximum(electrons / 600, 0) ** (1 / 2.2)
    else:
        levels = clean + rng.normal(0, float(kind), clean.shape)
    return levels.round().clip(0, 255).astype(np.uint8)


def non_local_means(picture: Pixels, sigma: float) -> Pixels:
    found = denoise_nl_means(
        picture / 255,
        h=0.8 * sigma / 255,
        sigma=sigma / 255,
        patch_size=5,
        patch_distance=6,
        fast_mode=True,
        channel_axis=2,
    )
    return np.asarray((255 * found).round().clip(0, 255).astype(np.uint8))


def block_matching(picture: Pixels, sigma: float) -> Pixels:
    from bm3d import bm3d_rgb

    return np.asarray((255 * bm3d_rgb(picture / 255, sigma / 255)).round().clip(0, 255).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("--model", default="aec1-11")
    parser.add_argument("--look", type=Path)
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--kinds", nargs="+", default=list(map(str, KINDS)), choices=list(map(str, KINDS)))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    codec = Codec("cpu", given.model)
    rng = np.random.default_rng(5)
    files = sorted(given.kodak.glob("*.png"))
    pictures = [np.asarray(Image.open(files[k]).convert("RGB").crop((200, 120, 456, 376))) for k in CROPS]
    found: dict[tuple[str, str, int], list[tuple[float, float, float]]] = defaultdict(list)
    estimates: dict[str, list[float]] = defaultdict(list)

    def add(kind: int | str, method: str, quality: int, clean: Pixels, shown: Pixels, size: int) -> None:
        bpp = 8 * size / (clean.shape[0] * clean.shape[1])
        found[str(kind), method, quality].append((bpp, psnr(clean, shown), score(clean, shown)))

    kinds = [kind for kind in KINDS if str(kind) in given.kinds]
    for kind in kinds:
        for number, clean in enumerate(pictures):
            seen = noisy(clean, kind, rng)
            error = float(np.sqrt(np.square(seen.astype(float) - clean).mean()))
            sigma = error if isinstance(kind, str) else float(kind)
            guess = estimated_noise(load(seen))
            estimates[str(kind)].append(guess)
            add(kind, "noisy", 0, clean, seen, 3 * clean.shape[0] * clean.shape[1])
            filters: dict[str, Any] = {} if given.own else {"non-local means": non_local_means(seen, sigma)}
            if filters and find_spec("bm3d"):
                filters["BM3D"] = block_matching(seen, sigma)
            shots = {"noisy": seen, "clean": clean}
            for quality in QUALITIES:
                ways = {
                    "plain": (seen, None),
                    "--denoise SIGMA": (seen, sigma),
                    "--denoise auto": (seen, guess),
                    **{f"{name}, then plain": (picture, None) for name, picture in filters.items()},
                }
                for method, (picture, level) in ways.items():
                    data = codec.compress(picture, quality, effort=0, denoise=level)
                    shown = codec.decompress(data, as_array=True)
                    add(kind, method, quality, clean, shown, len(data))
                    if quality == 65:
                        shots[method] = shown
            for quality in () if given.own else AVIF_QUALITIES:
                buffer = io.BytesIO()
                Image.fromarray(seen).save(buffer, "AVIF", quality=quality, speed=6)
                add(kind, "AVIF", quality, clean, np.asarray(Image.open(buffer).convert("RGB")), len(buffer.getvalue()))
            if given.look:
                given.look.mkdir(parents=True, exist_ok=True)
                sheet = Image.fromarray(np.concatenate(list(shots.values()), 1))
                sheet.save(given.look / f"{kind}-{number}-{'-'.join(shots)}.png".replace(" ", "_").replace(",", ""))

    rows = []
    for (kind_, method, quality), values in found.items():
        bpp, db, ssimulacra2 = np.mean(values, 0).round(3)
        rows.append(
            {"noise": kind_, "method": method, "quality": quality, "bpp": bpp, "psnr": db, "score": ssimulacra2}
        )
    told = {"model": given.model, "estimated": {kind: np.round(all_, 1).tolist() for kind, all_ in estimates.items()}}
    given.output.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
    print("| noise | method | bpp: dB, SSIMULACRA2 at rising quality |\n|---|---|---|")
    for kind in kinds:
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if row["noise"] == str(kind) and row["method"] == method]
            if own:
                points = "; ".join(f"{row['bpp']:.2f}: {row['psnr']:.1f}, {row['score']:.0f}" for row in own)
                print(f"| {kind} | {method} | {points} |")


if __name__ == "__main__":
    main()
