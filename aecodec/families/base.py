"""The seam: what the codec asks of a network, in terms of the field.

A family is a network architecture with its coder. One instance of `Family` is one set of weights on one device. The
codec knows pictures, tiles and files; a family knows everything between the pixels of a tile and its bytes. Latents
and states are opaque to everyone else: the codec only keeps them and hands them back.

    encoding   pixels of a window -> analyse -> latents of its tiles -> encode -> payloads, one for each tile
    decoding   payloads -> decode -> states of tiles -> synthesise -> pixels of a window

Pixels are uint8 arrays (B, H, W, 3): a batch of windows of equal size, colour last, samples 0..255; grey pictures come
as three equal channels. Those of pictures of more than 8 bits are float32 on the way in, 0..255, and uint16 on the way
out, 0..2^depth - 1. Quality is in hundredths, 100..10000, an integer so that it means the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy.typing as npt

from aecodec.tiling import Box, Size

if TYPE_CHECKING:
    from aecodec.options import EncodeOptions

Pixels = npt.NDArray[Any]  # uint8, but for pictures of more than 8 bits
Latents = Any  # of a batch of tiles of equal size, as `analyse` returns and `encode` takes them
State = Any  # of a decoded tile, as `decode` returns and `synthesise` takes it


@dataclass(frozen=True)
class Geometry:
    """How far things reach; all in pixels.

    padding: pictures are padded to multiples of it, a divisor of 64 (`container.TILE_UNIT`). stride: borders of windows
    lie at multiples of it. analysis_halo: around a tile, what its latents depend on. synthesis_halo: around a window,
    whose tiles its pixels depend on. Halos are multiples of the stride.
    """

    padding: int
    stride: int
    analysis_halo: int
    synthesis_halo: int


class Mosaic(NamedTuple):
    """A window of a picture, and the states of the tiles that cover it, each with its place in the padded picture."""

    window: Box
    tiles: Sequence[tuple[Box, State]]


@dataclass(frozen=True)
class Weights:
    """A weights file: where it is, its hash in hexadecimal, what it says of itself, and its tensors."""

    path: str
    sha256: str
    metadata: Mapping[str, str]
    tensors: Mapping[str, npt.NDArray[Any]]


class Family(Protocol):
    """One set of weights on one device. Methods may be called by several threads at the same time."""

    @property
    def geometry(self) -> Geometry: ...

    @property
    def portable(self) -> bool:
        """Whether payloads decode to the same symbols on every machine; files say so where they may not."""
        ...

    def analyse(self, pixels: Pixels, inside: Sequence[Box]) -> list[Latents]:
        """The latents of tiles, for all qualities.

        pixels: (B, H, W, 3) uint8, windows. inside: tiles in the window, in pixels; what is around them is halo.
        Returns for each box the latents of a batch of B tiles.
        """
        ...

    def encode(
        self, latents: Latents, pixels: Callable[[], Pixels], quality: int, options: EncodeOptions
    ) -> list[bytes]:
        """The payloads of a batch of tiles.

        pixels: makes the pixels of the tiles, (B, H, W, 3) uint8, for encoders that look at them. quality: hundredths.
        options: what else the encoder is asked for, checked; `effort` is how much work it may be.
        """
        ...

    def encoders(self, options: EncodeOptions) -> int:
        """How many batches to encode at the same time, so that their work and memory are well used."""
        ...

    def decode(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[State]:
        """The states of tiles of equal size, in pixels. Raises FormatError if a payload cannot be one."""
        ...

    def synthesise(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Pixels:
        """The pixels of windows of equal size: of each the box `inside`, as seen from the window.

        depth: bits of a sample. Returns (B, *inside.size, 3) uint8, or uint16 if depth is more than 8.
        """
        ...

    def lost(self, size: Size) -> State:
        """What stands for a tile of this size, in pixels, whose payload is damaged."""
        ...


class Traits(NamedTuple):
    """What the payload of a tile tells of its content without its pixels.

    colour: (h, w, 3) float32, roughly the means of squares of pixels whose side divides `Geometry.stride`, 0..255 but
    not clamped. features: (F,) float32, 0..255, what the network that predicts scales sees, averaged over the tile.
    hyper: (2, Z) float32, mean and standard deviation of the hyper latents. bits: (M,) float32, of the latent channels,
    in bits for a square of `Geometry.stride` pixels.
    """

    colour: npt.NDArray[Any]
    features: npt.NDArray[Any]
    hyper: npt.NDArray[Any]
    bits: npt.NDArray[Any]


@runtime_checkable
class Describing(Protocol):
    """What a family may have beside: one that has it can describe pictures, see `description`."""

    def traits(self, payloads: Sequence[bytes], size: Size, quality: int) -> list[Traits]:
        """Of tiles of equal size, in pixels. Raises FormatError if a payload cannot be one."""
        ...


@runtime_checkable
class Rendering(Protocol):
    """What a family may have beside: pixels that stay on its device."""

    def render(self, mosaics: Sequence[Mosaic], inside: Box, quality: int, depth: int = 8) -> Any:
        """`synthesise` as a tensor: (B, *inside.size, 3) uint8, or int32 if depth is more than 8."""
        ...


class FamilyModule(Protocol):
    """What a family's module has to hold."""

    def load(self, weights: Weights, device: str, precision: str) -> Family:
        """The family with these weights.

        device: as torch names it. precision: what the encoder computes in: "auto" (what is fast there), "float32" or
        "bfloat16".
        Raises ModelError if the tensors are not those of the family.
        """
        ...
