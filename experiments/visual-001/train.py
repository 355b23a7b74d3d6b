# ruff: noqa (kept as it ran)
"""Fine-tunes aec1 for what the eye sees; exactly resumable. train.py RUN --start FILE --steps N [--decay-from K] ..."""

import argparse, copy, math, os, sys, time
from dataclasses import asdict
from pathlib import Path
import torch
from torch.nn import functional as F
from aecodec import perceptual_new as P
from aecodec.entropy import ESCAPE_TOP
from aecodec.hiding import count_hidden, sign_groups
from aecodec.integer import round_through
from aecodec.networks import (
    network_input,
    pixels_of_squares,
    rate_distortion_lambda as geometric,
    regroup,
    scale_of_index,
)
from aecodec.rounding import bits_per_square, quantise_pass, round_latents, shifts
from aecodec.training import loop as L, objective as O
from aecodec.training.data import load_tiles, random_patches
from aecodec.weights import Model, trainable

ap = argparse.ArgumentParser()
ap.add_argument("run", type=Path)
ap.add_argument("--start")
ap.add_argument("--batch", type=int, default=12)
ap.add_argument("--peak", type=float, default=0.3)
ap.add_argument("--steps", type=int, required=True, help="end at this step")
ap.add_argument("--decay-from", type=int, default=None)
ap.add_argument("--to", type=float, default=0.0)
ap.add_argument(
    "--prices", help="weights file whose tables price the rounding: tuning on latents as the encoder codes them"
)
ap.add_argument("--effort", type=int, default=0)
ap.add_argument("--photos", nargs="*", default=sorted(str(p) for p in Path("photos").glob("*.tar")))
ap.add_argument("--synthetic", default="runs/synthetic")
ap.add_argument("--share", type=float, default=0.1)
ap.add_argument("--no-compile", action="store_true")
ap.add_argument("--float32", action="store_true")
ap.add_argument("--bench", action="store_true")
ap.add_argument("--mixture", default="0.5,0.3,0.2")
ap.add_argument("--ema", type=float, default=0.995)
a = ap.parse_args()
torch.set_num_threads(1)
mixture = P.Mixture(*map(float, a.mixture.split(",")))
raw_distortion = P.distortion
compiled_distortion = raw_distortion if a.no_compile else torch.compile(raw_distortion, dynamic=False)
CURVATURE, CLAMP, FIRST, LAST = 25.0, 0.4, 0.35, 0.15


def lift(p):
    return 2 * ((p - 0.6) / 0.4).clamp_min(0).square()  # of log lambda: the top of the range reaches further


def rate_distortion_lambda(config, p):
    return geometric(config, p) * lift(p).exp()


def to_pixels(x):
    return pixels_of_squares(x.float()) + 0.5


def loss_of_pixels(target, xh, pos, lam):
    return compiled_distortion(mixture, to_pixels(target), to_pixels(xh), lam)


