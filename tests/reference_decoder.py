"""A second decoder, from .aec bytes to symbols, written from docs/format.md in plain Python and int64.

It shares no code with aecodec, torch or constriction: what both decoders agree on is in the document.
"""

from __future__ import annotations

import json
import zlib
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
    """Section 1 of docs/format.md."""
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
    """Section 3: asymmetric numeral system, 64-bit state, 32-bit words, 24-bit frequencies."""

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
        """Section 3: by index, then in raster order; what was escaped follows."""
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

    def scale_indices(self, z: np.ndarray, position: int) -> np.ndarray:
        x = z
        for number, (_, up) in enumerate(TRUNK):
            x = self.layer(f"trunk.{number}", x, position, 255)
            if up:
                c, h, w = x.shape
                x = x.reshape(c // 4, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * h, 2 * w)
        return self.layer("head", x, position, 63)

    def hyper_latents(self, coded: np.ndarray) -> np.ndarray:
        """Section 3, prediction of hyper latents."""
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
        """Section 3, hidden signs."""
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
        return symbols

    def decode(self, data: bytes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(z, scale indices, symbols) of every tile."""
        file = parse(data)
        position = file["quality"] - 100
        padded = [-(-side // 64) * 64 for side in (file["height"], file["width"])]
        side = file["tile"] or max(padded)
        result = []
        tiles = iter(file["tiles"])
        for top in range(0, padded[0], side):
            for left in range(0, padded[1], side):
                h, w = min(side, padded[0] - top), min(side, padded[1] - left)
                ans = Ans(next(tiles))
                z_index = np.clip((self.rows("z_index", position) + 2048) // 4096, 0, 63)
                shape = (self.config["hyper_channels"], h // 64, w // 64)
                z = self.hyper_latents(self.symbols(ans, np.broadcast_to(z_index[:, None, None], shape)))
                indices = self.scale_indices(z, position)
                result.append((z, indices, self.latents(ans, indices)))
                assert ans.state == 0
                assert not ans.words
        return result
