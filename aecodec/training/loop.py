"""The training loop: one flat function, resumable to the bit on one machine.

A run is a folder. Its trunk (`trunk.pt`) is trained at a constant learning rate for as long as there is compute;
`decay` starts from a trunk, lowers the learning rate to zero in `decay.pt` and leaves the trunk as it is, so that the
trunk can be continued later (Hagele et al., "Scaling laws and compute-optimal training beyond fixed training
durations", NeurIPS 2024).
"""

from __future__ import annotations

import copy
import csv
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from aecodec.errors import AecodecError
from aecodec.families.aec1.config import HYPER_STRIDE, ModelConfig, rate_distortion_lambda
from aecodec.families.aec1.family import Aec1Family
from aecodec.families.aec1.klt import start_from_klt
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.objective import loss_per_patch, measure
from aecodec.families.aec1.weights import trainable
from aecodec.families.layouts import network_input
from aecodec.models import locate, read_weights
from aecodec.options import DEFAULT_EFFORT
from aecodec.training.data import block_covariance, load_tiles, random_patches
from aecodec.training.export import export
from aecodec.training.plot import plot_run

# "large" is for a run on a GPU: 79 instead of 34 kMAC per pixel, encoding and decoding together.
BASE = ModelConfig()
NETWORKS = {"base": BASE, "large": replace(BASE, channels_8=192, blocks_8=2, filter_channels=48)}
VALIDATION_POSITIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
VALIDATION_TILES = 32
VALIDATION_SIZE = 256


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; saved in its checkpoints."""

    batch: int = 32
    patch: int = 128  # pixels each way, a multiple of 128
    muon_rate: float = 2e-3  # matrices; scaled to the root mean square of an Adam update
    adam_rate: float = 5e-3  # the rest: gains and biases
    linear_factor: float = 0.01  # both linear paths learn this much slower: a run without it diverged
    warmup: int = 100  # steps
    tune_factor: float = 0.7  # of the learning rates, at the start of tuning
    tune_effort: int = DEFAULT_EFFORT  # steps of the encoder's search for the latents that tuning sees
    cut: float = 0.25  # share of the steps in which patches are coded as two tiles, to learn what borders of tiles are
    ema: float = 0.999  # the average that is evaluated and shipped
    seed: int = 0


def muon_matrices(model: Aec1) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Pairs of (convolution kernel, its matrix view (O, k*k*I)) for the optimiser, which takes matrices only.

    The kernels must be in channels_last memory; then the matrix shares their storage.
    """
    slow = {model.analysis.linear.weight, model.synthesis.linear.weight, model.entropy_model.neighbours.weight}
    pairs = []
    for parameter in model.parameters():
        if parameter.ndim == 4 and parameter not in slow:
            matrix = nn.Parameter(parameter.detach().permute(0, 2, 3, 1).flatten(1))
            assert matrix.data_ptr() == parameter.data_ptr()
            pairs.append((parameter, matrix))
    return pairs


