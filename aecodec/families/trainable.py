"""What training needs of a family of networks; only who trains imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from aecodec.families.base import Family, Weights


@dataclass(frozen=True)
class Measures:
    """What a network makes of a batch, differentiable.

    bpp: (B,), bits per pixel. mse: (B,), mean squared error, samples in 0..1. lost: (B,), the distortion that the
    encoder's objective counts, in bits per pixel; J is bpp + lost. squares: (B, 12, H/2, W/2), decoded pixels, about
    -0.5..0.5, see `layouts.regroup`. bits: of each latent ("y") and hyper latent ("z"), in their shapes; what hidden
    signs save is in bpp alone.
    """

    bpp: Tensor
    mse: Tensor
    lost: Tensor
    squares: Tensor
    bits: Mapping[str, Tensor]


class Groups(NamedTuple):
    """Parameters by how they learn. matrices: kernels in channels_last memory, by Muon. slow, rest: by Adam."""

    matrices: list[nn.Parameter]
    slow: list[nn.Parameter]
    rest: list[nn.Parameter]


class Trainable(Protocol):
    """What the module `training` of a family's package holds. Networks have a `config` with `values()`, as JSON has
    them; positions are qualities as networks know them, (B,) in 0..1."""

    SETTINGS: Mapping[str, int | float]  # where a new run departs from `training.phases.Settings`
    NETWORKS: Mapping[str, Mapping[str, Any]]  # configs by the names that people choose from
    FROZEN: tuple[str, ...]  # beginnings of names of parameters that do not learn from searched latents

    def network(self, config: Mapping[str, Any]) -> Any:
        """An untrained network. Raises KeyError, TypeError or ValueError if the config is none."""
        ...

    def network_of(self, weights: Weights) -> Any:
        """The network of a weights file. Raises ModelError if it is none of the family."""
        ...

    def start(self, network: Any, covariance: Tensor) -> None:
        """Begins with the Karhunen-Loeve transform. covariance: see `training.data.block_covariance`."""
        ...

    def quantise(self, network: Any, on: bool) -> None:
        """Whether the network computes with the weights and activations of an exact decoder, if the family has one."""
        ...

    def groups(self, network: Any) -> Groups: ...

    def encoder(self, objective: str, own: Mapping[str, Any] | None = None) -> Any:
        """What the encoder decides by, a frozen dataclass: these fields if they are for this objective, "psnr" or
        "visual", otherwise what is usual for it. Raises KeyError or TypeError if they are none."""
        ...

    def measure(
        self,
        network: Any,
        x: Tensor,
        position: Tensor,
        *,
        noise: bool,
        prices: Tensor | None = None,
        effort: int = 0,
        cut: int | None = None,
        encoder: Any,
    ) -> Measures:
        """See `families.hyperprior.objective.measure`."""
        ...

    def loss(self, network: Any, measures: Measures, position: Tensor) -> Tensor:
        """What training lowers the mean of, (B,): J, weighted so that no rate decides."""
        ...

    def position_of(self, network: Any, lambda_: float) -> float:
        """Where on the network's range of qualities lambda is this; runs are compared at equal ones."""
        ...

    def count_symbols(self, family: Family, tiles: Tensor) -> Sequence[Any]:
        """Histograms for `tensors_of`, counted on (N, 3, T, T) uint8."""
        ...

    def fit_tables(self, histograms: Sequence[Any] | None) -> tuple[Tensor, Tensor]:
        """Frequency tables and their reach, for `tensors_of`; None: before anything is counted."""
        ...

    def tensors_of(self, network: Any, frequencies: Tensor, reach: Tensor) -> Mapping[str, Any]:
        """The tensors of a weights file. Raises ModelError if the network cannot be exported exactly."""
        ...

    def metadata_of(self, config: Any, encoder: Any, provenance: Mapping[str, str] | None = None) -> dict[str, str]:
        """The metadata of a weights file. provenance: what the file says of its training."""
        ...
