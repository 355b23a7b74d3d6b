"""Training of aec2: one flat loop, resumable to the bit on one machine.

    python -m aecodec.families.aec2.train RUN --photos FILE.tar ... --screens FOLDER [--steps N] [--decay N]

A run is a folder. `trunk.pt` is trained at a constant learning rate; `--decay N` goes from the trunk to a rate of zero
in N steps, in `decay.pt`, and leaves the trunk as it is (Hagele et al., NeurIPS 2024). `log.jsonl` has one line for
each evaluation.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.families.aec1.config import SCALE_COUNT, SCALE_MIN, SCALES_PER_OCTAVE, rate_distortion_lambda
from aecodec.families.aec1.objective import measure
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2
from aecodec.families.layouts import network_input
from aecodec.training.data import block_covariance, load_tiles, random_patches

# The lambdas at which runs are compared: those of aec1's positions 0, .2, .4, .6, .8 and 1.
VALIDATION_LAMBDAS = tuple(0.0005 * 600 ** (k / 5) for k in range(6))
VALIDATION_TILES = 32
VALIDATION_SIZE = 256


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; saved in its checkpoints."""

    batch: int = 16
    patch: int = 128  # pixels each way, a multiple of 128
    half_share: float = 0.125  # of patches from photographs at half size, so that fine detail is learnt
    screen_share: float = 0.125  # of patches from synthetic screen content
    muon_rate: float = 2e-3
    adam_rate: float = 5e-3  # gains and biases
    linear_factor: float = 0.1  # both linear paths learn this much slower than other parameters of Adam
    warmup: int = 200  # steps
    cut: float = 0.25  # share of the steps in which patches are coded as two tiles
    ema: float = 0.999
    seed: int = 0


@torch.no_grad()
def start(model: Aec2, covariance: Tensor) -> None:
    """Gains and scales of a transform coder; the linear paths become its Karhunen-Loeve transform; everything else is
    random, at normal variance.

    covariance: (768, 768) float64, see `training.data.block_covariance`.
    """
    config = model.config
    m = config.latent_channels
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for name, module in model.named_modules():
        if name.endswith(".second"):
            assert isinstance(module, nn.Conv2d)
            module.weight.mul_(0.3)  # the streams of residual blocks neither grow nor saturate
    values, vectors = torch.linalg.eigh(covariance)
    std = values.flip(0)[:m].clamp_min(1e-12).sqrt()
    basis = vectors.flip(1)[:, :m].T
    model.analysis.linear.weight.copy_(basis[:, :, None, None])
    model.synthesis.linear.weight.copy_(basis.T[:, :, None, None])
    model.analysis.latent_std.copy_(std)
    positions = torch.linspace(0, 1, config.rows, dtype=torch.float64)
    lambdas = rate_distortion_lambda(config, positions)
    step = (18 / (lambdas * 0.6931)).sqrt() / 255  # the optimum at high rate
    gain = (1 / step)[:, None].expand(-1, m)
    model.log_encoder_gain.copy_(gain.log())
    model.log_decoder_gain.copy_(-gain.log())
    scale = gain * std  # (rows, M), standard deviation in steps
    synthesis = model.synthesis
    synthesis.log_input_gain.copy_(-(1 + scale.square()).log() / 4)
    synthesis.log_output_gain.copy_(step.log()[:, None])
    # What the pixels are divided by before they meet the nonlinear path; beside it they shall be of normal size.
    synthesis.log_pixel_gain.copy_(
        (step.clamp_max(0.1) / 0.1).log()[:, None].expand(-1, synthesis.log_pixel_gain.shape[1])
    )
    index = SCALES_PER_OCTAVE * (scale / SCALE_MIN).log2() - 3
    model.scale_model.index_head.bias.copy_(index.clamp(0, SCALE_COUNT - 1) / 16)
    model.scale_model.index_head.weight.mul_(0.1)
    model.entropy_model.neighbours.weight.zero_()
    entropy = model.entropy_model
    for layer, size in (
        (model.analysis.last, 1.0),
        (synthesis.last, 0.1),
        (entropy.first_mean[-1], 0.1),
        (entropy.second_mean[-1], 0.1),
    ):
        layer.weight.mul_(size / math.sqrt(2))  # type: ignore[operator]


