"""Encodes and decodes every picture with every codec at every quality, and measures nothing twice."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aecodec.benchmark import codecs
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.metrics import METRICS
from aecodec.errors import AecodecError, PictureWarning
from aecodec.files import PICTURE_SUFFIXES
from aecodec.picture import load
from aecodec.progress import Progress


@dataclass(frozen=True)
class Photo:
    """A picture that can be measured. checksum: SHA-256 of its size and pixels. note: what was done to it first.
    kind: of content, the name of the folder that it was given in."""

    path: Path
    name: str
    checksum: str
    width: int
    height: int
    note: str
    kind: str


@dataclass(frozen=True)
class Measurement:
    """One picture, codec and quality. scores: by metric, None where it says nothing of the picture. seconds: of the
    processor, for one call on one thread, after a call to warm up; what else the machine does hardly changes them."""

    image: str
    codec: str
    quality: float
    bytes: int
    bpp: float
    scores: dict[str, float | None]
    encode_seconds: float
    decode_seconds: float

    @property
    def lossless(self) -> bool:
        """Whether nothing differs, as far as one of the scores tells. Such a file is no point of a curve: at the next
        lower quality the codec does something else, and there is nothing between both."""
        perfect = {"psnr_rgb": None, "ssimulacra2": 100, "butteraugli": 0}
        return any(self.scores[name] == score for name, score in perfect.items() if name in self.scores)


@dataclass(frozen=True)
class Problem:
    """What could not be measured, and why. codec and quality are empty if it is the picture itself."""

    image: str
    codec: str
    quality: float | None
    reason: str


def cache_folder() -> Path:
    """Where results are kept between runs: $XDG_CACHE_HOME/aecodec/benchmark, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aecodec" / "benchmark"


