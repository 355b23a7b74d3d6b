"""Hyper latents to features and scale indices, in exact integers: as trained, and as it codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecodec.exact.layers import (
    ACTIVATION_TOP,
    IntegerConv2d,
    check_bound,
    floor_through,
    integer_conv2d,
    interpolate_rows,
    interpolate_rows_exactly,
    powers_of_two,
    round_through,
)
from aecodec.families.hyperprior.constants import SCALE_COUNT, TRUNK_LAYERS, Z_INDEX_STEPS, Z_TOP, Z_WEIGHT_STEPS
from aecodec.families.layouts import shuffle
from aecodec.families.schema import Expected


def predict_hyper_latents(z: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the hyper latents to the left, above and above left; beyond the borders they are 0.

    z: (B, hyper, h, w). weights: (3, hyper), in 64ths. Returns (B, hyper, h, w), exact if all are integers.
    """
    padded = F.pad(z, (1, 0, 1, 0))
    left, above, corner = (weights / Z_WEIGHT_STEPS)[:, :, None, None]
    return left * padded[:, :, 1:, :-1] + above * padded[:, :, :-1, 1:] + corner * padded[:, :, :-1, :-1]


class ScaleSizes(Protocol):
    """What a network's config says of its scale model."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def hyper_channels(self) -> int: ...

    @property
    def trunk_channels(self) -> int: ...

    @property
    def rows(self) -> int: ...


class ScaleModel(nn.Module):
    """Hyper latents to features and scale indices, in integers; this is the form that is trained.

    Because the scale indices come from the hyper latents alone and are exact, all symbols of a picture can be
    entropy-decoded in one go, on every machine. `ExactScaleModel` is the form that codes.
    """

    def __init__(self, config: ScaleSizes):
        super().__init__()
        n, rows = config.trunk_channels, config.rows
        self.z_index = nn.Parameter(torch.full((rows, config.hyper_channels), 1.5))  # sixteenths of an index
        self.z_weights = nn.Parameter(torch.zeros(3, config.hyper_channels))  # of what is left, above, above left
        self.trunk = nn.ModuleList(
            IntegerConv2d(n if i else config.hyper_channels, 4 * n if up else n, kernel, rows, 16 if i else 1)
            for i, (kernel, up) in enumerate(TRUNK_LAYERS)
        )
        self.index_head = IntegerConv2d(n, config.latent_channels, 1, rows, top=SCALE_COUNT - 1)

    def z_scale_index(self, position: Tensor, quantise: bool = True) -> Tensor:
        """Scale index of each hyper channel. position: (B,) in 0..1. Returns (B, hyper, 1, 1), 0..63."""
        index = (16 * interpolate_rows(self.z_index, position)).clamp(0, SCALE_COUNT - 1)
        return (round_through(index) if quantise else index)[:, :, None, None]

    def predict(self, z_hat: Tensor, quantise: bool = True) -> Tensor:
        """See `predict_hyper_latents`."""
        if not quantise:
            return predict_hyper_latents(z_hat, self.z_weights * Z_WEIGHT_STEPS)
        return floor_through(predict_hyper_latents(z_hat, round_through(self.z_weights * Z_WEIGHT_STEPS)) + 0.5)

    def forward(self, z_hat: Tensor, position: Tensor, quantise: bool = True) -> tuple[Tensor, Tensor]:
        """z_hat: (B, hyper, H/64, W/64), integers. position: (B,) in 0..1.

        Returns features (B, trunk, H/16, W/16), integers 0..255, and scale index (B, M, H/16, W/16), 0..63; with
        quantise=False neither is rounded, nor are the weights.
        """
        x = z_hat
        for layer, (_, up) in zip(self.trunk, TRUNK_LAYERS, strict=True):
            x = layer(x, position, quantise)
            x = shuffle(x, 2) if up else x
        return x, self.index_head(x, position, quantise)

    def export(self) -> dict[str, Tensor]:
        """The tensors of an `ExactScaleModel`. Raises ModelError if sums could leave the exact range."""
        tensors = {
            "z_index": torch.round(self.z_index.detach().double() * 16 * Z_INDEX_STEPS).to(torch.int32),
            "z_weights": torch.round(self.z_weights.detach() * Z_WEIGHT_STEPS).clamp(-127, 127).to(torch.int8),
        }
        for name, layer in self._layers().items():
            tensors |= {f"{name}.{key}": value for key, value in layer.export(name).items()}
        return tensors

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `export`, but for what its rounding lost."""
        self.z_index.copy_(tensors["z_index"] / (16 * Z_INDEX_STEPS))
        self.z_weights.copy_(tensors["z_weights"] / Z_WEIGHT_STEPS)
        for name, layer in self._layers().items():
            layer.restore(*(tensors[f"{name}.{key}"] for key in ("weight", "bias", "shift")))

    def _layers(self) -> dict[str, IntegerConv2d]:
        """The layers under the names that their tensors have in a model file."""
        named = [*((f"trunk.{i}", layer) for i, layer in enumerate(self.trunk)), ("head", self.index_head)]
        return {name: layer for name, layer in named if isinstance(layer, IntegerConv2d)}