def muon_matrices(model: Aec2) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Pairs of (convolution kernel in channels_last memory, its matrix view (O, k*k*I)), which share their storage."""
    slow = {id(p) for p in _linear(model)} | {id(model.entropy_model.neighbours.weight)}
    pairs = []
    for parameter in model.parameters():
        if parameter.ndim == 4 and id(parameter) not in slow:
            matrix = nn.Parameter(parameter.detach().permute(0, 2, 3, 1).flatten(1))
            assert matrix.data_ptr() == parameter.data_ptr()
            pairs.append((parameter, matrix))
    return pairs


def _linear(model: Aec2) -> list[Tensor]:
    return [model.analysis.linear.weight, model.synthesis.linear.weight]


def build_optimisers(model: Aec2, matrices: list[tuple[nn.Parameter, nn.Parameter]]) -> list[torch.optim.Optimizer]:
    linear = _linear(model)
    taken = {id(p) for p, _ in matrices} | {id(p) for p in linear}
    rest = [p for p in model.parameters() if id(p) not in taken]
    muon = torch.optim.Muon([m for _, m in matrices], lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": linear}]
    return [muon, torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99))]


def set_rates(optimisers: list[torch.optim.Optimizer], settings: TrainingConfig, factor: float) -> None:
    muon, adam = optimisers
    muon.param_groups[0]["lr"] = settings.muon_rate * factor
    for group, slower in zip(adam.param_groups, (1.0, settings.linear_factor), strict=True):
        group["lr"] = settings.adam_rate * slower * factor


class Data:
    """Training and held-out tiles; the photographs decoded once, in a cache beside the run."""

    def __init__(self, photos: list[Path], screens: Path | None, cache: Path):
        if cache.exists():
            stored = torch.load(cache, map_location="cpu", weights_only=True, mmap=True)
        else:
            training, held_out, _ = load_tiles(photos)
            half = torch.cat([F.avg_pool2d(part.float(), 2).round_().to(torch.uint8) for part in training.split(64)])
            stored = {"photos": training, "half": half, "held_out": held_out}
            save_atomically(stored, cache)
        self.photos, self.half, self.held_out = (stored[key] for key in ("photos", "half", "held_out"))
        self.screens: Tensor | None = None
        self.screens_held_out: Tensor | None = None
        if screens is not None:
            self.screens, self.screens_held_out, _ = load_tiles([screens])

    def batch(self, settings: TrainingConfig, generator: torch.Generator) -> Tensor:
        """(batch, 192, patch/8, patch/8) float32 in -0.5..0.5, channels_last."""
        half = round(settings.half_share * settings.batch)
        screens = 0 if self.screens is None else round(settings.screen_share * settings.batch)
        parts = [random_patches(self.photos, settings.batch - half - screens, settings.patch, generator)]
        if half:
            parts.append(random_patches(self.half, half, settings.patch, generator))
        if self.screens is not None and screens:
            parts.append(random_patches(self.screens, screens, settings.patch, generator))
        x = torch.cat(parts)
        order = torch.randperm(len(x), generator=generator)  # so that every kind is seen at every rate
        return x[order].contiguous(memory_format=torch.channels_last)


def save_atomically(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


@torch.no_grad()
def validate(model: Aec2, tiles: Tensor) -> list[dict[str, float]]:
    """bpp, PSNR (dB, mean over tiles) and J = bpp + lambda * 255^2 * MSE at each of VALIDATION_LAMBDAS; rounded to the
    nearest, rate estimated. tiles: (N, 3, T, T) uint8; the middle 256x256 of at most 32 of them is coded."""
    edge = (tiles.shape[-1] - VALIDATION_SIZE) // 2
    middle = slice(edge, edge + VALIDATION_SIZE)
    x = network_input(tiles[:VALIDATION_TILES, :, middle, middle]).contiguous(memory_format=torch.channels_last)
    low, high = model.config.lambda_min, model.config.lambda_max
    rows = []
    for value in VALIDATION_LAMBDAS:
        parts = []
        for part in x.split(8):
            position = torch.full((len(part),), math.log(value / low) / math.log(high / low))
            with torch.autocast("cpu", torch.bfloat16):
                parts.append(measure(model, part, position, noise=False))  # type: ignore[arg-type]
        bpp, mse = torch.cat([p.bpp for p in parts]), torch.cat([p.mse for p in parts])
        rows.append(
            {
                "bpp": bpp.mean().item(),
                "psnr": (-10 * mse.log10()).mean().item(),
                "J": (bpp + value * 255**2 * mse).mean().item(),
            }
        )
    return rows


def train(
    run: Path,
    data: Data,
    *,
    steps: int | None,
    decay: int | None,
    minutes: float | None,
    config: ModelConfig,
    settings: TrainingConfig,
    report_every: int,
    save_minutes: float = 4.0,
) -> None:
    run.mkdir(parents=True, exist_ok=True)
    trunk, path = run / "trunk.pt", run / ("decay.pt" if decay else "trunk.pt")
    state: dict[str, Any] | None = None
    if trunk.exists():
        state = torch.load(trunk, map_location="cpu", weights_only=True)
    decaying: dict[str, int] | None = None
    if decay:
        assert state is not None, f"{trunk}: nothing to decay from"
        decaying = {"start": state["step"], "steps": decay}
        if path.exists():
            begun = torch.load(path, map_location="cpu", weights_only=True)
            state = (
                begun if begun["decay"]["steps"] == decay and begun["step"] < begun["decay"]["start"] + decay else state
            )
            decaying = state["decay"] or decaying
    if state is not None:
        config = ModelConfig.of(state["model_config"])
    generator = torch.Generator()
    generator.manual_seed(settings.seed)
    torch.manual_seed(settings.seed)

    model = Aec2(config)
    if state is None:
        start(model, block_covariance(data.photos, generator))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    matrices = muon_matrices(model)
    optimisers = build_optimisers(model, matrices)
    step, seconds, mean_norm, skips = 0, 0.0, 0.0, 0
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        step, seconds = state["step"], state["seconds"]
        mean_norm, skips = state["mean_norm"], state["skips"]
        print(f"resumed {path.name} at step {step}, {seconds / 60:.1f} minutes of computing so far", flush=True)
    parameters: list[Tensor] = list(model.parameters())
    averages: list[Tensor] = list(average.parameters())
    last_step = decaying["start"] + decaying["steps"] if decaying else steps

    def save() -> None:
        save_atomically(
            {
                "model_config": config.values(),
                "settings": asdict(settings),
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimisers": [o.state_dict() for o in optimisers],
                "generator": generator.get_state(),
                "rng": torch.get_rng_state(),
                "step": step,
                "seconds": seconds,
                "mean_norm": mean_norm,
                "skips": skips,
                "decay": decaying,
            },
            path,
        )

    def report(loss: float, rate: float) -> None:
        rows = validate(average, data.held_out)
        line = {
            "phase": path.stem,
            "step": step,
            "minutes": round(seconds / 60, 2),
            "batch": settings.batch,
            "patch": settings.patch,
            "rate": round(rate, 2),
            "loss": round(loss, 4),
            "skips": skips,
            "score": round(100 * sum(math.log(r["J"]) for r in rows) / len(rows), 3),
            "J": [round(r["J"], 4) for r in rows],
            "bpp": [round(r["bpp"], 4) for r in rows],
            "psnr": [round(r["psnr"], 3) for r in rows],
        }
        if data.screens_held_out is not None:
            screens = validate(average, data.screens_held_out)
            line["screens"] = round(100 * sum(math.log(r["J"]) for r in screens) / len(screens), 3)
        with (run / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps({k: v for k, v in line.items() if k not in ("bpp", "psnr")}), flush=True)

    interrupted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: interrupted.append(received))
    begun_at = saved_at = reported_at = time.monotonic()
    before, clock_started = seconds, time.process_time()
    losses, reported_step = torch.zeros(()), step
    while not interrupted and (last_step is None or step < last_step):
        if minutes is not None and time.monotonic() - begun_at > 60 * minutes:
            break
        factor = min(1.0, (step + 1) / settings.warmup)
        if decaying:
            factor = 1 - (step - decaying["start"]) / decaying["steps"]
        set_rates(optimisers, settings, factor)
        x = data.batch(settings, generator)
        # All rates in each step, one from each equal part of the range.
        position = (torch.arange(settings.batch) + torch.rand(settings.batch, generator=generator)) / settings.batch
        cut = 2 + int(torch.rand(()) < 0.5) if torch.rand(()) < settings.cut else None
        with torch.autocast("cpu", torch.bfloat16):
            measures = measure(model, x, position, noise=True, cut=cut)  # type: ignore[arg-type]
        lambdas = rate_distortion_lambda(config, position)
        # About 7 for a photograph at any lambda; its root, so that neither pages of text, of which J is ten times that
        # of a photograph, nor empty patches decide what is learnt.
        loss = ((measures.bpp + lambdas * 255**2 * measures.mse) * lambdas.rsqrt()).sqrt().mean()
        loss.backward()
        # A step whose gradient is ten times the usual is left out.
        norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        if math.isfinite(norm) and (norm < 10 * mean_norm or step < settings.warmup):
            mean_norm = norm if mean_norm == 0 else mean_norm + 0.02 * (norm - mean_norm)
            for kernel, matrix in matrices:
                matrix.grad = None if kernel.grad is None else kernel.grad.permute(0, 2, 3, 1).flatten(1)
            for optimiser in optimisers:
                optimiser.step()
            torch._foreach_lerp_(averages, parameters, 1 - min(settings.ema, (step + 1) / (step + 10)))
        else:
            skips += 1
        model.zero_grad(set_to_none=True)
        losses += loss.detach()
        step += 1
        seconds = before + (time.process_time() - clock_started) / torch.get_num_threads()
        if step % report_every == 0 or step == last_step:
            done, now = step - reported_step, time.monotonic()
            report(losses.item() / done, done * settings.batch / (now - reported_at))
            losses.zero_()
            reported_at, reported_step = time.monotonic(), step
        if time.monotonic() - saved_at > 60 * save_minutes:
            save()
            saved_at = time.monotonic()
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--screens", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded photographs")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--decay", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--report-every", type=int, default=500)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of TrainingConfig or ModelConfig")
    options = parser.parse_args()
    config, settings = ModelConfig(), TrainingConfig()
    for item in options.set:
        name, value = item.split("=")
        change = {name: json.loads(value)}
        change = {k: tuple(v) if isinstance(v, list) else v for k, v in change.items()}
        if hasattr(settings, name):
            settings = replace(settings, **change)
        else:
            config = replace(config, **change)
    data = Data(options.photos, options.screens, options.cache)
    train(
        options.run,
        data,
        steps=options.steps,
        decay=options.decay,
        minutes=options.minutes,
        config=config,
        settings=settings,
        report_every=options.report_every,
    )


if __name__ == "__main__":
    main()