def machine() -> str:
    """The processor, for people and to tell cached times of several machines apart."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def find_photos(inputs: Sequence[Path]) -> tuple[list[Photo], list[Problem]]:
    """The pictures among files and (recursively) folders, in order; what cannot be read becomes a problem."""
    photos: list[Photo] = []
    problems: list[Problem] = []
    for given in inputs:
        paths = [given]
        if given.is_dir():
            paths = sorted(p for p in given.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
        for path in paths:
            name = str(path.relative_to(given)) if path != given else path.name
            if any(photo.name == name for photo in photos):
                name = str(path)  # of several folders
            if any(photo.name == name for photo in photos):
                continue  # named twice
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", PictureWarning)
                    picture = load(path)
            except (AecodecError, OSError) as error:
                problems.append(Problem(name, "", None, getattr(error, "strerror", None) or str(error)))
                continue
            notes = [str(warning.message) for warning in caught]
            if picture.colour.ndim == 2:
                notes.append("grey")
            if picture.alpha is not None:
                notes.append("alpha left out, only colour is measured")
            digest = hashlib.sha256(repr(picture.colour.shape).encode() + picture.colour.tobytes()).hexdigest()
            kind = (given if given.is_dir() else given.absolute().parent).resolve().name
            photos.append(Photo(path, name, digest, picture.width, picture.height, "; ".join(notes), kind))
    return photos, problems


def measure(
    photos: Sequence[Photo],
    peers: Sequence[Peer],
    metrics: Sequence[str],
    model: str | None = None,
    jobs: int = 1,
    cache: Path | None = None,
    seconds: float = math.inf,
) -> tuple[list[Measurement], list[Problem]]:
    """Measures what the cache does not hold yet; if the process is killed, the next one goes on.

    model: with which the peer "aecodec" was made. jobs: processes; more than one disturb the times. cache: a folder,
    default `cache_folder()`. seconds: after so many, nothing else is begun; what is missing is missing.
    """
    end = time.monotonic() + seconds
    store = _Store(cache or cache_folder())
    found: list[Measurement] = []
    problems: list[Problem] = []
    tasks: list[tuple[Photo, Peer, list[float]]] = []
    for photo in photos:
        for peer in peers:
            known = store.read(photo, peer, metrics)
            found += known.values()
            if todo := [q for q in peer.qualities if q not in known]:
                tasks.append((photo, peer, todo))
    total = sum(len(todo) for _, _, todo in tasks)
    done = 0
    with Progress("measurement", quiet=not total) as bar:
        bar.update(0, total)
        for photo, peer, results in _run(tasks, metrics, model, jobs):
            for result in results:
                if isinstance(result, Measurement):
                    store.append(photo, peer, result)
                    found.append(result)
                else:
                    problems.append(result)
            done += len(results)
            bar.update(done, total)
            if time.monotonic() > end:
                break
    order = {(photo.name, peer.name): (p, c) for p, photo in enumerate(photos) for c, peer in enumerate(peers)}
    return sorted(found, key=lambda m: (order[m.image, m.codec], m.quality)), problems


Results = list["Measurement | Problem"]


def _run(
    tasks: Sequence[tuple[Photo, Peer, list[float]]], metrics: Sequence[str], model: str | None, jobs: int
) -> Iterator[tuple[Photo, Peer, Results]]:
    if jobs == 1:
        for photo, peer, todo in tasks:
            yield photo, peer, _measure(photo, peer.name, todo, metrics, model)
        return
    # Forked children would inherit torch's and the encoders' threads in an unknown state.
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting: dict[Future[Results], tuple[Photo, Peer]] = {
            pool.submit(_measure, photo, peer.name, todo, metrics, model): (photo, peer) for photo, peer, todo in tasks
        }
        try:
            for future in as_completed(waiting):
                yield *waiting[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_peer = lru_cache(maxsize=None)(codecs.make)


_warm: set[tuple[str, tuple[int, int], str]] = set()  # what this process has coded: the first call takes longer


@lru_cache(maxsize=2)
def _image(photo: Photo) -> Image.Image:
    return Image.fromarray(load(photo.path).colour)


def _measure(
    photo: Photo, codec: str, qualities: Sequence[float], metrics: Sequence[str], model: str | None
) -> Results:
    peer, image = _peer(codec, model), _image(photo)
    original = np.asarray(image.convert("RGB"))
    results: Results = []
    for quality in qualities:
        try:
            if (codec, image.size, image.mode) not in _warm:
                peer.decode(peer.encode(image, quality))
                _warm.add((codec, image.size, image.mode))
            started = time.process_time()
            data = peer.encode(image, quality)
            encoded = time.process_time()
            decoded = peer.decode(data)
            finished = time.process_time()
            pixels = np.asarray(decoded.convert("RGB"))
            if pixels.shape != original.shape:
                raise ValueError(f"came back with {pixels.shape[1]}x{pixels.shape[0]} pixels")
        except Exception as error:  # a peer that fails at one picture is a result, whatever it raises
            results.append(Problem(photo.name, codec, quality, f"{type(error).__name__}: {error}"))
            continue
        results.append(
            Measurement(
                photo.name,
                codec,
                quality,
                len(data),
                8 * len(data) / (photo.width * photo.height),
                {name: METRICS[name](original, pixels) for name in metrics},
                encoded - started,
                finished - encoded,
            )
        )
    return results


class _Store:
    """Results on disk, one file of JSON lines for each picture, so that a killed run loses next to nothing."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.machine = machine()

    def _path(self, photo: Photo) -> Path:
        return self.folder / f"{photo.checksum[:32]}.jsonl"

    def _key(self, peer: Peer) -> dict[str, str]:
        return {"version": peer.version, "settings": peer.settings, "machine": self.machine}

    def read(self, photo: Photo, peer: Peer, metrics: Sequence[str]) -> dict[float, Measurement]:
        """What is known of a picture and codec, by quality, if all the metrics are."""
        known: dict[float, Measurement] = {}
        for record in self._records(self._path(photo)):
            if record["codec"] == peer.name and all(record.pop(k, None) == v for k, v in self._key(peer).items()):
                measurement = Measurement(**{**record, "image": photo.name})
                if measurement.quality in peer.qualities and all(name in measurement.scores for name in metrics):
                    # An earlier run may have asked for more.
                    scores = {name: measurement.scores[name] for name in metrics}
                    known[measurement.quality] = replace(measurement, scores=scores)
        return known

    def append(self, photo: Photo, peer: Peer, measurement: Measurement) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path(photo).open("a") as file:
            # The line break comes first: a line that a killed run left unfinished does not spoil the next one.
            file.write("\n" + json.dumps({**asdict(measurement), **self._key(peer)}))

    def _records(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # empty or unfinished
            yield record
