"""Small models of CompressAI for tests, trained as its example trains: its loss, both of its optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compressai.losses import RateDistortionLoss
from compressai.zoo.image import model_architectures
from torch import Tensor

RATE = 1e-2  # decays to nothing
STEPS, BATCH, SIDE = 300, 4, 64


def small(architecture: str, channels: int = 12) -> Any:
    torch.manual_seed(0)
    kind = {name.replace("_", "-"): made for name, made in model_architectures.items()}[architecture]
    return kind(channels) if architecture.startswith("cheng") else kind(channels, channels)


def train(model: torch.nn.Module, photo: np.ndarray, steps: int) -> list[float]:
    """By CompressAI's habits, whosever the model is. Returns the loss of each step."""
    criterion = RateDistortionLoss(lmbda=1)
    auxiliary = [p for name, p in model.named_parameters() if name.endswith(".quantiles")]
    rest = [p for name, p in model.named_parameters() if not name.endswith(".quantiles")]
    optimizer = torch.optim.Adam(rest, RATE)
    aux_optimizer = torch.optim.Adam(auxiliary, 2e-2) if auxiliary else None
    losses = []
    for step, batch in enumerate(batches(photo, steps)):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.zero_grad()
        loss = criterion(model(batch), batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if aux_optimizer:
            aux_optimizer.zero_grad()
            model.aux_loss().backward()  # type: ignore[operator]
            aux_optimizer.step()
    return losses


def batches(photo: np.ndarray, count: int) -> Any:
    """(BATCH, 3, SIDE, SIDE) float32 in 0..1, crops of a picture in any of its turns."""
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255
    rng = np.random.default_rng(0)
    for _ in range(count):
        crops: list[Tensor] = []
        for _ in range(BATCH):
            top, left = rng.integers(0, photo.shape[0] - SIDE + 1), rng.integers(0, photo.shape[1] - SIDE + 1)
            crop = picture[:, top : top + SIDE, left : left + SIDE]
            crops.append(crop.roll(int(rng.integers(0, 3)), 0).flip(int(rng.integers(1, 3))))
        yield torch.stack(crops)


def trained(photo: np.ndarray) -> dict[str, Any]:
    model = small("bmshj2018-hyperprior").train()
    losses = train(model, photo, STEPS)
    return {"epoch": 1, "state_dict": model.state_dict(), "loss": losses[-1], "optimizer": {}, "lr_scheduler": {}}
