"""Muon for matrices, Adam for the rest, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from aecodec.families.trainable import Groups
from aecodec.training.phases import Settings


class Optimisers:
    """All learning rates are 0 until `set_rates`."""

    def __init__(self, groups: Groups, settings: Settings):
        self._settings = settings
        self.matrices = [(kernel, matrix_of(kernel)) for kernel in groups.matrices]
        matrices = [matrix for _, matrix in self.matrices]
        decay = settings.muon_decay
        self._muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        self._adam = torch.optim.Adam([{"params": groups.rest}, {"params": groups.slow}], lr=0.0, betas=(0.9, 0.99))

    def set_rates(self, factor: float) -> None:
        """factor: of the settings' learning rates."""
        adam = self._settings.adam_rate * factor
        self._muon.param_groups[0]["lr"] = self._settings.muon_rate * factor
        self._adam.param_groups[0]["lr"] = adam
        self._adam.param_groups[1]["lr"] = self._settings.linear_factor * adam

    def step(self) -> None:
        """Moves the parameters by their gradients."""
        for kernel, matrix in self.matrices:
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


def matrix_of(kernel: nn.Parameter) -> nn.Parameter:
    """(O, k*k*I), a view of a kernel in channels_last memory, since Muon takes matrices only."""
    matrix = nn.Parameter(kernel.detach().permute(0, 2, 3, 1).flatten(1))
    assert matrix.data_ptr() == kernel.data_ptr()
    return matrix
