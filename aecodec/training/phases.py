"""The phases of a run, as data: what each begins from, how its learning rate goes, what it learns from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """name: of its checkpoint and log. parent: the phase whose checkpoint it begins from, None for the first; its own
    is left as it is. from_average: whether it begins from the averaged weights. decays: whether the learning rate falls
    to 0, in a given number of steps; else it stays, for as long as there is compute. searched: whether it sees latents
    that the encoder's search found, rounded as it rounds them, instead of noise; halfway the tables, whose prices
    decide how they are rounded, are counted anew. peak: of the learning rate, as a part of the run's. frozen: names of
    what does not learn.
    """

    name: str
    parent: str | None = None
    from_average: bool = False
    decays: bool = False
    searched: bool = False
    peak: float = 1.0
    frozen: tuple[str, ...] = ()


# Hagele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024: the trunk
# can be continued after any decay. "Soft then hard", Guo et al., ICML 2021: tuning.
TRUNK = Phase("trunk")
DECAY = Phase("decay", parent="trunk", decays=True)
TUNE = Phase(
    "tune",
    parent="decay",
    from_average=True,
    decays=True,
    searched=True,
    peak=0.7,
    frozen=("log_encoder_gain", "entropy_model.hyper_analysis"),
)


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