def activity(target):
    px = to_pixels(target) * 255
    y = (px * torch.tensor([0.3, 0.59, 0.11]).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def variance(n):
        m = F.avg_pool2d(y, n)
        return F.avg_pool2d(y * y, n) - m * m

    v = torch.minimum(variance(16), F.avg_pool2d(variance(8), 2))
    l = -0.15 * (v.clamp_min(0) + 30).log()
    return (l - l.mean((1, 2, 3), keepdim=True)).exp()


def shifts_map(index, prices, worth):
    price = prices[index.long()]
    t = (price / (2 * worth) - 0.5).clamp(max=0.5)
    return torch.where(price.isinf(), ESCAPE_TOP + 1, t)


def search(model, y, features, index, prices, pos, target, steps, groups):
    with torch.no_grad():
        act = activity(target)

        def after(s):
            return shifts_map(index, prices, bits_per_square(pos, s / (steps + 1)).view(-1, 1, 1, 1) * act)

        y = y.clone()
        gain = model.decoder_gain(pos)
        lam = rate_distortion_lambda(model.config, pos)
        for step in range(steps):
            _, yh = round_latents(model, y, features, index, after(step), groups if step else [])
            yh = yh.detach().requires_grad_(True)
            with torch.enable_grad():
                xh = model.synthesis(yh, yh * gain, features, pos)
                d = (4 * target.shape[2] * target.shape[3] * loss_of_pixels(target, xh, pos, lam)).sum()
                (slope,) = torch.autograd.grad(d, yh)
            y.lerp_(
                yh.detach() - (slope / (2 * CURVATURE * act)).clamp(-CLAMP, CLAMP),
                FIRST + (LAST - FIRST) * step / steps,
            )
        return y, after(steps)


def coded(model, x, pos, noise, prices=None, effort=0, cut=None):
    e = model.entropy_model
    an = model.analysis(x) * model.encoder_gain(pos)
    tp = pos
    if cut is not None:
        an, tp = torch.cat(an.chunk(2, cut)), pos.repeat(2)
    z = e.hyper_latents(an)
    zs = scale_of_index(model.scale_model.z_scale_index(tp, True))
    zh = round_through(z)
    c = (z + torch.rand_like(z) - 0.5 if noise else zh) - model.scale_model.predict(zh, True)
    bits = O.laplace_bits(c, zs).sum((1, 2, 3))
    f, index = model.scale_model(zh, tp, True)
    sc = scale_of_index(index)
    y, groups = an, []
    if prices is not None:
        y, index = y.detach(), index.detach()
        groups = sign_groups(model.config, index)
        if effort:
            target = regroup(x if cut is None else torch.cat(x.chunk(2, cut)))
            y, shift = search(model, y, f.detach(), index, prices, tp.detach(), target, effort, groups)
        else:
            shift = shifts(index, prices, bits_per_square(tp))

    def symbols(mean, number):
        r = y - mean
        if prices is None:
            return round_through(r)
        with torch.no_grad():
            change = quantise_pass(r, shift, [p[number] for p in groups]) - r
        return r + change

    rounded, mean = e.passes(f, sc.detach(), symbols)
    res = y - mean
    bits = bits + O.laplace_bits(res + torch.rand_like(res) - 0.5 if noise else rounded, sc).sum((1, 2, 3))
    if groups:
        bits = bits - count_hidden(rounded.detach(), groups)
    yh = mean + rounded
    if prices is not None and an.requires_grad:
        through = an - an.detach()
        yh = yh + through
        rate = O.laplace_bits(y + through - mean.detach() + torch.rand_like(y) - 0.5, sc.detach()).sum((1, 2, 3))
        bits = bits + rate - rate.detach()
    if cut is not None:
        bits = bits.view(2, -1).sum(0)
        yh, f = (torch.cat(h.chunk(2), cut) for h in (yh, f))
    return bits / (64 * x.shape[2] * x.shape[3]), model.synthesis(yh, yh * model.decoder_gain(pos), f, pos)


def objective(model, x, pos, noise, **kw):
    with torch.autocast("cpu", torch.bfloat16, enabled=not a.float32):
        bpp, xh = coded(model, x, pos, noise, **kw)
    lam = rate_distortion_lambda(model.config, pos)
    return bpp, loss_of_pixels(regroup(x), xh, pos, lam), xh, lam


a.run.mkdir(parents=True, exist_ok=True)
path = a.run / "checkpoint.pt"
log = (a.run / "log.txt").open("a")


def say(t):
    print(t, flush=True)
    log.write(t + "\n")
    log.flush()


photos, held, _ = load_tiles(a.photos)
synthetic, held_s, _ = load_tiles([a.synthetic])
say(f"{sys.argv} photos {len(photos)} held {len(held)} synthetic {len(synthetic)}")
state = torch.load(path, weights_only=True) if path.exists() else None
model = trainable(a.start)
model.to(memory_format=torch.channels_last)
model.train()
avg = copy.deepcopy(model).requires_grad_(False)
mats = L.muon_matrices(model)
opts = L.build_optimisers(model, mats)
settings = L.TrainingConfig(batch=a.batch, patch=256)
g = torch.Generator()
g.manual_seed(1)
torch.manual_seed(1)
step, seconds, mean_norm, skips = 0, 0.0, 0.0, 0
if state is not None:
    model.load_state_dict(state["model"])
    avg.load_state_dict(state["average"])
    for o, s in zip(opts, state["optimisers"]):
        o.load_state_dict(s)
    g.set_state(state["generator"])
    torch.set_rng_state(state["rng"])
    step, seconds, mean_norm, skips = state["step"], state["seconds"], state["mean_norm"], state["skips"]
    say(f"resumed at step {step}, {seconds / 60:.1f} minutes")
if state is not None and not state.get("lifted"):
    with torch.no_grad():
        for m in (model, avg):
            d = lift(torch.linspace(0, 1, model.config.rows))[:, None] / 2
            m.log_encoder_gain += d
            m.log_decoder_gain -= d
            m.synthesis.log_input_gain -= d
            m.scale_model.index_head.bias += 6 * d * 1.4427 / 16
    say("lifted" + str(model.scale_model.index_head.bias[-1].max()))
prices = Model(Path(a.prices), torch.device("cpu")).prices if a.prices else None


def save():
    L.save_atomically(
        {
            "model_config": asdict(model.config),
            "model": model.state_dict(),
            "average": avg.state_dict(),
            "optimisers": [o.state_dict() for o in opts],
            "generator": g.get_state(),
            "rng": torch.get_rng_state(),
            "step": step,
            "seconds": seconds,
            "mean_norm": mean_norm,
            "skips": skips,
            "lifted": True,
        },
        path,
    )


def patches():
    k = int((torch.rand(a.batch, generator=g) < a.share).sum())
    x = random_patches(photos, a.batch - k, 256, g)
    if k:
        x = torch.cat([x, random_patches(synthetic, k, 256, g)])
    return x[torch.randperm(a.batch, generator=g)].contiguous(memory_format=torch.channels_last)


val = network_input(torch.cat([held[:24, :, 128:384, 128:384], held_s[:8, :, 128:384, 128:384]]))


@torch.no_grad()
def validate():
    line = ""
    for at in (0.05, 0.35, 0.65, 1.0):
        rows = []
        for i in range(0, len(val), a.batch):
            x = val[i : i + a.batch]
            n = len(x)
            if n < a.batch:
                x = torch.cat([x, x.new_zeros(a.batch - n, *x.shape[1:])])
            p = torch.full((a.batch,), at)
            b, d, xh, lam = objective(avg, x, p, False)
            s = P.ssimulacra2(to_pixels(regroup(x)), to_pixels(xh))
            m = (regroup(x) - xh).square().mean((1, 2, 3))
            ms = P.ms_ssim(to_pixels(regroup(x)), to_pixels(xh))
            rows.append(torch.stack([b, -10 * m.log10(), s, -10 * (1 - ms).log10(), b + d], 1)[:n])
        r = torch.cat(rows)
        ph, sy = r[:24].mean(0), r[24:].mean(0)
        line += f"\n   p{at}: photos {ph[0]:.4f} bpp {ph[1]:.2f} dB S {ph[2]:.2f} MS {ph[3]:.2f} J {ph[4]:.4f}; synthetic {sy[0]:.4f} bpp {sy[1]:.2f} dB S {sy[2]:.2f} J {sy[4]:.4f}"
    return line


if a.bench:
    for name, kw in (("noise", {}),) + (
        (("effort0 prices", dict(prices=prices)), ("effort1 prices", dict(prices=prices, effort=1))) if a.prices else ()
    ):
        for i in range(3):
            x = patches()
            pos = (torch.arange(a.batch) + torch.rand(a.batch)) / a.batch
            t0 = time.process_time()
            b, d, xh, lam = objective(model, x, pos, not kw, **kw)
            t1 = time.process_time()
            ((b + d) * lam.rsqrt()).mean().backward()
            t2 = time.process_time()
            for k, mm in mats:
                mm.grad = None if k.grad is None else k.grad.permute(0, 2, 3, 1).flatten(1)
            for o in opts:
                o.step()
            model.zero_grad(set_to_none=True)
            t3 = time.process_time()
            say(
                f"{name} forward {t1 - t0:.2f} backward {t2 - t1:.2f} step {t3 - t2:.2f}: {a.batch / (t3 - t0):.2f} patches/s"
            )
    t0 = time.process_time()
    xx = xh.detach().requires_grad_(True)
    loss_of_pixels(regroup(x), xx, pos, lam).sum().backward()
    say(f"objective alone {time.process_time() - t0:.2f}")
    sys.exit()
if state is None or not state.get("lifted"):
    say("start" + validate())
clock0, before, losses, started, last = time.process_time(), seconds, 0.0, time.time(), time.time()
parameters, averages = list(model.parameters()), list(avg.parameters())
while step < a.steps:
    factor = a.peak * min(1, (step + 1) / 50)
    if a.decay_from is not None and step >= a.decay_from:
        factor = a.peak * (1 - (1 - a.to) * (step - a.decay_from) / (a.steps - a.decay_from))
    L.set_rates(opts, settings, factor)
    x = patches()
    pos = (torch.arange(a.batch) + torch.rand(a.batch, generator=g)) / a.batch
    cut = 2 + int(torch.rand(()) < 0.5) if torch.rand(()) < 0.25 else None
    if prices is not None and a.effort:
        cut = None
    b, d, xh, lam = objective(model, x, pos, prices is None, prices=prices, effort=a.effort, cut=cut)
    loss = ((b + d) * lam.rsqrt()).mean()
    loss.backward()
    n = float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if math.isfinite(n) and (n < 10 * mean_norm or mean_norm == 0):
        mean_norm = n if mean_norm == 0 else mean_norm + 0.02 * (n - mean_norm)
        for k, mm in mats:
            mm.grad = None if k.grad is None else k.grad.permute(0, 2, 3, 1).flatten(1)
        for o in opts:
            o.step()
        torch._foreach_lerp_(averages, parameters, 1 - min(a.ema, (step + 1) / (step + 10)))
    else:
        skips += 1
    model.zero_grad(set_to_none=True)
    losses += float(loss.detach())
    step += 1
    seconds = before + time.process_time() - clock0
    if step % 50 == 0:
        say(
            f"step {step} {seconds / 60:.1f} cpu min, {50 * a.batch / (time.time() - last):.2f} patches/s loss {losses / 50:.4f} norm {mean_norm:.3f} skips {skips}"
            + (validate() if step % 500 == 0 else "")
        )
        losses = 0.0
        last = time.time()
    if step % 100 == 0 or step == a.steps:
        save()
save()
say("end" + validate())
