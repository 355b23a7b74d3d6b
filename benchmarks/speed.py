"""Speed and memory of aecodec: end to end, by stage, against the machine's arithmetic, and beside CompressAI.

    python benchmarks/speed.py --model FILE --compressai-python PYTHON --output benchmarks/results/speed.json

Every measurement is a process of its own, so that its peak memory is its own. Where one thread does all the work,
seconds are those of the processor, which other work on the machine hardly changes; otherwise those of the clock, and
nothing else should run. Beside other codecs: benchmarks/peer_speed.py. Stages are measured by wrapping the
functions where they begin (STAGES); what is in none of them is "rest". The arithmetic limit is the time that the
network's multiply-accumulates (MAC), counted as its convolutions run without halos, would take at the rate of the
fastest of three plain 3x3 convolutions, measured in the same process for each dtype.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULTS = "<!-- results of benchmarks/speed.py -->"
ROOT = Path(__file__).resolve().parents[1]
QUALITY = 50
SECONDS = 1.5  # each measurement is repeated until so much time is spent; the fastest counts
SHARED, AEC1 = "families.hyperprior", "families.aec1"
STAGES: dict[str, list[tuple[str, str]]] = {  # stage: (where, name) of what is wrapped
    "read": [("inputs", "load"), ("container", "read")],
    "colour": [("analysis", "pad"), (f"{SHARED}.family", "network_input")],
    "analysis": [(f"{SHARED}.layers:Analysis", "forward")],
    "hyper": [(f"{SHARED}.layers:EntropyModel", "hyper_latents")],
    "scale model": [(f"{SHARED}.scale_model:ExactScaleModel", "__call__")],
    "means": [(f"{SHARED}.layers:EntropyModel", f"mean_of_{number}_pass") for number in ("first", "second")],
    "rounding": [(f"{SHARED}.rounding", "quantise"), (f"{SHARED}.family", "shifts")],
    "signs": [
        *((f"{SHARED}.family", name) for name in ("sign_groups", "tables_of", "without_signs", "with_signs")),
        (f"{SHARED}.rounding", "hide"),
    ],
    "ANS": [("coding.tables:Tables", name) for name in ("encode", "decoder")] + [("coding.tables:Decoder", "take")],
    "search": [(f"{SHARED}.family", "search")],
    "synthesis": [(f"{AEC1}.network:Synthesis", "forward"), (f"{SHARED}.search", "latents_of_pixels")],
    "pixels": [(f"{AEC1}.family", "pixels_of_squares"), ("canvas:Canvas", "paste"), ("codec", "to_image")],
    "write": [("container", "write")],
}
DIRECTIONS = ("compress --effort 0", "compress", "decompress")
DTYPES = ("bfloat16", "float32")
Clock = Callable[[], float]
NETWORK = ("analysis", "hyper", "scale model", "means", "synthesis")


def picture(megapixels: float, source: Path) -> np.ndarray:
    """(H, W, 3) uint8 of about that many pixels, 3:2, made of a photograph and its mirror images."""
    height = max(64, round((megapixels * 1e6 / 1.5) ** 0.5 / 8) * 8)
    width = height * 3 // 2
    photo = np.asarray(Image.open(source).convert("RGB"))
    rows, columns = -(-height // photo.shape[0]), -(-width // photo.shape[1])
    return np.pad(
        photo,
        ((0, (rows - 1) * photo.shape[0]), (0, (columns - 1) * photo.shape[1]), (0, 0)),
        mode="symmetric",
    )[:height, :width].copy()


def clock_of(threads: int, device: str = "cpu") -> Clock:
    """What tells seconds: of the processor where one thread does all the work, otherwise on the wall."""
    return time.process_time if threads == 1 and device == "cpu" else time.perf_counter


def best(function: Callable[[], object], clock: Clock, seconds: float = SECONDS) -> float:
    """The shortest time of a call, in seconds; calls are repeated until `seconds` are spent."""
    fastest, started = float("inf"), clock()
    while clock() - started < seconds:
        before = clock()
        function()
        fastest = min(fastest, clock() - before)
    return fastest


class Stopwatch:
    """Seconds spent in each stage, without those of stages called from within it. Where workers share the threads of
    torch, theirs count by their share."""

    def __init__(self, clock: Clock, synchronise: Callable[[], object], share: Callable[[], float]):
        self.seconds: Counter[str] = Counter()
        self._clock, self._synchronise, self._share = clock, synchronise, share
        # Of each thread: seconds in stages, at each depth of nesting.
        self._inner: defaultdict[int, list[float]] = defaultdict(lambda: [0.0])
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        originals = []
        for stage, places in STAGES.items():
            for where, name in places:
                owner = _find(where)
                originals.append((owner, name, getattr(owner, name)))
                setattr(owner, name, self._wrap(stage, originals[-1][2]))
        try:
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)

    def _wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            self._synchronise()
            started = self._clock()
            inner = self._inner[threading.get_ident()]
            inner.append(0.0)
            try:
                result = function(*args, **options)
                self._synchronise()
                return result
            finally:
                elapsed = self._clock() - started
                with self._lock:
                    self.seconds[stage] += (elapsed - inner.pop()) * self._share()
                inner[-1] += elapsed

        return wrapped


def _find(where: str) -> Any:
    """A module of aecodec, or a class in one."""
    import importlib

    module, _, name = where.partition(":")
    owner = importlib.import_module(f"aecodec.{module}")
    return getattr(owner, name) if name else owner


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def counting(macs: Counter[str]) -> Iterator[None]:
    """Counts the multiply-accumulates of every convolution, by dtype."""
    from torch.nn import functional

    from aecodec.families import convolutions

    original = functional.conv2d

    def conv2d(x: Any, weight: Any, *args: Any, **options: Any) -> Any:
        result = original(x, weight, *args, **options)
        macs[_name(weight.dtype)] += result[:, 0].numel() * weight.numel()
        return result

    functional.conv2d = conv2d
    fuses, convolutions.fuses = convolutions.fuses, lambda _: False  # a convolution within another operator is not seen
    try:
        yield
    finally:
        functional.conv2d = original
        convolutions.fuses = fuses


def convolution_rate(dtype: str, device: str, clock: Clock, seconds: float) -> float:
    """MAC per second of the fastest of three 3x3 convolutions such as the network's."""
    import torch

    rates = []
    for channels, height, width in ((128, 128, 256), (192, 64, 128), (192, 128, 256)):
        weight = torch.randn(channels, channels, 3, 3).to(device, getattr(torch, dtype))
        x = torch.randn(1, channels, height, width).to(weight)
        x, weight = (value.contiguous(memory_format=torch.channels_last) for value in (x, weight))

        def convolve(x: Any = x, weight: Any = weight) -> None:
            torch.nn.functional.conv2d(x, weight, padding=1)
            if device != "cpu":
                torch.cuda.synchronize()

        with torch.inference_mode():
            rates.append(weight.numel() * height * width / best(convolve, clock, seconds / 3))
    return max(rates)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One direction, size, batch and number of threads, in this process.

    args.folder holds picture.jpg; picture.aec is written when compressing and read when decompressing. Compressing is
    measured from the JPEG file to the bytes of .aec files, decompressing from these to Pillow images.
    """
    clock = clock_of(args.threads, args.device)
    started = clock()
    import torch

    import aecodec.codec
    from aecodec.cli.process import keep_freed_memory

    keep_freed_memory()  # as the commands do
    imported = clock()
    torch.set_num_threads(args.threads)
    codec = aecodec.codec.Codec(args.device, args.model)
    loaded = clock()
    synchronise = torch.cuda.synchronize if codec.device.startswith("cuda") else lambda: None
    photo, file = args.folder / "picture.jpg", args.folder / "picture.aec"
    with Image.open(photo) as image:
        count = image.width * image.height * args.batch
    small = picture(0.4, args.image)
    small = small[: small.shape[0] // 64 * 64, : small.shape[1] // 64 * 64]  # nothing padded
    before = clock()
    data = codec.compress(small, QUALITY)
    first_call = clock() - before

    macs: Counter[str] = Counter()
    if args.direction == "decompress":
        codec.decompress(data)
        with counting(macs):
            codec.decompress(data)
        run = partial(codec.decompress_batch, [file.read_bytes()] * args.batch)
    else:
        effort = {} if args.direction == "compress" else {"effort": 0}
        with counting(macs):
            codec.compress(small, QUALITY, **effort)
        run = partial(codec.compress_batch, [photo] * args.batch, QUALITY, **effort)  # type: ignore[assignment]
    fastest: tuple[float, Counter[str]] = (float("inf"), Counter())
    spent, repetitions = 0.0, 0
    while spent < args.seconds or repetitions < 3:  # the first ones prepare convolutions of new shapes and memory
        watch = Stopwatch(clock, synchronise, lambda: torch.get_num_threads() / args.threads)
        result = None  # two results at once would be counted as memory
        before = clock()
        with watch.running():
            result = run()
        elapsed = clock() - before
        spent, repetitions = spent + elapsed, repetitions + 1
        fastest = min(fastest, (elapsed, watch.seconds), key=lambda pair: pair[0])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    if args.direction != "decompress":
        file.write_bytes(result[0])

    elapsed, stages = fastest
    rates = {dtype: convolution_rate(dtype, args.device, clock, args.seconds / 2) for dtype in macs}
    return {
        "direction": args.direction,
        "device": args.device,
        "threads": args.threads,
        "megapixels": count / args.batch / 1e6,
        "batch": args.batch,
        "bpp": 8 * file.stat().st_size * args.batch / count,
        "seconds": elapsed,
        "mp_per_s": count / elapsed / 1e6,
        "stages": {**{stage: stages[stage] for stage in STAGES if stage in stages}, "rest": elapsed - stages.total()},
        "network_seconds": sum(stages[stage] for stage in NETWORK),
        "kmac_per_pixel": {dtype: 1e-3 * macs[dtype] / (small.shape[0] * small.shape[1]) for dtype in macs},
        "gmac_per_s_of_convolution": {dtype: rate / 1e9 for dtype, rate in rates.items()},
        "peak_mb": memory,
        "import_seconds": imported - started,
        "weights_seconds": loaded - imported,
        "first_call_seconds": first_call,
    }


def coder_rates(model: str | None, source: Path, seconds: float) -> list[dict[str, float]]:
    """Millions of coded symbols that the entropy coder writes and reads in a second, on the one thread that it uses.

    What has no table is almost surely 0 and not coded; sorting it out is part of the time.
    """
    from unittest import mock

    from aecodec.codec import Codec
    from aecodec.coding.tables import Tables

    codec = Codec("cpu", model)
    image = picture(2, source)
    result = []
    for quality in (10, QUALITY, 90):
        with mock.patch.object(Tables, "encode", return_value=b"") as encode:
            codec.compress(image, quality)
        tables, (parts,) = codec.model.family.tables, encode.call_args.args
        coded = sum(int((tables.reach[indices] > 0).sum()) for _, indices in parts)
        data = tables.encode(parts)

        def decode(tables: Tables = tables, data: bytes = data, parts: Any = parts) -> None:
            decoder = tables.decoder(data)
            for _, indices in parts:
                decoder.take(indices)
            decoder.finish()

        times = (best(call, time.process_time, seconds) for call in (partial(tables.encode, parts), decode))
        millions = dict(zip(("write", "read"), (coded / time / 1e6 for time in times), strict=True))
        result.append({"quality": quality, "coded": coded / sum(indices.size for _, indices in parts), **millions})
    return result


def add_limits(rows: list[dict[str, Any]]) -> None:
    """Adds the seconds at the arithmetic limit; the rate is the best of all processes with as many threads."""
    for row in rows:
        rates = [r["gmac_per_s_of_convolution"] for r in rows if r["threads"] == row["threads"]]
        rate = {dtype: max(r.get(dtype, 0) for r in rates) for dtype in row["kmac_per_pixel"]}
        gmac = {dtype: kmac * row["megapixels"] * row["batch"] for dtype, kmac in row["kmac_per_pixel"].items()}
        row["gmac_per_s_of_convolution"] = rate
        row["limit_seconds"] = sum(gmac[dtype] / rate[dtype] for dtype in gmac)


def compressai(python: Path, megapixels: float, source: Path, threads: int) -> list[dict[str, Any]]:
    """MP/s of CompressAI's models, in the Python in which it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        Image.fromarray(picture(megapixels, source)).save(file)
        script = Path(__file__).with_name("compressai_speed.py")
        command = [str(python), str(script), str(file), "--threads", str(threads)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def table(results: dict[str, Any]) -> str:
    """Markdown for people."""
    rows = results["aecodec"]
    out = [", ".join(value for value in results["machine"].values() if value) + "; device " + rows[0]["device"], ""]
    out.append("| | threads | MP | MP/s | seconds | limit / total | network / total | limit / network | peak MB |")
    out.append("|---" * 9 + "|")
    for r in rows:
        out.append(
            f"| {r['direction']} | {r['threads']} | {_size(r)} | {r['mp_per_s']:.2f} | {r['seconds']:.2f} | "
            f"{r['limit_seconds'] / r['seconds']:.0%} | {r['network_seconds'] / r['seconds']:.0%} | "
            f"{r['limit_seconds'] / r['network_seconds']:.0%} | {r['peak_mb']:.0f} |"
        )
    out += ["", "What the limit is made of: kMAC per pixel, and GMAC/s of a plain 3x3 convolution.", ""]
    out += ["| | threads | " + " | ".join(f"{dtype} kMAC | GMAC/s" for dtype in DTYPES) + " |", "|---" * 6 + "|"]
    for r in {(r["direction"], r["threads"]): r for r in rows}.values():
        pairs = [(r["kmac_per_pixel"].get(dtype, 0), r["gmac_per_s_of_convolution"].get(dtype, 0)) for dtype in DTYPES]
        cells = [f"{kmac:.1f} | {rate:.0f}" for kmac, rate in pairs]
        out.append(f"| {r['direction']} | {r['threads']} | " + " | ".join(cells) + " |")
    start = [min(r[f"{part}_seconds"] for r in rows) for part in ("import", "weights", "first_call")]
    out += ["", "Start-up: import {:.2f} s, weights {:.2f} s, first call (0.4 MP) {:.2f} s.".format(*start)]
    rates = (
        f"{r['write']:.0f} and {r['read']:.0f} at quality {r['quality']} ({r['coded']:.0%} of the symbols are coded)"
        for r in results["coder"]
    )
    out += ["", "Million coded symbols that one thread writes and reads in a second: " + ", ".join(rates) + "."]
    names = [*STAGES, "rest"]
    out += ["", "Milliseconds per megapixel:", "", "| | threads | MP | " + " | ".join(names) + " |"]
    out.append("|---" * (len(names) + 3) + "|")
    for r in rows:
        count = r["megapixels"] * r["batch"]
        cells = [f"{1e3 * r['stages'][name] / count:.1f}" if name in r["stages"] else "" for name in names]
        out.append(f"| {r['direction']} | {r['threads']} | {_size(r)} | " + " | ".join(cells) + " |")
    if results["peers"]:
        out += [
            "",
            "| | MP | bpp | compress MP/s | decompress MP/s | aecodec is faster by |",
            "|---|---|---|---|---|---|",
        ]
        for peer in results["peers"]:
            ours = [_nearest(rows, direction, peer["megapixels"]) for direction in ("compress", "decompress")]
            ratios = [r["mp_per_s"] / peer[r["direction"]] for r in ours]
            out.append(
                f"| {peer['codec']} | {peer['megapixels']:.1f} | {peer['bpp']:.2f} | {peer['compress']:.3g} | "
                f"{peer['decompress']:.3g} | {ratios[0]:.3g} and {ratios[1]:.3g} |"
            )
    return "\n".join(out)


def _size(row: dict[str, Any]) -> str:
    return f"{row['batch']} x " * (row["batch"] > 1) + f"{row['megapixels']:.1f}"


def _nearest(rows: list[dict[str, Any]], direction: str, megapixels: float) -> dict[str, Any]:
    """Our measurement of the nearest size, alone in its batch, with the most threads."""
    alone = [row for row in rows if row["direction"] == direction]
    return min(alone, key=lambda row: (row["batch"], abs(row["megapixels"] - megapixels), -row["threads"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a released model or a weights file; default: the default model")
    parser.add_argument("--sizes", nargs="*", default=["0.4", "2", "12", "48", "16x0.4"], help="MP, or BATCHxMP")
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--image", type=Path, default=ROOT / "examples" / "coffee.png", help="what pictures are made of"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each measurement, at least")
    parser.add_argument("--compressai-python", type=Path, help="a Python with CompressAI (see compressai_speed.py)")
    parser.add_argument("--compressai-size", type=float, default=0.4, help="MP")
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--document", type=Path, help="a Markdown page, whose text between RESULTS is replaced")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # direction, batch, folder: in this process
    args = parser.parse_args()
    if args.one:
        args.direction, args.batch, args.folder = args.one[0], int(args.one[1]), Path(args.one[2])
        args.threads = args.threads[0]
        print(json.dumps(measure(args)))
        return

    results: dict[str, Any] = {"machine": machine(), "aecodec": [], "peers": []}
    for threads in args.threads:
        for size in args.sizes:
            batch, _, megapixels = size.rpartition("x")
            with tempfile.TemporaryDirectory() as folder:
                Image.fromarray(picture(float(megapixels), args.image)).save(f"{folder}/picture.jpg", quality=95)
                for direction in DIRECTIONS:
                    command = [sys.executable, __file__, "--threads", str(threads), "--device", args.device]
                    command += ["--image", str(args.image), "--seconds", str(args.seconds)]
                    command += ["--model", args.model] if args.model else []
                    command += ["--one", direction, batch or "1", folder]
                    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                    results["aecodec"].append(json.loads(output))
                    print(".", end="", file=sys.stderr, flush=True)
    add_limits(results["aecodec"])
    results["coder"] = coder_rates(args.model, args.image, args.seconds)
    if args.compressai_python:
        threads = max(args.threads)
        results["peers"] += compressai(args.compressai_python, args.compressai_size, args.image, threads)
    print(file=sys.stderr)
    print(table(results))
    if args.document:
        before, _, after = args.document.read_text().split(RESULTS)
        args.document.write_text(f"{before}{RESULTS}\n{table(results)}\n{RESULTS}{after}")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(results, indent=1) + "\n")


def machine() -> dict[str, str]:
    import torch

    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"cpu": cpu, "cores": str(os.cpu_count()), "gpu": gpu, "torch": torch.__version__, "os": platform.platform()}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
