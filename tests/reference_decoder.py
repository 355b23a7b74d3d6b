"""A second decoder, from .aec bytes to pixels, written from docs/format/ in plain Python and numpy.

It shares no code with aecodec, torch or constriction: what both decoders agree on is in the documents. Up to the
symbols it computes in int64, from there on in float64.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load as load_tensors

TRUNK = ((3, False), (1, True), (3, False), (1, True), (3, False))  # kernel, then 2x subpixel upsampling


class Bytes:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


def parse(data: bytes) -> dict:
    """Bytes, of docs/format/container.md."""
    b = Bytes(data)
    assert b.take(5) == b"\xae\x43\r\n\x1a"
    kind = b.number(1)
    assert kind >> 4 == 1
    file = {"channels": (kind & 3) + 1, "model": b.take(4), "width": b.varint(), "height": b.varint()}
    file["quality"] = b.number(2)
    file["tile"], lengths = 0, [None]
    if kind & 8:
        file["tile"] = 64 * b.varint()
        lengths = [b.varint() for _ in range(-(-file["height"] // file["tile"]) * -(-file["width"] // file["tile"]))]
    count = b.varint() if kind & 4 else 0
    assert zlib.crc32(data[: b.at]) == b.number(4)
    file["chunks"] = {}
    for _ in range(count):
        tag = b.take(4)
        content = b.take(b.varint())
        assert zlib.crc32(tag + content) == b.number(4)
        file["chunks"][tag.decode()] = content
    file["tiles"] = []
    for length in lengths:
        tile = b.take(len(data) - b.at - 4 if length is None else length)
        assert zlib.crc32(tile) == b.number(4)
        file["tiles"].append(tile)
    assert b.at == len(data)
    return file


class Ans:
    """The coder: asymmetric numeral system, 64-bit state, 32-bit words, 24-bit frequencies."""

    def __init__(self, payload: bytes):
        payload += bytes(-len(payload) % 4)
        self.words = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
        self.state = 0
        self.refill()
        self.refill()

    def refill(self) -> None:
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def symbol(self, starts: list[int]) -> int:
        """starts: the cumulative frequencies 0..2^24."""
        quantile = self.state & 0xFFFFFF
        low, high = 0, len(starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if starts[middle] <= quantile else (low, middle)
        self.state = (self.state >> 24) * (starts[low + 1] - starts[low]) + quantile - starts[low]
        self.refill()
        return low


class ReferenceModel:
    def __init__(self, path: Path):
        data = path.read_bytes()
        self.tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        self.config = json.loads(header["__metadata__"]["config"])
        flat, self.reach = self.tensors["tables.frequencies"], self.tensors["tables.reach"]
        self.starts: list[list[int]] = []
        at = 0
        for reach in self.reach:
            size = 2 * int(reach) + 2 if reach else 0
            self.starts.append([0, *np.cumsum(flat[at : at + size]).tolist()])
            at += size
        self.folded = []
        for reach, starts in zip(self.reach, self.starts, strict=True):
            own, middle = np.diff(starts), int(reach)
            sums = [own[middle + k] + own[middle - k] for k in range(1, middle + 1)]
            self.folded.append([0, *np.cumsum([own[middle], *sums, own[-1]]).tolist()] if middle else [])

    def symbols(self, ans: Ans, indices: np.ndarray) -> np.ndarray:
        """Order: by index, then in raster order; what was escaped follows."""
        flat, out = indices.ravel().tolist(), [0] * indices.size
        escaped = []
        for index in range(128):
            reach = int(self.reach[index % 64])
            if not reach:
                continue
            starts, lowest = (self.starts[index], -reach) if index < 64 else (self.folded[index - 64], 0)
            for place, other in enumerate(flat):
                if other == index:
                    out[place] = ans.symbol(starts) + lowest
                    if out[place] > reach:
                        escaped.append(place)
        for place in escaped:
            out[place] = ans.symbol(list(range(0, (1 << 24) + 1, 256))) - 32767
        return np.array(out, np.int64).reshape(indices.shape)

    def rows(self, name: str, position: int) -> np.ndarray:
        rows = self.tensors[f"exact.{name}"].astype(np.int64)
        low, part = divmod(position * (len(rows) - 1), 9900)
        high = min(low + 1, len(rows) - 1)
        return (rows[low] * (9900 - part) + rows[high] * part) // 9900

    def layer(self, name: str, x: np.ndarray, position: int, top: int) -> np.ndarray:
        weight = self.tensors[f"exact.{name}.weight"].astype(np.int64)
        k = weight.shape[-1]
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
        sums = np.einsum("ihwkl,oikl->ohw", windows, weight) + self.rows(f"{name}.bias", position)[:, None, None]
        return np.clip(sums >> self.tensors[f"exact.{name}.shift"].astype(np.int64)[:, None, None], 0, top)

    def scale_indices(self, z: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Features and scale indices."""
        x = z
        for number, (_, up) in enumerate(TRUNK):
            x = self.layer(f"trunk.{number}", x, position, 255)
            if up:
                c, h, w = x.shape
                x = x.reshape(c // 4, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * h, 2 * w)
        return x, self.layer("head", x, position, 63)

    def hyper_latents(self, coded: np.ndarray) -> np.ndarray:
        """Prediction of z."""
        weights = self.tensors.get("exact.z_weights", np.zeros((3, len(coded)))).astype(np.int64)
        z = np.zeros_like(coded)
        for y, x in np.ndindex(coded.shape[1:]):
            left = z[:, y, x - 1] if x else 0
            above = z[:, y - 1, x] if y else 0
            corner = z[:, y - 1, x - 1] if x and y else 0
            sums = weights[0] * left + weights[1] * above + weights[2] * corner
            z[:, y, x] = np.clip(coded[:, y, x] + ((sums + 32) >> 6), -127, 127)
        return z

    def latents(self, ans: Ans, indices: np.ndarray) -> np.ndarray:
        """Hidden signs."""
        tables, passes = indices.copy(), []
        channels, height, width = indices.shape
        for second in (False, True):
            elements = [
                (-int(indices[c, y, x]), y, x, c)
                for c in range(channels)
                for y in range(height)
                for x in range(width)
                if indices[c, y, x] > 4 and second == ((y + x) % 2 == (c < channels // 2))
            ]
            groups = sum(min(-negative - 4, 26) for negative, *_ in elements) // 78
            if groups and self.config.get("hidden_signs"):
                groups -= groups % min(groups, 32)
                rows = len(elements) // groups
                places = [(c, y, x) for _, y, x, c in sorted(elements)]
                passes.append([[places[r * groups + g] for r in range(rows)] for g in range(groups)])
                for group in passes[-1]:
                    tables[group[0]] += 64
        symbols = self.symbols(ans, tables)
        for groups in passes:
            chains = len(groups) // min(len(groups), 32)
            negative = []
            for g in range(len(groups)):
                bit = 0
                for j in range(4):
                    if g >= j * chains:
                        for r, place in enumerate(groups[g - j * chains]):
                            bit ^= (9, 11, 13, 15)[r % 4] >> j & int(symbols[place]) & 1
                negative.append(bit)
            for group, bit in zip(groups, negative, strict=True):
                symbols[group[0]] *= -1 if bit else 1
        return symbols.clip(-2047, 2047)

    def decode(self, data: bytes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(z, scale indices, symbols) of every tile."""
        file = parse(data)
        return [(z, indices, symbols) for _, z, _, indices, symbols in self.tiles(file)]

    def tiles(self, file: dict) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Of every tile: (top, left), z, features, scale indices, symbols."""
        position = file["quality"] - 100
        padded = [-(-side // 64) * 64 for side in (file["height"], file["width"])]
        side = file["tile"] or max(padded)
        payloads = iter(file["tiles"])
        for top in range(0, padded[0], side):
            for left in range(0, padded[1], side):
                h, w = min(side, padded[0] - top), min(side, padded[1] - left)
                ans = Ans(next(payloads))
                z_index = np.clip((self.rows("z_index", position) + 2048) // 4096, 0, 63)
                shape = (self.config["hyper_channels"], h // 64, w // 64)
                z = self.hyper_latents(self.symbols(ans, np.broadcast_to(z_index[:, None, None], shape)))
                features, indices = self.scale_indices(z, position)
                yield (top, left), z, features, indices, self.latents(ans, indices)
                assert ans.state == 0
                assert not ans.words

    def conv(self, name: str, x: np.ndarray) -> np.ndarray:
        """A convolution with zero padding, depthwise if the kernel has one input channel. x: (I, H, W) float64."""
        weight = self.tensors[f"{name}.weight"].astype(np.float64)
        k = weight.shape[-1]
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
        if weight.shape[1] == 1 and len(x) > 1:
            y = np.einsum("ihwkl,ikl->ihw", windows, weight[:, 0])
        else:
            y = np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4)))
        bias = self.tensors.get(f"{name}.bias")
        return y if bias is None else y + bias.astype(np.float64)[:, None, None]

    def row(self, name: str, quality: int) -> np.ndarray:
        """A row of a learned table, between its neighbours: (C, 1, 1)."""
        rows = self.tensors[name].astype(np.float64)
        at = (quality - 100) / 9900 * (len(rows) - 1)
        low = min(int(at), len(rows) - 2)
        return (rows[low] + (at - low) * (rows[low + 1] - rows[low]))[:, None, None]

    def means(self, features: np.ndarray, indices: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Latents of a tile in quantisation steps: symbols and their means, in two passes."""
        f, scale = features / 16, 0.11 * 2 ** (indices / 6)
        channels, height, width = symbols.shape
        even = (np.arange(height)[:, None] + np.arange(width)) % 2 == 0
        first = np.where((np.arange(channels) < channels // 2)[:, None, None], even, ~even)
        entropy = "entropy_model"
        x = self.conv(f"{entropy}.first_mean.2", gelu(self.conv(f"{entropy}.first_mean.0", f)))
        known = np.where(first, symbols + scale * x, 0)
        x = self.conv(f"{entropy}.context", np.arcsinh(known)) + self.conv(f"{entropy}.context_features", f)
        x = gelu(self.conv(f"{entropy}.second_mean.1", gelu(x)))
        x = self.conv(f"{entropy}.neighbours", known) + scale * self.conv(f"{entropy}.second_mean.3", x)
        return np.where(first, known, symbols + x)

    def pixels(self, data: bytes) -> np.ndarray:
        """(H, W, 3) or (H, W) uint8, without alpha."""
        file = parse(data)
        quality, config = file["quality"], self.config
        height, width = (-(-side // 64) * 4 for side in (file["height"], file["width"]))
        y = np.zeros((config["latent_channels"], height, width))
        f = np.zeros((config["trunk_channels"], height, width))
        for (top, left), _, features, indices, symbols in self.tiles(file):
            h, w = symbols.shape[1:]
            there = np.s_[:, top // 16 : top // 16 + h, left // 16 : left // 16 + w]
            y[there], f[there] = self.means(features, indices, symbols), features / 16

        s = "synthesis"
        x = np.concatenate([y * np.exp(self.row(f"{s}.log_input_gain", quality)), f])
        x = self.conv(f"{s}.first", x) + self.row(f"{s}.first_bias", quality)
        for number in range(config["blocks_16"]):
            x = self.residual(f"{s}.blocks_16.{number}", x)
        x = shuffled(self.conv(f"{s}.up", x), 2) + self.row(f"{s}.up_bias", quality)
        for number in range(config["blocks_8"]):
            x = self.residual(f"{s}.blocks_8.{number}", x)
        step = np.exp(self.row(f"{s}.log_output_gain", quality))
        linear = self.conv(f"{s}.linear", y * np.exp(self.row("log_decoder_gain", quality)))
        picture = shuffled(shuffled(linear, 2), 8) + step * shuffled(self.conv(f"{s}.last", x), 8)

        x = self.conv(f"{s}.filter.first", unshuffled(picture / step, 2))
        x = x * np.exp(self.row(f"{s}.filter.log_first_gain", quality)) + self.row(f"{s}.filter.first_bias", quality)
        x = np.maximum(self.conv(f"{s}.filter.second", np.maximum(x, 0)), 0)
        for number in range(config["filter_layers"] - 1):
            x = np.maximum(self.conv(f"{s}.filter.more.{number}", x), 0)
        picture = picture + step * shuffled(self.conv(f"{s}.filter.last", x), 2)

        levels = np.clip(np.round((picture + 0.5) * 255), 0, 255).transpose(1, 2, 0)
        levels = levels[: file["height"], : file["width"]].astype(np.int64)
        return (levels if file["channels"] > 2 else (levels.sum(2) + 1) // 3).astype(np.uint8)

    def residual(self, name: str, x: np.ndarray) -> np.ndarray:
        return x + self.conv(f"{name}.second", gelu(self.conv(f"{name}.first", x)))


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    """Channel (c, i, j) of position (h, w) to channel c of position (factor h + i, factor w + j)."""
    c, h, w = x.shape
    x = x.reshape(c // factor**2, factor, factor, h, w).transpose(0, 3, 1, 4, 2)
    return x.reshape(c // factor**2, factor * h, factor * w)


def unshuffled(x: np.ndarray, factor: int) -> np.ndarray:
    """The inverse of `shuffled`."""
    c, h, w = x.shape
    x = x.reshape(c, h // factor, factor, w // factor, factor).transpose(0, 2, 4, 1, 3)
    return x.reshape(c * factor**2, h // factor, w // factor)
