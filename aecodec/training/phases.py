"""A run as data: its settings, and its phases: what each begins from, how its learning rate goes, what it sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aecodec.options import DEFAULT_EFFORT


@dataclass(frozen=True)
class Settings:
    """Of a run; saved in its checkpoints. Families and objectives have defaults of their own."""

    batch: int = 32  # patches a step, of all processes together
    patch: int = 128  # pixels each way, a multiple of 128
    half: float = 0.0  # share of the pictures that are seen at half size, so that fine detail is learnt
    muon_rate: float = 2e-3  # matrices; scaled to the root mean square of an Adam update
    muon_decay: float = 0.0  # of their weights, by the learning rate
    adam_rate: float = 5e-3  # the rest: gains and biases
    linear_factor: float = 0.01  # both linear paths learn this much slower: a run without it diverged
    warmup: int = 100  # steps
    search_effort: int = DEFAULT_EFFORT  # steps of the encoder's search for the latents that tuning sees
    cut: float = 0.25  # share of the steps in which patches are coded as two tiles, to learn what borders of tiles are
    ema: float = 0.999  # the average that is evaluated and shipped
    bfloat16: bool = True  # convolutions, where the processor has it; what needs more has more
    seed: int = 0


# SSIMULACRA2 and MS-SSIM see six and five scales, for which patches have to be of 176 pixels at least.
OBJECTIVES: Mapping[str, Mapping[str, int | float]] = {"psnr": {}, "visual": {"batch": 12, "patch": 256}}


@dataclass(frozen=True)
class Phase:
    """name: of its checkpoint and in the log. parent: the phase whose checkpoint it begins from, None for the first;
    its own is left as it is. from_average: whether it begins from the averaged weights. decays: whether the learning
    rate falls to 0, in a given number of steps; else it stays, for as long as there is compute. quantised: whether the
    network computes as the exact decoder will. searched: whether it sees latents that the encoder's search found,
    rounded as it rounds them, instead of noise; halfway the tables, whose prices decide how they are rounded, are
    counted anew, and what the family says is frozen does not learn. peak: of the learning rate, as a part of the run's.
    """

    name: str
    parent: str | None = None
    from_average: bool = False
    decays: bool = False
    quantised: bool = False
    searched: bool = False
    peak: float = 1.0


# Hagele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024: the trunk
# can be continued after any decay. "Soft then hard", Guo et al., ICML 2021: tuning.
TRUNK = Phase("trunk")
DECAY = Phase("decay", parent="trunk", decays=True, quantised=True)
TUNE = Phase("tune", parent="decay", from_average=True, decays=True, quantised=True, searched=True, peak=0.7)


@dataclass(frozen=True)
class Schedule:
    """A phase from its first step to its last, None: without end. factor: of the learning rates at a step."""

    phase: Phase
    first: int
    last: int | None
    warmup: int

    @property
    def middle(self) -> int | None:
        """The step at which the tables are counted anew."""
        return self.first + (self.last - self.first) // 2 if self.phase.searched and self.last is not None else None

    def factor(self, step: int) -> float:
        if not self.phase.decays or self.last is None:
            return min(1.0, (step + 1) / self.warmup)
        return self.phase.peak - self.phase.peak * (step - self.first) / (self.last - self.first)
