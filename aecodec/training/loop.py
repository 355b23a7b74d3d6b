"""The training loop: one flat function, resumable to the bit on one machine.

A run is a folder, with a checkpoint for each phase and a log. Its trunk is trained at a constant learning rate for as
long as there is compute; the others begin from it and leave it as it is. See `phases`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from aecodec import families, signals
from aecodec.errors import AecodecError, ModelError
from aecodec.families.layouts import network_input
from aecodec.families.trainable import Trainable
from aecodec.hardware import has_bfloat16
from aecodec.models import load as load_model
from aecodec.models import locate, read_weights
from aecodec.training import checkpoint, validation
from aecodec.training.data import Patches, block_covariance, held_out_crops, rng_of, stream
from aecodec.training.export import export, kinds_of
from aecodec.training.optimisers import Optimisers
from aecodec.training.phases import DECAY, OBJECTIVES, TRUNK, TUNE, Schedule, Settings
from aecodec.training.plot import plot_run
from aecodec.training.processes import joined

PATCH_UNIT = 128  # pixels: of two tiles
LOG = "log.jsonl"


class Loss(nn.Module):
    """What a step lowers: the mean of the family's loss over patches."""

    def __init__(self, family: Trainable, network: nn.Module, bfloat16: bool, how: Mapping[str, Any]):
        super().__init__()
        self.network, self._family, self._bfloat16, self._how = network, family, bfloat16, how

    def forward(self, patches: Tensor, position: Tensor, prices: Tensor | None, cut: int | None) -> Tensor:
        """patches: (B, 3, H, W) uint8. prices, cut: see `Trainable.measure`. Returns a scalar."""
        with torch.autocast(patches.device.type, torch.bfloat16, enabled=self._bfloat16):
            x = network_input(patches)
            measures = self._family.measure(self.network, x, position, prices=prices, cut=cut, **self._how)
        return self._family.loss(self.network, measures, position).mean()