def build_optimisers(model: Aec1, matrices: list[tuple[nn.Parameter, nn.Parameter]]) -> list[torch.optim.Optimizer]:
    linear: list[Tensor] = [model.analysis.linear.weight, model.synthesis.linear.weight]
    taken = {id(p) for p, _ in matrices} | {id(p) for p in linear}
    rest: list[Tensor] = [p for p in model.parameters() if id(p) not in taken]
    muon = torch.optim.Muon([m for _, m in matrices], lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.Adam([{"params": rest}, {"params": linear}], lr=0.0, betas=(0.9, 0.99))
    return [muon, adam]


def set_rates(optimisers: Sequence[torch.optim.Optimizer], settings: TrainingConfig, factor: float) -> None:
    muon, adam = optimisers
    muon.param_groups[0]["lr"] = settings.muon_rate * factor
    adam.param_groups[0]["lr"] = settings.adam_rate * factor
    adam.param_groups[1]["lr"] = settings.adam_rate * settings.linear_factor * factor


def save_atomically(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


@torch.no_grad()
def validate(
    model: Aec1, tiles: Tensor, *, quantise: bool = True, prices: Tensor | None = None, effort: int = 0
) -> list[dict[str, float]]:
    """bpp, PSNR (dB, mean over tiles) and J = bpp + lambda * 255^2 * MSE at each of VALIDATION_POSITIONS.

    tiles: (N, 3, T, T) uint8; the middle 256x256 of at most 32 of them is coded.
    """
    edge = (tiles.shape[-1] - VALIDATION_SIZE) // 2
    middle = slice(edge, edge + VALIDATION_SIZE)
    x = network_input(tiles[:VALIDATION_TILES, :, middle, middle])
    rows = []
    for at in VALIDATION_POSITIONS:
        position = torch.full((len(x),), at, device=x.device)
        with torch.autocast(x.device.type, torch.bfloat16):
            m = measure(model, x, position, noise=False, quantise=quantise, prices=prices, effort=effort)
        lambdas = rate_distortion_lambda(model.config, position)
        rows.append(
            {
                "bpp": m.bpp.mean().item(),
                "psnr": (-10 * m.mse.log10()).mean().item(),
                "J": (m.bpp + lambdas * 255**2 * m.mse).mean().item(),
            }
        )
    return rows


def train(
    sources: Sequence[str | Path],
    run: str | Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    decay: int | None = None,
    tune: int | None = None,
    device: str = "cpu",
    model_config: ModelConfig | None = None,
    start: str | Path | None = None,
    changes: Mapping[str, int | float] | None = None,
    report_every: int = 500,
    save_minutes: float = 5.0,
    say: Callable[[str], None] = tqdm.write,
) -> Path:
    """Trains the trunk of a run, or decays from it; resumes whatever the folder holds.

    Args:
        sources: folders or tar files of pictures.
        run: folder of the run, made if it is missing.
        steps, minutes: stop the trunk at this step, or after this time; both None: until interrupted.
        decay: decay from the trunk over this many steps instead.
        tune: after a decay, or from the weights of `start`, tune all but gains and hyper analysis over this many steps,
            on latents that the encoder's search found, rounded as it rounds them ("soft then hard", Guo et al., ICML
            2021). Half way the tables, whose prices decide how they are rounded, are counted anew.
        model_config: of a new run; a resumed run keeps its own.
        start: released model or weights file that a new run starts from, and whose network it has.
        changes: to the settings of the run, which are the defaults of `TrainingConfig` or, resumed, those saved.
    Returns the checkpoint that was written last. Raises AecodecError if the sources hold no pictures, the patches are
    no multiple of 128 pixels or there is nothing to decay or tune from, KeyboardInterrupt after SIGINT or SIGTERM, when
    the checkpoint is written.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    phase, parent = ("tune", "decay") if tune else ("decay", "trunk") if decay else ("trunk", "trunk")
    path, parent_path = run / f"{phase}.pt", run / f"{parent}.pt"

    state: dict[str, Any] | None = None
    if parent_path.exists():
        state = torch.load(parent_path, map_location="cpu", weights_only=True)
    decaying: dict[str, int] | None = None
    prices: Tensor | None = None
    if phase != parent:
        if state is None and not (tune and start):
            raise AecodecError(f"{parent_path}: nothing to {phase} from")
        decaying = {"start": state["step"] if state else 0, "steps": tune or decay or 0}
        if tune and state:
            state["model"] = state["average"]
        if path.exists():
            begun = torch.load(path, map_location="cpu", weights_only=True)
            if begun["decay"] == decaying:
                state, prices = begun, begun.get("prices")

    training, held_out, skipped = load_tiles(sources)
    training, held_out = training.to(device), held_out.to(device)
    say(f"{len(training)} training tiles, {len(held_out)} held out, {skipped} pictures skipped")

    settings = TrainingConfig()
    if state is not None:
        settings = TrainingConfig(**state["settings"])
        model_config = ModelConfig.of(state["model_config"])
    settings = replace(settings, **(changes or {}))  # type: ignore[arg-type]
    if settings.patch % (2 * HYPER_STRIDE):  # of two tiles
        raise AecodecError(f"patches of {settings.patch} pixels; expected a multiple of {2 * HYPER_STRIDE}")
    generator = torch.Generator(device)
    generator.manual_seed(settings.seed)
    torch.manual_seed(settings.seed)

    if state is None and start is not None:
        model = trainable(read_weights(*locate(start)))
    else:
        model = Aec1(model_config or NETWORKS["base"])
        if state is None:
            start_from_klt(model, block_covariance(training, generator))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    matrices = muon_matrices(model)
    optimisers = build_optimisers(model, matrices)
    step, seconds = 0, 0.0
    mean_norm, skips = 0.0, 0
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and device != "cpu":
            torch.cuda.set_rng_state(state["cuda_rng"])
        step, seconds = state["step"], state["seconds"]
        mean_norm, skips = float(state["mean_norm"]), int(state["skips"])  # tensors in older checkpoints
        say(f"resumed {path.name} at step {step}, {seconds / 60:.1f} minutes of training so far")
    parameters: list[Tensor] = list(model.parameters())
    averages: list[Tensor] = list(average.parameters())
    last_step = decaying["start"] + decaying["steps"] if decaying else steps
    peak, effort, recount_at = 1.0, 0, None
    if tune and decaying:
        peak, effort = settings.tune_factor, settings.tune_effort
        recount_at = decaying["start"] + decaying["steps"] // 2
        model.log_encoder_gain.requires_grad_(False)
        model.entropy_model.hyper_analysis.requires_grad_(False)
        if prices is None:
            if start is None or parent_path.exists():
                weights = _export(parent_path, sources, say)
            else:
                weights, _ = locate(start)
            prices = Aec1Family(read_weights(weights), device).prices
        prices = prices.to(device)
    compiled = torch.compile(measure) if device != "cpu" else measure  # on the CPU it gains nothing

    def save() -> None:
        save_atomically(
            {
                "model_config": model.config.values(),
                "settings": asdict(settings),
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimisers": [o.state_dict() for o in optimisers],
                "generator": generator.get_state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state() if device != "cpu" else None,
                "step": step,
                "seconds": seconds,
                "mean_norm": mean_norm,
                "skips": skips,
                "decay": decaying,
                "prices": prices,
            },
            path,
        )

    def report(loss: float, rate: float) -> None:
        rows = validate(average, held_out, prices=prices, effort=effort)
        line = f"step {step}  {seconds / 60:.1f} min  {rate:.1f} patches/s  loss {loss:.3f}  skipped {skips}"
        say(line + "".join(f"  [{r['bpp']:.3f} bpp {r['psnr']:.2f} dB J {r['J']:.4f}]" for r in rows))
        log = run / f"{path.stem}.csv"
        fresh = not log.exists()
        with log.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                names = [f"{key}@{at}" for at in VALIDATION_POSITIONS for key in ("bpp", "psnr", "J")]
                writer.writerow(["step", "seconds", "patches_per_second", "loss", "skipped", *names])
            values = [f"{r[key]:.5f}" for r in rows for key in ("bpp", "psnr", "J")]
            writer.writerow([step, f"{seconds:.1f}", f"{rate:.2f}", f"{loss:.5f}", skips, *values])
        plot_run(run)

    started, before, losses = time.monotonic(), seconds, torch.zeros((), device=device)
    clock_started = _clock(device)
    saved_at, reported_at, reported_step = started, started, step
    bar = tqdm(total=last_step, initial=step, unit="step", disable=None)  # None: only on a terminal
    with _interruptible() as interrupted, bar:
        while not interrupted.is_set() and (last_step is None or step < last_step):
            if minutes is not None and time.monotonic() - started > 60 * minutes:
                break
            if step == recount_at:
                save()
                prices = Aec1Family(read_weights(_export(path, sources, say)), device).prices
            factor = min(1.0, (step + 1) / settings.warmup)
            if decaying:
                factor = peak - peak * (step - decaying["start"]) / decaying["steps"]
            set_rates(optimisers, settings, factor)

            x = random_patches(training, settings.batch, settings.patch, generator)
            # All rates in each step, one from each equal part of the range.
            within = torch.rand(settings.batch, device=device, generator=generator)
            position = (torch.arange(settings.batch, device=device) + within) / settings.batch
            cut = 2 + int(torch.rand(()) < 0.5) if torch.rand(()) < settings.cut else None
            with torch.autocast(x.device.type, torch.bfloat16):
                measures = compiled(model, x, position, noise=not tune, prices=prices, effort=effort, cut=cut)
            loss = loss_per_patch(model, measures, position).mean()
            loss.backward()

            # A step whose gradient is ten times the usual is left out. Zero gradients would not do: all steps of Muon
            # have one size, so it would go on in the direction of its momentum.
            norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
            if math.isfinite(norm) and (norm < 10 * mean_norm or mean_norm == 0):
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
            seconds = before + _clock(device) - clock_started
            bar.update()

            if step % report_every == 0 or step == last_step:
                now = time.monotonic()
                done = step - reported_step
                report(losses.item() / done, done * settings.batch / (now - reported_at))
                losses.zero_()
                reported_at, reported_step = time.monotonic(), step
            if time.monotonic() - saved_at > 60 * save_minutes:
                save()
                saved_at = time.monotonic()
    save()
    if interrupted.is_set():
        raise KeyboardInterrupt
    return path


def _export(checkpoint: Path, sources: Sequence[str | Path], say: Callable[[str], None]) -> Path:
    """The weights file of a checkpoint, beside it."""
    path = checkpoint.with_suffix(".safetensors")
    export(checkpoint, sources, path, say=say)
    return path


def _clock(device: str) -> float:
    """Seconds of computing: on the CPU not those in which the process was stopped or waited for its cores."""
    return time.process_time() / torch.get_num_threads() if device == "cpu" else time.monotonic()


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run stops between two steps and its checkpoint is whole."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
