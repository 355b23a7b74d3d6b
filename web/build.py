"""Builds the decoder for the web: python web/build.py [FOLDER] (default: web/dist).

FOLDER gets the ES module, libaec as WebAssembly, what of the released weights a decoder needs, and the page. Nothing of
aecodec has to be installed. The compiler is that of the wheel `ziglang`, or clang with lld; zig's is newer, and what it
makes is three times as fast as what clang 14 makes.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NATIVE = ROOT / "native"
REGISTRY = ROOT / "aecodec" / "models" / "registry.py"
WEIGHTS = ROOT / "weights"
EXPORTS = (
    *("malloc", "free", "aec__sha256", "aec_file_open", "aec_file_salvage", "aec_file_info", "aec_file_damage"),
    *("aec_file_chunk", "aec_file_close", "aec_model_open", "aec_model_close", "aec_decode"),
)
# Vectors of the standard, not the relaxed ones, and no fused multiply-add: pixels are the same on every machine.
FLAGS = (
    *(
        "-std=c11",
        "-Os",
        "-fno-inline-functions",
        "-Wall",
        "-Werror",
        "-Wno-psabi",
        "-ffreestanding",
        "-fvisibility=hidden",
    ),
    *("-msimd128", "-mbulk-memory", "-fno-math-errno", "-ffp-contract=off"),
    *("-fno-unroll-loops", "-fno-vectorize", "-fno-slp-vectorize"),  # loops that matter are unrolled in the source
)
STACK = 1 << 20  # bytes
ENCODER = ("analysis.", "entropy_model.hyper_analysis", "log_encoder_gain")  # tensors that no decoder reads
DECODER = ("aec.wasm", "index.js", "libaec.js", "models.js", "worker.js")  # what a page loads to decode


def tools() -> tuple[list[str], list[str]] | None:
    """Commands of a C compiler and of a linker for WebAssembly, or None."""
    if find_spec("ziglang"):
        zig = [sys.executable, "-m", "ziglang"]
        return [*zig, "cc", "-target", "wasm32-freestanding"], [*zig, "wasm-ld"]
    if shutil.which("clang") and shutil.which("wasm-ld"):
        return ["clang", "--target=wasm32", "-nostdlibinc"], ["wasm-ld"]
    return None


def compile_library(target: Path) -> None:
    """libaec as a WebAssembly module that imports nothing."""
    found = tools()
    if found is None:
        raise SystemExit("no compiler for WebAssembly: pip install ziglang, or install clang and lld")
    compiler, linker = found
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for source in (HERE / "libc" / "libc.c", *sorted((NATIVE / "src").glob("*.c"))):
            made = Path(folder) / f"{source.stem}.o"
            run([*compiler, *FLAGS, "-isystem", str(HERE / "libc"), "-c", str(source), "-o", str(made)])
            objects.append(str(made))
        exports = [f"--export={name}" for name in EXPORTS]
        options = ["--no-entry", "--strip-all", "--gc-sections", "-z", f"stack-size={STACK}"]
        run([*linker, *options, *exports, *objects, "-o", str(target)])


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")


def decoder_weights(data: bytes) -> bytes:
    """A weights file without the tensors that only an encoder reads: two thirds of the size."""
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    kept, payload = {"__metadata__": header.pop("__metadata__")}, bytearray()
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if name.startswith(ENCODER):
            continue
        first, last = tensor["data_offsets"]
        kept[name] = {**tensor, "data_offsets": [len(payload), len(payload) + last - first]}
        payload += data[8 + length + first : 8 + length + last]
    text = json.dumps(kept, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + payload


def release_weights(folder: Path) -> dict[str, dict[str, object]]:
    """Writes the weights, verified; returns what the module has to know of them, by the id that files have."""
    known: dict[str, dict[str, object]] = {}
    folder.mkdir()
    for name, digest in runpy.run_path(str(REGISTRY))["RELEASED"].items():
        data = (WEIGHTS / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise SystemExit(f"{WEIGHTS / name}.safetensors is not the released file")
        own = decoder_weights(data)
        sha256 = hashlib.sha256(own).hexdigest()
        file = f"{name}-{sha256[:8]}.safetensors"
        (folder / file).write_bytes(own)
        known[digest[:8]] = {"name": name, "file": file, "bytes": len(own), "sha256": sha256}
    return known


def build(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "dist"
        shutil.copytree(HERE / "src", made)
        shutil.copytree(HERE / "page", made, dirs_exist_ok=True)
        compile_library(made / "aec.wasm")
        models = json.dumps(release_weights(made / "models"), indent=2)
        (made / "models.js").write_text(f"// Made by build.py.\nexport const MODELS = {models};\n")
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)


if __name__ == "__main__":
    chosen = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "dist").absolute()
    build(chosen)
    size = sum((chosen / name).stat().st_size for name in DECODER)
    print(f"{chosen}: the decoder is {size / 1000:.1f} kB")
