# ruff: noqa (kept as it ran)
"""lab2.py WEIGHTS OUT.json VARIANT...: VARIANT = name:effort=1,curvature=25,... fields of Encoder"""

import json, sys, time, io, os, subprocess, tempfile, tarfile
from dataclasses import replace
import numpy as np, torch
from pathlib import Path
from PIL import Image
from scipy.interpolate import PchipInterpolator
from aecodec.codec import Codec
from aecodec import perceptual as P

torch.set_num_threads(1)
weights, out, variants = sys.argv[1], sys.argv[2], sys.argv[3:]
files = sorted(json.load(open("benchmarks/heldout.json")), key=lambda d: d["sha256"])
files = [d for d in files if d["kind"] == "photographs"]


def load(d):
    tar, name = d["file"].split("/", 1)
    with tarfile.open(f"photos/{tar}") as t:
        im = Image.open(io.BytesIO(t.extractfile(name).read())).convert("RGB").crop(d["box"])
    return im.crop((64, 64, 448, 448))


N = int(os.environ.get("N", "6"))
ims = [load(d) for d in files[:: len(files) // N][:N]]
QS = [float(q) for q in os.environ.get("QS", "12,36,60,86").split(",")]
codec = Codec(model=weights)
base_encoder = codec.model.family.encoder
tt = lambda v: torch.from_numpy(np.asarray(v).copy()).permute(2, 0, 1)[None].float() / 255
tmp = tempfile.mkdtemp()


def measure(im, q, effort):
    d = codec.compress(im, quality=q, effort=effort)
    o = codec.decompress(d).convert("RGB")
    a, b = tt(im), tt(o)
    with torch.inference_mode():
        r = {
            "bpp": len(d) * 8 / (im.width * im.height),
            "psnr": float(-10 * (a - b).square().mean().log10()),
            "ms": float(-10 * (1 - P.ms_ssim(a, b)).log10()),
            "s2": float(P.ssimulacra2(a, b)),
        }
    if os.environ.get("BUTTER", "1") == "1":
        im.save(tmp + "/a.png", compress_level=0)
        o.save(tmp + "/b.png", compress_level=0)
        t = subprocess.run(
            ["butteraugli_main", tmp + "/a.png", tmp + "/b.png", "--pnorm", "3"], capture_output=True, text=True
        ).stdout
        r["butter"] = -float(t.split("3-norm:")[1].split()[0])
    return r


res = json.load(open(out)) if Path(out).exists() else {}


def bd(A, T, k):
    o = []
    for x, y in zip(A, T):

        def f(c):
            c = sorted(c, key=lambda p: p[k])
            return PchipInterpolator([p[k] for p in c], np.log([p["bpp"] for p in c]))

        lo, hi = max(min(p[k] for p in x), min(p[k] for p in y)), min(max(p[k] for p in x), max(p[k] for p in y))
        g = np.linspace(lo, hi, 100)
        o.append(np.mean(f(y)(g) - f(x)(g)))
    return 100 * (np.exp(np.mean(o)) - 1)


for v in variants:
    name, _, rest = v.partition(":")
    kw = {}
    effort = 1
    for kv in rest.split(","):
        if not kv:
            continue
        k, x = kv.split("=")
        if k == "effort":
            effort = int(x)
            continue
        kw[k] = (
            x
            if k == "objective"
            else x == "1"
            if k == "linear_start"
            else tuple(map(float, x.split("/")))
            if "/" in x
            else float(x)
        )
    key = f"{Path(weights).stem}/{v}"
    if key not in res:
        codec.model.family.encoder = replace(base_encoder, **kw)
        t0 = time.process_time()
        res[key] = [[measure(im, q, effort) for q in QS] for im in ims]
        dt = time.process_time() - t0
        json.dump(res, open(out, "w"))
    else:
        dt = 0
    base = next(iter(res.values()))
    T = res[key]
    print(
        f"{key:60s} {dt:5.0f}s "
        + "  ".join(f"{k} {bd(base, T, k):+6.2f}" for k in ("psnr", "ms", "s2", "butter") if k in T[0][0]),
        flush=True,
    )
