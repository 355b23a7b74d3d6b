"""The training loop: one flat function, resumable to the bit on one machine.

A run is a folder, with a checkpoint and a log for each phase. Its trunk is trained at a constant learning rate for as
long as there is compute; the others begin from it and leave it as it is. See `phases`.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from aecodec.errors import AecodecError
from aecodec.families.aec1.config import HYPER_STRIDE, ModelConfig
from aecodec.families.aec1.family import Aec1Family
from aecodec.families.aec1.klt import start_from_klt
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.objective import loss_per_patch, measure
from aecodec.families.aec1.optimisers import Optimisers
from aecodec.families.aec1.weights import trainable
from aecodec.models import locate, read_weights
from aecodec.options import DEFAULT_EFFORT
from aecodec.training import checkpoint, validation
from aecodec.training.data import block_covariance, load_tiles, random_patches
from aecodec.training.export import export
from aecodec.training.phases import DECAY, TRUNK, TUNE, Schedule
from aecodec.training.plot import plot_run


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; saved in its checkpoints."""

    batch: int = 32
    patch: int = 128  # pixels each way, a multiple of 128
    muon_rate: float = 2e-3  # matrices; scaled to the root mean square of an Adam update
    adam_rate: float = 5e-3  # the rest: gains and biases
    linear_factor: float = 0.01  # both linear paths learn this much slower: a run without it diverged
    warmup: int = 100  # steps
    search_effort: int = DEFAULT_EFFORT  # steps of the encoder's search for the latents that tuning sees
    cut: float = 0.25  # share of the steps in which patches are coded as two tiles, to learn what borders of tiles are
    ema: float = 0.999  # the average that is evaluated and shipped
    seed: int = 0


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
    log: Callable[[str], None] = tqdm.write,
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
    phase = TUNE if tune else DECAY if decay else TRUNK
    path, parent_path = run / f"{phase.name}.pt", run / f"{phase.parent or phase.name}.pt"

    state = checkpoint.load(parent_path)
    prices: Tensor | None = None
    begun_at = {"start": state["step"] if state and phase.parent else 0, "steps": tune or decay or 0}
    if phase.parent:
        if state is None and not (phase is TUNE and start):
            raise AecodecError(f"{parent_path}: nothing to {phase.name} from")
        if state and phase.from_average:
            state["model"] = state["average"]
        own = checkpoint.load(path)
        if own is not None and own["begun_at"] == begun_at:
            state, prices = own, own["prices"]
    schedule_end = begun_at["start"] + begun_at["steps"] if phase.decays else steps

    training, held_out, skipped = load_tiles(sources)
    training, held_out = training.to(device), held_out.to(device)
    log(f"{len(training)} training tiles, {len(held_out)} held out, {skipped} pictures skipped")

    settings = TrainingConfig()
    if state is not None:
        settings = TrainingConfig(**state["settings"])
        model_config = ModelConfig.of(state["model_config"])
    settings = replace(settings, **(changes or {}))  # type: ignore[arg-type]
    if settings.patch % (2 * HYPER_STRIDE):  # of two tiles
        raise AecodecError(f"patches of {settings.patch} pixels; expected a multiple of {2 * HYPER_STRIDE}")
    schedule = Schedule(phase, begun_at["start"], schedule_end, settings.warmup)
    generator = torch.Generator(device)
    generator.manual_seed(settings.seed)
    torch.manual_seed(settings.seed)

    if state is None and start is not None:
        model = trainable(read_weights(*locate(start)))
    else:
        model = Aec1(model_config or ModelConfig())
        if state is None:
            start_from_klt(model, block_covariance(training, generator))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    optimisers = Optimisers(model)
    step, seconds, mean_norm, skips = 0, 0.0, 0.0, 0
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimisers.restore(state["optimisers"])
        checkpoint.restore_random(state, generator)
        step, seconds, mean_norm, skips = (state[name] for name in ("step", "seconds", "mean_norm", "skips"))
        log(f"resumed {path.name} at step {step}, {seconds / 60:.1f} minutes of training so far")
    parameters: list[Tensor] = list(model.parameters())
    averages: list[Tensor] = list(average.parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(phase.frozen))
    effort = settings.search_effort if phase.searched else 0
    if phase.searched:
        if prices is None:
            exported = start is None or parent_path.exists()
            weights = _export(parent_path, sources, log) if exported else locate(start)[0]  # type: ignore[arg-type]
            prices = Aec1Family(read_weights(weights), device).prices
        prices = prices.to(device)
    compiled = torch.compile(measure) if device != "cpu" else measure  # on the CPU it gains nothing

    def save() -> None:
        state = {
            "model_config": model.config.values(),
            "settings": asdict(settings),
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimisers": optimisers.state(),
            "step": step,
            "seconds": seconds,
            "mean_norm": mean_norm,
            "skips": skips,
            "begun_at": begun_at,
            "prices": prices,
        }
        checkpoint.save(path, state, generator)

    def report(loss: float, speed: float) -> None:
        rows = validation.validate(average, held_out, prices=prices, effort=effort)
        line = f"step {step}  {seconds / 60:.1f} min  {speed:.1f} patches/s  loss {loss:.3f}  skipped {skips}"
        log(line + "".join(f"  [{r['bpp']:.3f} bpp {r['psnr']:.2f} dB J {r['J']:.4f}]" for r in rows))
        validation.append(run / f"{path.stem}.csv", rows, step, seconds, speed, loss, skips)
        plot_run(run)

    started, before, losses = time.monotonic(), seconds, torch.zeros((), device=device)
    clock_started = _clock(device)
    saved_at, reported_at, reported_step = started, started, step
    bar = tqdm(total=schedule.last, initial=step, unit="step", disable=None)  # None: only on a terminal
    with _interruptible() as interrupted, bar:
        while not interrupted.is_set() and (schedule.last is None or step < schedule.last):
            if minutes is not None and time.monotonic() - started > 60 * minutes:
                break
            if step == schedule.middle:
                save()
                prices = Aec1Family(read_weights(_export(path, sources, log)), device).prices
            factor = schedule.factor(step)
            adam = settings.adam_rate * factor
            optimisers.set_rates(settings.muon_rate * factor, adam, settings.linear_factor * adam)

            x = random_patches(training, settings.batch, settings.patch, generator)
            # All rates in each step, one from each equal part of the range.
            within = torch.rand(settings.batch, device=device, generator=generator)
            position = (torch.arange(settings.batch, device=device) + within) / settings.batch
            cut = 2 + int(torch.rand(()) < 0.5) if torch.rand(()) < settings.cut else None
            with torch.autocast(x.device.type, torch.bfloat16):
                measures = compiled(model, x, position, noise=not phase.searched, prices=prices, effort=effort, cut=cut)
            loss = loss_per_patch(model, measures, position).mean()
            loss.backward()

            # A step whose gradient is ten times the usual is left out. Zero gradients would not do: all steps of Muon
            # have one size, so it would go on in the direction of its momentum.
            norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
            if math.isfinite(norm) and (norm < 10 * mean_norm or mean_norm == 0):
                mean_norm = norm if mean_norm == 0 else mean_norm + 0.02 * (norm - mean_norm)
                optimisers.step()
                torch._foreach_lerp_(averages, parameters, 1 - min(settings.ema, (step + 1) / (step + 10)))
            else:
                skips += 1
            model.zero_grad(set_to_none=True)
            losses += loss.detach()
            step += 1
            seconds = before + _clock(device) - clock_started
            bar.update()

            if step % report_every == 0 or step == schedule.last:
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


def _export(checkpoint: Path, sources: Sequence[str | Path], log: Callable[[str], None]) -> Path:
    """The weights file of a checkpoint, beside it."""
    path = checkpoint.with_suffix(".safetensors")
    export(checkpoint, sources, path, log=log)
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
