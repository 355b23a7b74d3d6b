"""How much memory a codec takes for one picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from PIL import Image
from tqdm import tqdm

from aecodec.benchmark import codecs
from aecodec.benchmark.codecs import Peer
from aecodec.benchmark.measure import Photo, Problem
from aecodec.files import write_atomically
from aecodec.picture import load

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # of Linux
Result = TypeVar("Result")


def peaks(
    photo: Photo, peers: Sequence[Peer], model: str | None, cache: Path
) -> tuple[dict[str, Mapping[str, int]], list[Problem]]:
    """By codec, "encode" and "decode": by how many bytes a fresh process grows in one call, at the codec's middle
    quality. What the codec holds once it is set up, the picture to encode and the file to decode are not counted.

    Empty where the system is not Linux. model: with which the peer "aecodec" was made. cache: folder in which results
    are kept.
    """
    found: dict[str, Mapping[str, int]] = {}
    problems: list[Problem] = []
    for peer in tqdm(peers if RESET.exists() else [], desc="peak memory", unit="codec", disable=None):
        quality = peer.qualities[len(peer.qualities) // 2]
        identity = json.dumps([photo.checksum, peer.name, peer.version, peer.settings, quality])
        path = cache / "memory" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
        try:
            found[peer.name] = json.loads(path.read_text())
            continue
        except (OSError, ValueError):
            pass  # not there yet
        try:
            measured = _measure(photo, peer.name, quality, model)
        except Exception as error:  # as in measuring: whatever a peer raises, and the end of its process
            reason = f"peak memory: {type(error).__name__}: {error}"
            problems.append(Problem(photo.name, peer.name, quality, reason))
            continue
        text = json.dumps(measured)
        write_atomically(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        found[peer.name] = measured
    return found, problems


def growth(call: Callable[[], Result]) -> tuple[int, Result]:
    """By how many bytes the resident memory of this process grows while `call` runs, at most, and what it returns.

    Raises OSError where the system is not Linux.
    """
    # Not ru_maxrss: a process inherits it from its parent, and it cannot be set back.
    RESET.write_text("5")
    before = _peak()
    result = call()
    return _peak() - before, result


def _peak() -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _measure(photo: Photo, codec: str, quality: float, model: str | None) -> dict[str, int]:
    # Memory that encoding has freed would serve decoding uncounted, therefore two processes.
    encode, data = _in_a_fresh_process(_encode, photo.path, codec, quality, model)
    return {"encode": encode, "decode": _in_a_fresh_process(_decode, data, codec, quality, model)}


def _in_a_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _encode(path: Path, codec: str, quality: float, model: str | None) -> tuple[int, bytes]:
    peer = _ready(codec, quality, model)
    image = Image.fromarray(load(path).colour)
    return growth(lambda: peer.encode(image, quality))


def _decode(data: bytes, codec: str, quality: float, model: str | None) -> int:
    peer = _ready(codec, quality, model)
    return growth(lambda: peer.decode(data))[0]


def _ready(codec: str, quality: float, model: str | None) -> Peer:
    """The codec, after what it sets up only when it is first used."""
    peer = codecs.make(codec, model)
    peer.decode(peer.encode(Image.new("RGB", (64, 64), (90, 120, 150)), quality))
    return peer
