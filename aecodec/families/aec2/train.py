"""Training of aec2: one flat loop, resumable to the bit on one machine.

    python -m aecodec.families.aec2.train RUN --cache FILE --photos FILE.tar ... --screens FOLDER [--decay N]

A run is a folder. `trunk.pt` is trained at a constant learning rate; `--decay N` goes from the trunk to a rate of zero
in N steps, in `decay.pt`, with the weights and activations of the exact decoder, and leaves the trunk as it is (Hagele
et al., NeurIPS 2024). `log.jsonl` has one line for each evaluation.
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

from aecodec.families.aec1.config import rate_distortion_lambda
from aecodec.families.aec1.objective import measure
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.data import Data
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.start import start
from aecodec.families.aec2.weights import Parts, network_of
from aecodec.families.layouts import network_input
from aecodec.models import read_weights
from aecodec.training.data import block_covariance

# The lambdas at which runs are compared: those of aec1's positions 0, .2, .4, .6, .8 and 1.
VALIDATION_LAMBDAS = tuple(0.0005 * 600 ** (k / 5) for k in range(6))
VALIDATION_TILES = 32
VALIDATION_SIZE = 256


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; saved in its checkpoints."""

    batch: int = 16
    patch: int = 128  # pixels each way, a multiple of 128
    muon_rate: float = 1e-3
    muon_decay: float = 0.05  # of weights, by the learning rate: without it streams grow until they saturate
    adam_rate: float = 5e-3  # gains and biases
    linear_factor: float = 0.1  # both linear paths learn this much slower than other parameters of Adam
    warmup: int = 200  # steps
    cut: float = 0.25  # share of the steps in which patches are coded as two tiles
    ema: float = 0.999
    seed: int = 0


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


def build_optimisers(
    model: Aec2, matrices: list[tuple[nn.Parameter, nn.Parameter]], settings: TrainingConfig
) -> list[torch.optim.Optimizer]:
    linear = _linear(model)
    taken = {id(p) for p, _ in matrices} | {id(p) for p in linear}
    rest = [p for p in model.parameters() if id(p) not in taken]
    muon = torch.optim.Muon(
        [m for _, m in matrices], lr=0.0, weight_decay=settings.muon_decay, adjust_lr_fn="match_rms_adamw"
    )
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": linear}]
    return [muon, torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99))]


def set_rates(optimisers: list[torch.optim.Optimizer], settings: TrainingConfig, factor: float) -> None:
    muon, adam = optimisers
    muon.param_groups[0]["lr"] = settings.muon_rate * factor
    for group, slower in zip(adam.param_groups, (1.0, settings.linear_factor), strict=True):
        group["lr"] = settings.adam_rate * slower * factor


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
            position = torch.full((len(part),), math.log(value / low) / math.log(high / low), device=x.device)
            with torch.autocast(x.device.type, torch.bfloat16):
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
    begin: Path | None = None,
    save_minutes: float = 4.0,
) -> None:
    """Trains the trunk of a run, or decays from it, on the device of the data; resumes whatever the folder holds.

    steps, minutes: stop at this step, or after this time; both None: until interrupted. decay: decay from the trunk
    over this many steps instead. begin: weights file that a new run goes on from, with new optimisers.
    """
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
    device = data.photos.device
    generator = torch.Generator(device)
    generator.manual_seed(settings.seed)
    torch.manual_seed(settings.seed)

    step, seconds, mean_norm, skips = 0, 0.0, 0.0, 0  # mean_norm: of gradients
    if state is None and begin is not None:
        weights = read_weights(begin)
        model = network_of(Parts(weights))
        config, step = model.config, int(weights.metadata["step"])
        seconds = 60 * float(weights.metadata["training_minutes"])
    else:
        model = Aec2(config)
        if state is None:
            start(model, block_covariance(data.photos, generator))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.quantise(decaying is not None)
    average = copy.deepcopy(model).requires_grad_(False)
    matrices = muon_matrices(model)
    optimisers = build_optimisers(model, matrices, settings)
    warm = step + settings.warmup  # the step from which on learning rates are whole
    measured = torch.compile(measure) if device.type == "cuda" else measure  # on the CPU it gains nothing
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        if device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"])
        step, seconds = state["step"], state["seconds"]
        mean_norm, skips, warm = state["mean_norm"], state["skips"], state["warm"]
        print(f"resumed {path.name} at step {step}, {seconds / 60:.1f} minutes of computing so far", flush=True)

    def clock() -> float:
        """Seconds of computing: on the CPU not those in which the process waited for its cores."""
        return time.monotonic() if device.type == "cuda" else time.process_time() / torch.get_num_threads()

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
                "cuda_rng": torch.cuda.get_rng_state() if device.type == "cuda" else None,
                "step": step,
                "seconds": seconds,
                "mean_norm": mean_norm,
                "skips": skips,
                "warm": warm,
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
    before, clock_started = seconds, clock()
    losses, reported_step = torch.zeros((), device=device), step
    while not interrupted and (last_step is None or step < last_step):
        if minutes is not None and time.monotonic() - begun_at > 60 * minutes:
            break
        factor = min(1.0, 1 - (warm - step - 1) / settings.warmup)
        if decaying:
            factor = 1 - (step - decaying["start"]) / decaying["steps"]
        set_rates(optimisers, settings, factor)
        x = data.batch(settings.batch, settings.patch, generator)
        # All rates in each step, one from each equal part of the range.
        within = torch.rand(settings.batch, device=device, generator=generator)
        position = (torch.arange(settings.batch, device=device) + within) / settings.batch
        cut = 2 + int(torch.rand(()) < 0.5) if torch.rand(()) < settings.cut else None
        with torch.autocast(device.type, torch.bfloat16):
            measures = measured(model, x, position, noise=True, cut=cut)  # type: ignore[arg-type]
        lambdas = rate_distortion_lambda(config, position)
        # About 7 for a photograph at any lambda; its root, so that neither pages of text, of which J is ten times that
        # of a photograph, nor empty patches decide what is learnt.
        loss = ((measures.bpp + lambdas * 255**2 * measures.mse) * lambdas.rsqrt()).sqrt().mean()
        loss.backward()
        # A step whose gradient is ten times the usual is left out.
        norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        if math.isfinite(norm) and (norm < 10 * mean_norm or step < warm):
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
        seconds = before + clock() - clock_started
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
    parser.add_argument("--start", type=Path, help="weights file that a new run goes on from")
    parser.add_argument("--device", default="cpu")
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
    data = Data(options.photos, options.screens, options.cache, options.device)
    train(
        options.run,
        data,
        steps=options.steps,
        decay=options.decay,
        minutes=options.minutes,
        config=config,
        settings=settings,
        report_every=options.report_every,
        begin=options.start,
    )


if __name__ == "__main__":
    main()
