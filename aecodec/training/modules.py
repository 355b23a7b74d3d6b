"""aecodec's networks with the habits of CompressAI, so that its losses, optimisers, trainers and evaluation take them.

>>> import torch
>>> model = CompressionModel.of("aec1-11")
>>> out = model(torch.rand(1, 3, 64, 64))
>>> out["x_hat"].shape, sorted(out["likelihoods"])
(torch.Size([1, 3, 64, 64]), ['y', 'z'])

CompressAI itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aecodec import families, models
from aecodec.container import QUALITY_MAX, QUALITY_MIN
from aecodec.errors import AecodecError
from aecodec.families.base import Family, Mosaic, Weights
from aecodec.families.layouts import network_input, pixels_of_squares
from aecodec.options import EncodeOptions
from aecodec.tiling import Box

UNIT = 64  # pixels: sides of what `compress` takes are multiples of it, as of most of CompressAI's models
DEPTH = 16  # bits of the samples that `decompress` makes floats of


class _Auxiliary(nn.Module):
    """CompressAI trains a second set of parameters, by their name, for tables that aecodec counts instead."""

    def __init__(self) -> None:
        super().__init__()
        self.quantiles = nn.Parameter(torch.zeros(1))

    def loss(self) -> Tensor:
        return self.quantiles.square().sum()


class CompressionModel(nn.Module):
    """A network of a family that can be trained, at one quality at a time.

    Pictures are (B, 3, H, W) float32 in 0..1, sides multiples of 64. `forward` is differentiable: with noise for
    rounding while the module is training. `compress` and `decompress` code for real, with the weights that there were
    at the last `update`.

    network, family_name: as of `families.trainable`. encoder: what it decides by; None: what is usual for PSNR.
    Attributes: quality, 1..100, which all methods use; it may be changed at any time.
    """

    def __init__(self, network: nn.Module, family_name: str = families.OLDEST, encoder: Any = None):
        super().__init__()
        self.network, self.auxiliary = network, _Auxiliary()
        self.family_name = family_name
        self.quality = 50.0
        self._trainable = families.find_trainable(family_name)
        self._encoder = encoder or self._trainable.encoder("psnr")
        self._tables = self._trainable.fit_tables(None)
        self._coder: Family | None = None

    @classmethod
    def of(cls, model: str | Path) -> CompressionModel:
        """That of a released model by its name, or of a weights file. Raises ModelError if it is none of a family that
        can be trained."""
        weights = models.read_weights(*models.locate(model))
        name = weights.metadata.get("family", families.OLDEST)
        trainable = families.find_trainable(name)
        network = trainable.network_of(weights)
        own = json.loads(weights.metadata.get("encoder", "null"))
        objective = "visual" if own and own.get("objective") == "visual" else "psnr"
        made = cls(network, name, trainable.encoder(objective, own))
        frequencies, reach = (weights.tensors[f"tables.{part}"] for part in ("frequencies", "reach"))
        made._tables = torch.from_numpy(frequencies), torch.from_numpy(reach)
        return made.eval()

    @classmethod
    def untrained(cls, covariance: Tensor, family: str = families.OLDEST, size: str = "base") -> CompressionModel:
        """A new network that begins with the Karhunen-Loeve transform. covariance: see `data.block_covariance`. size: a
        key of the family's NETWORKS."""
        trainable = families.find_trainable(family)
        network = trainable.network(trainable.NETWORKS[size])
        trainable.start(network, covariance)
        return cls(network, family)

    @property
    def lmbda(self) -> float:
        """What CompressAI's `RateDistortionLoss` weighs the error by, for this quality to be what it is."""
        position = torch.tensor([self._position], dtype=torch.float64)
        return float(self._encoder.lambdas(self.network.config, position))

    def forward(self, x: Tensor) -> dict[str, Any]:
        """{"x_hat": (B, 3, H, W), about 0..1; "likelihoods": {"y": ..., "z": ...}, of each latent}."""
        _check(x)
        position = torch.full((len(x),), self._position, device=x.device)
        measured = self._trainable.measure(
            self.network, network_input(255 * x), position, noise=self.training, encoder=self._encoder
        )
        likelihoods = {name: torch.exp2(-bits) for name, bits in measured.bits.items()}
        return {"x_hat": pixels_of_squares(measured.squares) + 0.5, "likelihoods": likelihoods}

    def aux_loss(self) -> Tensor:
        """What CompressAI's second optimiser lowers: nothing depends on it."""
        return self.auxiliary.loss()

    def update(self, *_: Any, **__: Any) -> bool:
        """Takes the weights as they are now for `compress` and `decompress`. Returns True: something changed.

        Raises ModelError if the network cannot be exported exactly.
        """
        weights = Weights("(a module)", "", *self._exported())
        self._coder = families.find(self.family_name).load(weights, str(self._device), "float32")
        return True

    def count(self, pictures: Tensor) -> None:
        """Counts the frequency tables on pictures, which is worth a few percent of the bits, and updates.

        pictures: (N, 3, T, T) uint8, the more the better.
        """
        self.update()
        assert self._coder is not None
        self._tables = self._trainable.fit_tables(self._trainable.count_symbols(self._coder, pictures))
        self.update()

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """{"strings": [one of each picture], "shape": for `decompress`}."""
        _check(x)
        size = x.shape[2], x.shape[3]
        pixels = x.clamp(0, 1).mul(255).permute(0, 2, 3, 1).float().contiguous().cpu().numpy()
        (latents,) = self._ready().analyse(pixels, [Box.whole(size)])
        payloads = self._ready().encode(latents, lambda: pixels, self._hundredths, EncodeOptions(effort=0))
        return {"strings": [payloads], "shape": torch.Size([size[0] // UNIT, size[1] // UNIT])}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]) -> dict[str, Tensor]:
        """{"x_hat": (B, 3, H, W) float32 in 0..1}. Raises FormatError if the strings are none of `compress`."""
        size = shape[0] * UNIT, shape[1] * UNIT
        whole = Box.whole(size)
        states = self._ready().decode(strings[0], size, self._hundredths)
        mosaics = [Mosaic(whole, [(whole, state)]) for state in states]
        pixels = self._ready().synthesise(mosaics, whole, self._hundredths, DEPTH).astype(np.float32)
        x_hat = torch.from_numpy(pixels).permute(0, 3, 1, 2) / (2**DEPTH - 1)
        return {"x_hat": x_hat.contiguous().to(self._device)}

    def save(self, path: str | Path) -> str:
        """Writes a weights file, for `Codec(model=path)` and the commands. Returns its SHA-256 in hexadecimal."""
        metadata, tensors = self._exported()
        return models.write_weights(Path(path), self.family_name, tensors, metadata)

    def _exported(self) -> tuple[dict[str, str], Mapping[str, Any]]:
        """Metadata and tensors of a weights file."""
        metadata = self._trainable.metadata_of(self.network.config, self._encoder)
        return metadata, self._trainable.tensors_of(self.network, *self._tables)

    def _ready(self) -> Family:
        if self._coder is None:
            raise AecodecError(
                "there is nothing to code with yet; call update() once the weights are what they should be"
            )
        return self._coder

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def _hundredths(self) -> int:
        hundredths = round(100 * self.quality)
        if not QUALITY_MIN <= hundredths <= QUALITY_MAX:
            raise AecodecError(f"quality {self.quality}; expected {QUALITY_MIN // 100} to {QUALITY_MAX // 100}")
        return hundredths

    @property
    def _position(self) -> float:
        """The quality as networks know it, 0..1."""
        return (self._hundredths - QUALITY_MIN) / (QUALITY_MAX - QUALITY_MIN)


def _check(x: Tensor) -> None:
    if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % UNIT or x.shape[3] % UNIT:
        raise AecodecError(f"a tensor of shape {tuple(x.shape)}; expected (B, 3, H, W), sides multiples of {UNIT}")
