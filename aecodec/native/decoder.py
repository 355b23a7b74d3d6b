"""A codec that decodes by libaec, and the choice between it and torch."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

from aecodec import container, inputs, models
from aecodec.canvas import Region, area_of
from aecodec.codec import Codec
from aecodec.container import DEFAULT_PIXEL_LIMIT, MODEL_ID_BYTES, File, Header
from aecodec.errors import ModelError
from aecodec.families.base import Family
from aecodec.models import Model
from aecodec.native.library import NativeModel, UnknownFamily, available
from aecodec.picture import Picture, alpha_of, depth_of, picture_of
from aecodec.picture.names import NEUTRAL

COLOUR_CHUNKS = (container.DEPTH, container.PATCHES, NEUTRAL)  # on which the colours of a picture depend


class Loaded:
    """A model that libaec has unpacked, as `models.Model`; its network is loaded, by torch, once something is encoded.

    Attributes: id (the bytes that files name it by), name, native.
    """

    def __init__(self, path: Path, expected_sha256: str | None):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: not a readable model file ({error})") from error
        digest = hashlib.sha256(data).hexdigest()
        if expected_sha256 is not None and digest != expected_sha256:
            raise ModelError(f"{path}: not the released file (SHA-256 {digest}, expected {expected_sha256})")
        try:
            self.native = NativeModel(data, digest)
        except UnknownFamily:
            raise
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        self.id, self.name = bytes.fromhex(digest)[:MODEL_ID_BYTES], path.stem
        self._path, self._sha256 = path, expected_sha256

    @cached_property
    def _by_torch(self) -> Model:
        if self._sha256 is not None:
            return models.load_released(self.name, Decoder.device)
        return models.load(self._path, Decoder.device)

    @property
    def family(self) -> Family:
        return self._by_torch.family

    @property
    def tune(self) -> str:
        return self._by_torch.tune


class Decoder(Codec):
    """Decodes by libaec, on the CPU: the same pixels on every machine, those of `Codec` within one level. Encodes as it
    does.

    Args:
        model, pixel_limit: as of `Codec`. Files of models whose network libaec does not know are decoded by torch.
        threads: None: as many as OMP_NUM_THREADS says, or as there are processors.

    Raises ModelError if the model cannot be loaded, AecodecError if libaec is not built.
    """

    device = "cpu"
    precision = "auto"  # of encoding

    def __init__(
        self,
        model: str | Path | None = None,
        pixel_limit: int = DEFAULT_PIXEL_LIMIT,
        threads: int | None = None,
    ):
        inputs.check_bounds(pixel_limit, threads)
        # Not that of `Codec`, which loads the model by torch.
        self._model_argument = model
        self.pixel_limit, self.threads = pixel_limit, threads
        self._own = _load(*models.locate(model or models.DEFAULT))
        self.model = cast(Model, self._own)

    def __reduce__(self) -> tuple[object, ...]:
        return Decoder, (self._model_argument, self.pixel_limit, self.threads)

    def decode(self, files: Sequence[File], regions: Sequence[Region | None] | None = None) -> list[Picture]:
        return [self._picture(*each) for each in zip(files, regions or [None] * len(files), strict=True)]

    def _picture(self, file: File, region: Region | None) -> Picture:
        header, chunks = file.header, file.chunks
        area, depth = area_of(header, region), depth_of(chunks)
        try:
            native = self._loaded(header).native
        except UnknownFamily:
            (picture,) = Codec(self.device, None, self.pixel_limit, self.threads).decode([file], [region])
            return picture
        alpha = alpha_of(header, chunks)
        bare = replace(file, chunks={name: data for name, data in chunks.items() if name in COLOUR_CHUNKS})
        colour = native.decode(container.write(bare), file.lost, header, area, depth, self.threads or _processors())
        return picture_of(colour, None if alpha is None else alpha[area.slices], chunks)

    def _loaded(self, header: Header) -> Loaded:
        if header.model_id == self._own.id:
            return self._own
        return _load(*models.locate(models.released_name(header.model_id)))


def decoder(
    device: str = "auto",
    model: str | Path | None = None,
    pixel_limit: int = DEFAULT_PIXEL_LIMIT,
    threads: int | None = None,
) -> Codec:
    """What decodes best here: libaec if it is built and there is no GPU, otherwise torch.

    device: "auto", "cpu", "cuda" or another of torch's names. Others: see `Codec`. Raises AecodecError as it does.
    """
    if available() and (device == "cpu" or (device == "auto" and not has_cuda())):
        try:
            return Decoder(model, pixel_limit, threads)
        except UnknownFamily:
            pass
    return Codec(device, model, pixel_limit, threads)


@lru_cache(maxsize=1)
def has_cuda() -> bool:
    """Whether there is a GPU that torch could use, asked of the driver: importing torch would take a second."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


@lru_cache(maxsize=8)
def _load(path: Path, expected_sha256: str | None) -> Loaded:
    return Loaded(path, expected_sha256)


def _processors() -> int:
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
