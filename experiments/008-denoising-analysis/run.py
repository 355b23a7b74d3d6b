"""A denoising analysis: noisy pictures in, clean ones out of the decoder that aec1-11 has anyway.

    python run.py train PHOTOS/*.tar [--steps 2400]   # writes analysis.pt in the current folder
    python run.py measure KODAK                       # writes result.json; other ways are in benchmarks/denoise.json

Only the analysis and the hyper analysis learn. Their files carry the id of aec1-11, which decodes them as released.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from aecodec import Codec, families
from aecodec.families.layouts import network_input
from aecodec.families.trainable import Groups
from aecodec.metrics import psnr
from aecodec.models import load_released, locate, read_weights
from aecodec.perceptual import score
from aecodec.training.data import Patches, rng_of
from aecodec.training.export import kinds_of
from aecodec.training.optimisers import Optimisers
from aecodec.training.phases import Settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))
from denoise import CROPS, KINDS, QUALITIES, noisy  # noqa: E402

MODEL, ANALYSIS = "aec1-11", Path("analysis.pt")
LEARNT = ("analysis.", "entropy_model.hyper_analysis.")
PATCHES, PEAK, TUNED = (
    8,
    0.3,
    0.75,
)  # a step; of the rates that new models learn with; share of the steps before rounding


def disturbed(clean: Tensor, rng: np.random.Generator) -> Tensor:
    """(B, 3, H, W) uint8, clean, to the same with noise: Gaussian of 0 to 30 levels, or of a sensor with a full well
    of 100 to 2,000 electrons at white; one patch in ten as it is."""
    found = []
    for patch in clean.numpy():
        kind = rng.random()
        if kind < 0.1:
            levels = patch.astype(float)
        elif kind < 0.55:
            levels = patch + rng.normal(0, rng.uniform(0, 30), patch.shape)
        else:
            well = np.exp(rng.uniform(np.log(100), np.log(2000)))
            electrons = rng.poisson((patch / 255) ** 2.2 * well) + rng.normal(0, 2, patch.shape)
            levels = 255 * np.maximum(electrons / well, 0) ** (1 / 2.2)
        found.append(levels.round().clip(0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(found))


class Disturbed(nn.Module):
    """An analysis that is given other pictures than those that the decoder is to give back."""

    def __init__(self, analysis: nn.Module):
        super().__init__()
        self.analysis, self.seen = analysis, torch.empty(0)

    def forward(self, _: Tensor) -> Tensor:
        latents: Tensor = self.analysis(network_input(self.seen))
        return latents


def train(photos: list[Path], steps: int) -> None:
    family = families.find_trainable("aec1")
    network = family.network_of(read_weights(*locate(MODEL))).to(memory_format=torch.channels_last)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(LEARNT))
    groups = Groups(*([p for p in part if p.requires_grad] for part in family.groups(network)))
    optimisers = Optimisers(groups, Settings())
    analysis = network.analysis
    network.analysis = Disturbed(analysis)
    released: Any = load_released(MODEL, "cpu").family
    patches = Patches(kinds_of(photos), PATCHES, 128, seed=8)
    encoder = family.encoder("psnr")
    torch.manual_seed(8)
    started, losses = time.process_time(), []
    for step in range(steps):
        passed = step / steps
        rng = rng_of(8, step)
        clean = patches[step]
        network.analysis.seen = disturbed(clean, rng)
        position = torch.tensor((rng.permutation(PATCHES) + rng.random(PATCHES)) / PATCHES, dtype=torch.float32)
        optimisers.set_rates(PEAK * (1 - passed))
        noise = passed < TUNED  # then rounded as the encoder does it
        with torch.autocast("cpu", torch.bfloat16):
            how = {"noise": noise, "prices": None if noise else released.prices, "encoder": encoder}
            measures = family.measure(network, network_input(clean), position, **how)
        loss = family.loss(network, measures, position).mean()
        loss.backward()
        optimisers.step()
        network.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 200 == 199:
            print(f"step {step + 1}, loss {np.mean(losses[-200:]):.4f}", flush=True)
    learnt = {"analysis": analysis.state_dict(), "hyper": network.entropy_model.hyper_analysis.state_dict()}
    torch.save({**learnt, "steps": steps, "minutes": (time.process_time() - started) / 60}, ANALYSIS)


def fine_tuned() -> tuple[Codec, int]:
    """The released codec with the analysis that was learnt."""
    state = torch.load(ANALYSIS, weights_only=True)
    codec = Codec("cpu", locate(MODEL)[0], threads=1)  # by its path: what is loaded by name is shared
    network: Any = codec.model.family.network
    network.analysis.load_state_dict(state["analysis"])
    network.entropy_model.hyper_analysis.load_state_dict(state["hyper"])
    return codec, state["steps"]


def measure(kodak: Path) -> None:
    released, (learnt, steps) = Codec("cpu", MODEL, threads=1), fine_tuned()
    rng = np.random.default_rng(5)  # noise is the same as in benchmarks/denoise.json, where the other ways are
    files = sorted(kodak.glob("*.png"))
    pictures = [np.asarray(Image.open(files[k]).convert("RGB").crop((200, 120, 456, 376))) for k in CROPS]
    found: dict[tuple[str, str, int], list[tuple[float, float, float]]] = defaultdict(list)
    for kind in (*KINDS, "none"):
        for number, clean in enumerate(pictures):
            seen = clean if kind == "none" else noisy(clean, kind, rng)
            error = float(np.sqrt(np.square(seen.astype(float) - clean).mean()))
            shots = [clean, seen]
            for quality in QUALITIES:
                ways = {"learnt": (learnt, None)}
                if kind == "none":
                    ways["plain"] = released, None
                elif quality == 65:
                    ways["--denoise SIGMA"] = released, error if isinstance(kind, str) else float(kind)
                for method, (codec, level) in ways.items():
                    data = codec.compress(seen, quality, effort=0, denoise=level)
                    shown = released.decompress(data, as_array=True)
                    bpp = 8 * len(data) / (clean.shape[0] * clean.shape[1])
                    found[str(kind), method, quality].append((bpp, psnr(clean, shown), score(clean, shown)))
                    if quality == 65:
                        shots.append(shown)
            Image.fromarray(np.concatenate(shots, 1)).save(ANALYSIS.parent / f"look-{kind}-{number}.png")
    rows = [[kind, method, quality, *np.mean(v, 0).round(3).tolist()] for (kind, method, quality), v in found.items()]
    told = {"steps": steps, "columns": ["noise", "method", "quality", "bpp", "psnr", "ssimulacra2"], "rows": rows}
    (HERE / "result.json").write_text(json.dumps(told).replace("], [", "],\n[") + "\n")
    print("\n".join(map(str, rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("photos", type=Path, nargs="+")
    training.add_argument("--steps", type=int, default=2400)
    commands.add_parser("measure").add_argument("kodak", type=Path)
    given = parser.parse_args()
    if given.command == "train":
        train(given.photos, given.steps)
    else:
        measure(given.kodak)


main()
