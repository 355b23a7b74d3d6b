"""Latents of a tile to its payload and back, by CompressAI's own entropy coder, with a checksum of the symbols."""

from __future__ import annotations

import threading
import zlib
from typing import Any

import torch
from compressai.entropy_models import EntropyModel
from compressai.models import JointAutoregressiveHierarchicalPriors
from torch import Tensor, nn

from aecodec.container import CRC_BYTES
from aecodec.container.primitives import Cursor, encode_varint
from aecodec.errors import FormatError
from aecodec.exact.precision import full_precision
from aecodec.families.layouts import array
from aecodec.tiling import Size


class _Kept(nn.Module):
    """In the place of the synthesis: keeps the latents that it is given."""

    latents: Tensor

    def forward(self, latents: Tensor) -> Tensor:
        self.latents = latents
        return latents[:, :0].clone()  # which `decompress` clamps


class Coder:
    """One tile at a time, on the CPU, so that a GPU's files can be decoded without one.

    Scales are predicted in float64, where rounding hardly ever chooses another table, whatever the threads and the
    processor. Models that predict each latent from those before it stay in float32, which CompressAI writes into them.
    """

    def __init__(self, model: Any, stride: int):
        """model: one of the zoo, which loses its transforms to it. stride: pixels for a latent."""
        self.model, self._kept = model, _Kept()
        model.g_a, model.g_s = nn.Identity(), self._kept
        if not isinstance(model, JointAutoregressiveHierarchicalPriors):
            model.double()
        self._dtype = next(model.parameters()).dtype
        self._shrinks = model.downsampling_factor // stride  # from latents to those that are sent first
        self._stride = stride
        self._lock = threading.Lock()  # what is kept and counted is of one tile
        self._crc, self._encoding = 0, False
        self._strings = 2 if hasattr(model, "gaussian_conditional") else 1
        for module in model.modules():
            if isinstance(module, EntropyModel):
                self._watch(module)

    def encode(self, latents: Tensor) -> bytes:
        """The payload of latents, (1, M, h, w)."""
        with self._lock:
            self._crc, self._encoding = 0, True
            with full_precision("cpu"):
                strings = self.model.compress(latents.to("cpu", self._dtype).contiguous())["strings"]
            crc = self._crc
        parts = [string for (string,) in strings]
        lengths = b"".join(encode_varint(len(part)) for part in parts[:-1])
        return crc.to_bytes(CRC_BYTES, "little") + lengths + b"".join(parts)

    def decode(self, payload: bytes, size: Size) -> Tensor:
        """The latents of a tile of this size in pixels, (M, h, w) float32.

        Raises FormatError if they are not those that were encoded.
        """
        cursor = Cursor(payload)
        expected = int.from_bytes(cursor.take(CRC_BYTES, "payload (checksum of symbols)"), "little")
        lengths = [cursor.varint("payload (length of a string)") for _ in range(self._strings - 1)]
        parts = [cursor.take(length, "payload (string)") for length in lengths]
        parts.append(payload[cursor.at :])
        unit = self._stride * self._shrinks
        shape = size[0] // unit, size[1] // unit
        count = (size[0] // self._stride) * (size[1] // self._stride) * self.model.M
        with self._lock:
            self._crc, self._encoding = 0, False
            with full_precision("cpu"):
                self.model.decompress([[_padded(part, count)] for part in parts], shape)
            latents, crc = self._kept.latents, self._crc
        if crc != expected:
            raise FormatError(
                "decodes to other symbols than were encoded: it was made with another version of CompressAI or torch, "
                "or on a machine that computes differently (such models are not portable)"
            )
        return latents[0].float()

    def _watch(self, module: EntropyModel) -> None:
        """Counts the symbols that a model codes, in order: `compress` quantises them, `decompress` dequantises them."""
        quantise, dequantise = module.quantize, module.dequantize

        def quantize(inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
            symbols: Tensor = quantise(inputs, mode, means)
            if self._encoding:
                self._count(symbols)
            return symbols

        def dequantize(symbols: Tensor, *rest: Any, **more: Any) -> Tensor:
            if not self._encoding:  # `compress` does so, too, with what predicts the rest
                self._count(symbols)
            latents: Tensor = dequantise(symbols, *rest, **more)
            return latents

        module.quantize, module.dequantize = quantize, dequantize

    def _count(self, symbols: Tensor) -> None:
        self._crc = zlib.crc32(array(symbols, torch.int32).astype("<i4", copy=False).tobytes(), self._crc)


def _padded(string: bytes, symbols: int) -> bytes:
    """The coder's string with as many zeros behind it as the coder, which looks for no end, may read of a forged one:
    a word of 4 bytes for each symbol, and what the numbers of digits in the string itself can ask for."""
    return string + bytes(4 * symbols + 16 * len(string) + 64)