class ExactScaleModel:
    """The exported `ScaleModel`: int8 weights, exact on every device. Works in float32 on integers below 2^24."""

    def __init__(self, tensors: dict[str, Tensor], device: torch.device):
        names = [*(f"trunk.{i}" for i in range(len(TRUNK_LAYERS))), "head"]
        for name in names:
            check_bound(name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        self.z_index = tensors["z_index"].long()
        self.z_weights = tensors["z_weights"].float().to(device)
        self.weights = [tensors[f"{name}.weight"].float().to(device) for name in names]
        self.biases = [tensors[f"{name}.bias"].long() for name in names]
        self.steps = [powers_of_two(-tensors[f"{name}.shift"]).float().to(device) for name in names]

    @staticmethod
    def expected(config: ScaleSizes) -> Expected:
        """Its tensors, see `families.schema.check_tensors`."""
        rows, n, hyper = config.rows, config.trunk_channels, config.hyper_channels
        layers = [(4 * n if up else n, n if i else hyper, kernel) for i, (kernel, up) in enumerate(TRUNK_LAYERS)]
        named = [(f"trunk.{i}", layer) for i, layer in enumerate(layers)]
        tensors: Expected = {"z_index": ((rows, hyper), ("int32",)), "z_weights": ((3, hyper), ("int8",))}
        for name, (outputs, inputs, kernel) in [*named, ("head", (config.latent_channels, n, 1))]:
            tensors[f"{name}.weight"] = (outputs, inputs, kernel, kernel), ("int8",)
            tensors[f"{name}.bias"] = (rows, outputs), ("int32",)
            tensors[f"{name}.shift"] = (outputs,), ("int8",)
        return tensors

    def z_scale_index(self, position: int) -> Tensor:
        """(hyper,) int64, 0..63. position: 0..9900, hundredths of quality above 1."""
        rows = interpolate_rows_exactly(self.z_index, position)
        return ((rows + Z_INDEX_STEPS // 2) // Z_INDEX_STEPS).clamp(0, SCALE_COUNT - 1)

    def z_residual(self, z: Tensor) -> Tensor:
        """What is coded of hyper latents (B, hyper, h, w), integers in float32: what their neighbours do not tell."""
        return z - (predict_hyper_latents(z, self.z_weights) + 0.5).floor_()

    def z_of_residual(self, residual: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The hyper latents of which only this was coded, within -127..127; diagonal by diagonal."""
        height, width = residual.shape[2:]
        left, above, corner = self.z_weights.cpu().numpy().astype(np.int32)[:, None, :, None]
        z = np.pad(np.zeros_like(residual), ((0, 0), (0, 0), (1, 0), (1, 0)))
        for diagonal in range(height + width - 1):
            rows = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
            columns = diagonal - rows
            sums = (
                left * z[:, :, rows + 1, columns] + above * z[:, :, rows, columns + 1] + corner * z[:, :, rows, columns]
            )
            values = residual[:, :, rows, columns] + (sums + Z_WEIGHT_STEPS // 2) // Z_WEIGHT_STEPS
            z[:, :, rows + 1, columns + 1] = values.clip(-Z_TOP, Z_TOP)
        return z[:, :, 1:, 1:]

    def __call__(self, z_hat: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """As `ScaleModel.forward`; z_hat float32, one position for the whole batch."""
        x = z_hat
        for number, (weight, biases, step) in enumerate(zip(self.weights, self.biases, self.steps, strict=True)):
            bias = interpolate_rows_exactly(biases, position).to(x)
            if number == len(TRUNK_LAYERS):
                return x, integer_conv2d(x, weight, bias, step, SCALE_COUNT - 1)
            x = integer_conv2d(x, weight, bias, step, ACTIVATION_TOP)
            x = shuffle(x, 2) if TRUNK_LAYERS[number][1] else x
        raise AssertionError("the head is the last layer")
