"""Which parameters learn how: groups of parameters and the optimisers that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aecodec.families.aec1.network import Aec1


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


class Optimisers:
    """Muon for the matrices, Adam for the rest, as one. All learning rates are 0 until `set_rates`."""

    def __init__(self, model: Aec1):
        self._matrices = muon_matrices(model)
        linear: list[Tensor] = [model.analysis.linear.weight, model.synthesis.linear.weight]
        taken = {id(kernel) for kernel, _ in self._matrices} | {id(parameter) for parameter in linear}
        rest: list[Tensor] = [parameter for parameter in model.parameters() if id(parameter) not in taken]
        matrices = [matrix for _, matrix in self._matrices]
        self._muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self._adam = torch.optim.Adam([{"params": rest}, {"params": linear}], lr=0.0, betas=(0.9, 0.99))

    def set_rates(self, muon: float, adam: float, linear: float) -> None:
        """Learning rates of the matrices, of both linear paths, and of the rest, which is Adam's."""
        self._muon.param_groups[0]["lr"] = muon
        self._adam.param_groups[0]["lr"] = adam
        self._adam.param_groups[1]["lr"] = linear

    def step(self) -> None:
        """Moves the parameters by their gradients."""
        for kernel, matrix in self._matrices:
            matrix.grad = None if kernel.grad is None else kernel.grad.permute(0, 2, 3, 1).flatten(1)
        self._muon.step()
        self._adam.step()

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [self._muon.state_dict(), self._adam.state_dict()]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """What `state` gave."""
        self._muon.load_state_dict(state[0])
        self._adam.load_state_dict(state[1])
