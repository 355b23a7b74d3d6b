"""Acceptance of the archive: a folder of many pictures and odd files, archived under kill -9, verified, extracted.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/archive.py PART TAR... --model FILE

The part (acceptance, memory, throughput or large) is measured and its figures are put into benchmarks/archive.json. The
tars hold JPEG crops, out of which pictures are cut. pillow_heif, if it is installed, makes a real HEIC file.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULTS = Path(__file__).with_suffix(".json")
PICTURES = 1000
KILLS = 10
SHARD_MB = 2.0
SCRIPTS = ["plage", "Strände", "海滩", "παραλία", "пляж", "חוף", "شاطئ", "समुद्र तट", "ビーチ", "🏖"]


def crops(tars: list[Path]) -> list[Image.Image]:
    """Every JPEG of the tars, as bytes that Pillow decodes when they are needed."""
    images = []
    for tar in tars:
        with tarfile.open(tar) as opened:
            for member in opened:
                file = opened.extractfile(member)
                if file is not None and member.name.endswith(".jpg"):
                    images.append(Image.open(io.BytesIO(file.read())))
    return images


def make_collection(root: Path, images: list[Image.Image]) -> int:
    """1,000 pictures of 128 to 256 pixels a side and one of every odd kind. Returns the number of good pictures."""
    rng = random.Random(0)
    for number in range(PICTURES):
        image = images[number % len(images)]
        width, height = (min(64 * rng.randint(2, 4) - rng.choice([0, 0, 0, 5]), side) for side in image.size)
        left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
        folder = root / SCRIPTS[number % len(SCRIPTS)] / str(number // 500)
        folder.mkdir(parents=True, exist_ok=True)
        name = folder / f"{SCRIPTS[number % 7]} {number:04}"
        cut = image.crop((left, top, left + width, top + height)).convert("RGB")
        if number % 10 == 3:
            cut.save(name.with_suffix(".png"))
        else:
            cut.save(name.with_suffix(".jpg"), quality=95, subsampling=0)
    photo = images[0].convert("RGB")
    odd = root / "odd"
    (odd / "empty" / "folder").mkdir(parents=True)
    photo.save(odd / "duplicate a.png")
    photo.save(odd / "duplicate b.png")
    alpha = photo.copy()
    alpha.putalpha(photo.getchannel("G"))
    alpha.save(odd / "alpha.png")
    photo.convert("L").save(odd / "grey.jpg")
    Image.fromarray(np.asarray(photo)[..., 0].astype(np.uint16) * 257).save(odd / "sixteen.png")
    photo.convert("CMYK").save(odd / "cmyk.jpg")
    photo.save(odd / "animated.gif", save_all=True, append_images=[photo.rotate(90)])
    whole = (odd / "grey.jpg").read_bytes()
    (odd / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (odd / "not a picture.jpg").write_text("text")
    (odd / "nothing.jpg").touch()
    (odd / "grey.jpg.aec").write_text("in the way")
    try:
        import pillow_heif

        pillow_heif.from_pillow(photo).save(odd / "phone.heic")
    except ImportError:
        (odd / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    return PICTURES + 4


class Run:
    """A command of `aecodec archive`, and what it took."""

    def __init__(self, *arguments: object):
        command = [sys.executable, "-m", "aecodec", "archive", *map(str, arguments), "--json"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    def kill_after(self, seconds: float) -> bool:
        """Whether it was killed, rather than done before."""
        time.sleep(seconds)
        self.process.send_signal(signal.SIGKILL)
        return self.process.wait() == -signal.SIGKILL

    def result(self) -> Any:
        """What it wrote as JSON; a report also has the exit code and the peak of its resident memory in MB."""
        peak = 0
        with ThreadPoolExecutor(1) as pool:
            assert self.process.stdout is not None
            written = pool.submit(json.load, self.process.stdout)
            while self.process.poll() is None:
                # Not ru_maxrss: that begins with the memory of the process which forks.
                status = Path(f"/proc/{self.process.pid}/status").read_text()
                peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)])
                time.sleep(0.02)
        report = written.result()
        if isinstance(report, dict):
            report |= {"exit_code": self.process.returncode, "peak_mb": round(peak / 1024)}
        return report


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def acceptance(work: Path, images: list[Image.Image], weights: Path) -> dict[str, Any]:
    """Create, kill and continue, verify, extract, compare; every claim is an assertion."""
    model = ["--model", weights, "--device", "cpu"]
    photos = work / "photos"
    good = make_collection(photos, images)
    before = digests(photos)
    shards = ["--shard-size", SHARD_MB]
    say("uninterrupted")
    created = Run("create", photos, work / "whole", *model, *shards).result()
    assert created["exit_code"] == 0, created
    whole = digests(work / "whole")

    say("killed")
    rng = random.Random(1)
    kills, moments = 0, []
    while kills < KILLS:
        moments.append(round(rng.uniform(0.5, 4 + created["seconds"] / KILLS), 2))
        kills += Run("create", photos, work / "killed", *model, *shards).kill_after(moments[-1])
        left = digests(work / "killed")
        finished = {name for name in left if name.endswith(".zip")}
        assert all(left[name] == whole[name] for name in finished)
        for name in finished:
            with zipfile.ZipFile(work / "killed" / name) as shard:
                assert shard.testzip() is None
        say(f"killed after {moments[-1]} s: {len(finished)} of {len(whole)} shards")
        assert len(finished) < len(whole), "done before the last kill"
    continued = Run("create", photos, work / "killed", *model, *shards).result()
    assert digests(work / "killed") == whole

    say("verify and extract")
    records = Run("list", work / "killed").result()
    info = Run("info", work / "killed").result()
    verified = Run("verify", work / "killed", "--deep", "--source", photos, *model).result()
    assert verified["problems"] == [], verified
    extracted = Run("extract", work / "killed", "-o", work / "out", *model).result()
    assert extracted["exit_code"] == 0, extracted["problems"]
    out = digests(work / "out")
    assert {record["name"] for record in records} == {*before, "odd/empty/folder/"}
    for record in records:
        name = record["name"]
        if record["kind"] == "picture":
            written = work / "out" / (name if name.endswith(".png") else name + ".png")
            with Image.open(written) as image:
                assert image.size == (record["width"], record["height"])
        elif record["kind"] != "folder":
            assert out[name] == before[name] == record["sha256"]
    assert digests(photos) == before, "a source was touched"
    return {
        "good_pictures": good,
        "files": info["files"],
        "kept_because": {record["name"]: record["reason"] for record in records if record.get("reason")},
        "shards": len(whole),
        "source_bytes": info["source_bytes"],
        "stored_bytes": info["stored_bytes"],
        "kill_moments_s": moments,
        "continued_present": continued["counts"].get("present", 0),
        "verify_deep_s": round(verified["seconds"], 1),
        "extract_s": round(extracted["seconds"], 1),
        "create": figures(created),
    }


def figures(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "megapixels": round(report["pixels"] / 1e6, 2),
        "seconds": round(report["seconds"], 2),
        "mp_per_s": round(report["pixels"] / 1e6 / report["seconds"], 3),
        "codec_share": round(report["codec_seconds"] / report["seconds"], 3),
        "peak_mb": report.get("peak_mb"),
    }


def throughput(work: Path, images: list[Image.Image], weights: Path) -> dict[str, Any]:
    """64 whole crops: an archive against plain loops over the codec, all in this process and after a first call."""
    from aecodec import Codec, archive

    folder = work / "crops"
    folder.mkdir()
    for number, image in enumerate(images[:64]):
        image.save(folder / f"{number:02}.jpg", quality=95, subsampling=0)
    archive.create(folder, work / "warm.zip", 1, device="cpu", model=weights)
    report = archive.create(folder, work / "crops.zip", device="cpu", model=weights)
    codec = Codec(device="cpu", model=weights)
    started = time.monotonic()
    files = [codec.compress(path) for path in sorted(folder.iterdir())]
    compressing = time.monotonic() - started
    for data in files:
        codec.decompress(data)
    both = time.monotonic() - started
    return {
        "archive": figures(vars(report)),
        "loop_compress_mp_per_s": round(report.pixels / 1e6 / compressing, 3),
        "loop_compress_and_decompress_mp_per_s": round(report.pixels / 1e6 / both, 3),
    }


def memory(work: Path, images: list[Image.Image], weights: Path) -> dict[str, Any]:
    """Peaks for ten pictures and for the whole collection."""
    model = ["--model", weights, "--device", "cpu"]
    ten = work / "ten"
    ten.mkdir()
    for number, image in enumerate(images[:10]):
        image.crop((0, 0, 192, 192)).save(ten / f"{number}.jpg", quality=95)
    make_collection(work / "photos", images)
    whole = work / "whole"
    commands: dict[str, list[object]] = {
        "create_10": ["create", ten, work / "ten.zip", *model],
        "create_1000": ["create", work / "photos", whole, *model, "--shard-size", SHARD_MB],
        "verify_deep_1000": ["verify", whole, "--deep", *model],
        "extract_1000": ["extract", whole, "-o", work / "out", *model],
    }
    return {name: figures(Run(*command).result()) for name, command in commands.items()}


def large(work: Path, images: list[Image.Image], weights: Path) -> dict[str, Any]:
    """One smooth picture of 100 megapixels."""
    folder = work / "large"
    folder.mkdir()
    ramp = np.linspace(0, 255, 10_000).astype(np.uint8)
    bands = [Image.fromarray(np.broadcast_to(plane, (10_000, 10_000))) for plane in (ramp, ramp[:, None], ramp[::-1])]
    Image.merge("RGB", bands).save(folder / "large.jpg", quality=90)
    created = Run("create", folder, work / "large.zip", "--model", weights, "--device", "cpu").result()
    assert created["counts"] == {"picture": 1}, created
    return figures(created)


PARTS = {"acceptance": acceptance, "memory": memory, "throughput": throughput, "large": large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("tars", nargs="+", type=Path)
    parser.add_argument("--model", required=True, type=Path)
    arguments = parser.parse_args()
    weights = arguments.model.resolve()
    with tempfile.TemporaryDirectory() as folder:
        measured = PARTS[arguments.part](Path(folder), crops(arguments.tars), weights)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    model = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    results[arguments.part] = {"model": model, "threads": os.environ.get("OMP_NUM_THREADS"), **measured}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