def train(
    sources: Sequence[str | Path],
    run: str | Path,
    *,
    mix: Sequence[tuple[str | Path, float]] = (),
    family: str = families.OLDEST,
    network: str | Mapping[str, Any] = "base",
    objective: str | None = None,
    start: str | Path | None = None,
    changes: Mapping[str, int | float] | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    decay: int | None = None,
    tune: int | None = None,
    device: str = "cpu",
    workers: int | None = None,
    accumulate: int = 1,
    compiled: bool | None = None,
    report_every: int = 500,
    save_minutes: float = 5.0,
    log: Callable[[str], None] = tqdm.write,
) -> Path:
    """Trains the trunk of a run, or decays from it; resumes whatever the folder holds. Several processes, started by
    torchrun, share the work; what they train does not depend on their number but for sums in another order.

    Args:
        sources: pictures, see `sources.Pictures`.
        run: folder of the run, made if it is missing.
        mix: other sources, and the share of the patches that are to come from each.
        family, network, objective: of a new run: what is trained, its size, one of the family's `NETWORKS` or a config,
            and what for, one of `phases.OBJECTIVES`, None: what the start was trained for, or PSNR; a resumed run
            keeps its own.
        start: released model or weights file that a new run starts from, and whose family and network it has.
        changes: to the settings of the run, which are the defaults of `Settings`, of the family and of the objective,
            or, resumed, those saved.
        steps, minutes: stop the trunk at this step, or any phase after this time; both None: until interrupted.
        decay: decay from the trunk over this many steps instead.
        tune: after a decay, or from the weights of `start`, tune all but what the family has frozen over this many
            steps, on latents that the encoder's search found, rounded as it rounds them.
        device: see `processes.joined`.
        workers: processes that read pictures; None: on a GPU one for each core but one, otherwise none.
        accumulate: parts that the patches of a step are divided into, where memory is short.
        compiled: whether torch compiles the step; None: on a GPU, where no search is, whose shapes depend on the data.
    Returns the checkpoint that was written last. Raises AecodecError if there are no pictures, settings make no sense
    there is nothing to decay or tune from, or another process of the run ended, KeyboardInterrupt after SIGINT,
    SIGTERM or SIGHUP, when the checkpoint is written.
    """
    started = time.monotonic()
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    phase = TUNE if tune else DECAY if decay else TRUNK
    path, parent_path = run / f"{phase.name}.pt", run / f"{phase.parent or phase.name}.pt"

    state = checkpoint.load(parent_path)
    begun_at = {"start": state["step"] if state and phase.parent else 0, "steps": tune or decay or 0}
    if phase.parent:
        if state is None and not (phase is TUNE and start):
            raise AecodecError(f"{parent_path}: nothing to {phase.name} from")
        if state:
            state |= {"prices": None, "model": state["average"] if phase.from_average else state["model"]}
        own = checkpoint.load(path)
        if own is not None and own["begun_at"] == begun_at:
            state = own
    weights = read_weights(*locate(start)) if start is not None and state is None else None
    encoder_values = None
    if state is not None:
        family, objective, encoder_values = state["family"], state["objective"], state["encoder"]
    elif weights is not None:
        family = weights.metadata.get("family", families.OLDEST)
        encoder_values = json.loads(weights.metadata.get("encoder", "null"))
    objective = objective or ("visual" if (encoder_values or {}).get("objective") == "visual" else "psnr")
    trainable = families.find_trainable(family)

    if isinstance(network, str) and network not in trainable.NETWORKS:
        raise AecodecError(f"network {network!r}; {family} has {', '.join(trainable.NETWORKS)}")
    usual = {**trainable.SETTINGS, **OBJECTIVES[objective]} if state is None else state["settings"]
    try:
        settings = Settings(**{**usual, **(changes or {})})
    except TypeError as error:
        raise ModelError(f"{path}: not a checkpoint of this aecodec train ({error})") from error
    least = 2 * PATCH_UNIT if objective == "visual" else PATCH_UNIT
    if settings.patch % PATCH_UNIT or settings.patch < least:
        raise AecodecError(f"patches of {settings.patch} pixels; expected a multiple of {PATCH_UNIT}, at least {least}")
    schedule = Schedule(
        phase, begun_at["start"], begun_at["start"] + begun_at["steps"] if phase.decays else steps, settings.warmup
    )

    with joined(device) as processes:
        on = processes.device
        bfloat16 = settings.bfloat16 and has_bfloat16(on)
        log = log if processes.first else _silent
        if settings.batch % (processes.count * accumulate):
            raise AecodecError(
                f"{settings.batch} patches a step; expected a multiple of {processes.count * accumulate}"
            )
        kinds = kinds_of(sources, mix)
        share = settings.batch // processes.count
        mine = slice(processes.rank * share, (processes.rank + 1) * share)
        held_out = [held_out_crops(kind.pictures, validation.CROPS, validation.SIZE).to(on) for kind in kinds]
        log(f"{sum(len(kind.pictures) for kind in kinds)} pictures, {len(held_out[0])} held out to validate")

        torch.manual_seed(settings.seed)
        step, seconds, mean_norm, skips, prices = 0, 0.0, 0.0, 0, None
        try:
            encoder = trainable.encoder(objective, encoder_values)
            if state is not None:
                model = trainable.network(state["model_config"])
                model.load_state_dict(state["model"])
            elif weights is not None:
                model = trainable.network_of(weights)
            else:
                model = trainable.network(trainable.NETWORKS[network] if isinstance(network, str) else network)
                blocks = min(300_000, 1024 * len(kinds[0].pictures))
                first = Patches(kinds[:1], 64, PATCH_UNIT, settings.seed, lanes=1)
                trainable.start(model, block_covariance(iter(stream(first, 0, 0)), blocks))
            model.to(on, memory_format=torch.channels_last)
            trainable.quantise(model, phase.quantised)
            average = copy.deepcopy(model).requires_grad_(False)
            optimisers = Optimisers(trainable.groups(model), settings)
            if state is not None:
                average.load_state_dict(state["average"])
                optimisers.restore(state["optimisers"])
                step, seconds, mean_norm, skips, prices = (
                    state[name] for name in ("step", "seconds", "mean_norm", "skips", "prices")
                )
                log(f"resumed {path.name} at step {step}, {seconds / 60:.1f} minutes of training so far")
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            what = start or "config" if state is None else path
            raise ModelError(f"{what}: does not fit the family {family} ({error!r})") from error
        parameters: list[Tensor] = list(model.parameters())
        averages: list[Tensor] = list(average.parameters())
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (phase.searched and name.startswith(trainable.FROZEN)))

        def counted(source: Path) -> Tensor:
            """Prices of the tables that are counted with the network of a checkpoint, in a weights file beside it."""
            target = source.with_suffix(".safetensors")
            if processes.first:
                export(source, sources, target, mix=mix, log=log)
            processes.wait()
            return _prices(target)

        if phase.searched and prices is None:
            prices = counted(parent_path) if parent_path.exists() else _prices(locate(start or "")[0])
        prices = None if prices is None else prices.to(on)
        how = {"effort": settings.search_effort if phase.searched else 0, "encoder": encoder}
        loss_of: Any = Loss(trainable, model, bfloat16, {**how, "noise": not phase.searched})
        if compiled if compiled is not None else on.type == "cuda" and not phase.searched:
            loss_of.compile(dynamic=False)
        if processes.count > 1:
            loss_of = nn.parallel.DistributedDataParallel(loss_of, find_unused_parameters=phase.searched)

        def save() -> None:
            if processes.first:
                now = {
                    "family": family,
                    "objective": objective,
                    "encoder": asdict(encoder),
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
                checkpoint.save(path, now)

        def report(loss: float, speed: float) -> None:
            rows, *others = (
                validation.validate(trainable, average, crops, bfloat16, prices=prices, **how) for crops in held_out
            )
            facts = {
                "phase": phase.name,
                "step": step,
                "minutes": round(seconds / 60, 2),
                "batch": settings.batch,
                "patch": settings.patch,
                "rate": round(speed, 2),
                "loss": round(loss, 4),
                "skips": skips,
                "score": round(validation.score(rows), 3),
                "mix": [round(validation.score(other), 3) for other in others],
            }
            validation.append(run / LOG, facts, rows)
            line = f"step {step}  {seconds / 60:.1f} min  {speed:.1f} patches/s  loss {loss:.3f}  skipped {skips}"
            log(line + "".join(f"  [{r['bpp']:.3f} bpp {r['psnr']:.2f} dB J {r['J']:.4f}]" for r in rows))
            plot_run(run)

        if workers is None:
            workers = max(1, (os.cpu_count() or 2) - 1) // processes.count if on.type == "cuda" else 0
        patches = Patches(kinds, settings.batch, settings.patch, settings.seed, settings.half, mine)
        batches = iter(stream(patches, step, workers, on.type == "cuda"))
        before, clock_started, losses = seconds, _clock(on), torch.zeros((), device=on)
        saved_at = reported_at = time.monotonic()
        reported_step = step
        bar = tqdm(total=schedule.last, initial=step, unit="step", disable=None if processes.first else True)
        with signals.deferred() as interrupted, bar:
            while schedule.last is None or step < schedule.last:
                late = minutes is not None and time.monotonic() - started > 60 * minutes
                if processes.any(late or interrupted.is_set()):
                    break
                if step == schedule.middle:
                    save()
                    prices = counted(path).to(on)
                optimisers.set_rates(schedule.factor(step))

                x = next(batches).to(on, non_blocking=True)
                # All rates in each step, one from each equal part of the range.
                rng = rng_of(settings.seed, 3, step)
                places = (rng.permutation(settings.batch) + rng.random(settings.batch)) / settings.batch
                position = torch.tensor(places[mine], dtype=torch.float32).to(on, non_blocking=True)
                cut = int(rng.integers(2, 4)) if rng.random() < settings.cut else None
                for part, (some, at) in enumerate(zip(x.chunk(accumulate), position.chunk(accumulate), strict=True)):
                    torch.manual_seed(_seed(settings.seed, 4, step, processes.rank, part))  # of the noise
                    last = part == accumulate - 1 or processes.count == 1
                    with nullcontext() if last else loss_of.no_sync():
                        loss = loss_of(some, at, prices, cut) / accumulate
                        loss.backward()
                    losses += loss.detach()

                # A step whose gradient is ten times the usual is left out. Zero gradients would not do: all steps of
                # Muon have one size, so it would go on in the direction of its momentum.
                norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
                warming = phase.parent is None and step < settings.warmup
                if math.isfinite(norm) and (norm < 10 * mean_norm or mean_norm == 0 or warming):
                    mean_norm = norm if mean_norm == 0 else mean_norm + 0.02 * (norm - mean_norm)
                    optimisers.step()
                    torch._foreach_lerp_(averages, parameters, 1 - min(settings.ema, (step + 1) / (step + 10)))
                else:
                    skips += 1
                model.zero_grad(set_to_none=True)
                step += 1
                seconds = before + _clock(on) - clock_started
                bar.update()

                if step % report_every == 0 or step == schedule.last:
                    done = step - reported_step
                    if processes.first:
                        report(losses.item() / done, done * settings.batch / (time.monotonic() - reported_at))
                    losses.zero_()
                    reported_at, reported_step = time.monotonic(), step
                if time.monotonic() - saved_at > 60 * save_minutes:
                    save()
                    saved_at = time.monotonic()
        save()
        processes.wait()  # who goes on reads what was saved
    if interrupted.is_set():
        raise KeyboardInterrupt
    return path


def _prices(weights: Path) -> Tensor:
    """Bits of symbols, see `coding.tables.Tables.prices`."""
    family: Any = load_model(weights, "cpu").family
    prices: Tensor = family.prices
    return prices


def _seed(*numbers: int) -> int:
    return int(rng_of(*numbers).integers(2**63))


def _silent(line: str) -> None:
    """What others than the first process say."""


def _clock(device: torch.device) -> float:
    """Seconds of computing: on the CPU not those in which the process was stopped or waited for its cores."""
    return time.process_time() / torch.get_num_threads() if device.type == "cpu" else time.monotonic()
