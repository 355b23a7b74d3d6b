"""The curves of a run, from its log to a PNG."""

from __future__ import annotations

import json
from pathlib import Path

from aecodec.training.validation import LAMBDAS


def plot_run(run: Path) -> Path | None:
    """Draws J (relative to the first report) against step, and the last report of each phase as bpp against PSNR.

    Returns the file `curves.png` in the run's folder, or None if matplotlib (the `train` extra) is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(11, 4), layout="constrained")
    progress, curve = figure.subplots(1, 2)
    styles = {"trunk": "-", "decay": "--", "tune": ":"}
    for phase, style in styles.items():
        rows = [line for line in lines if line["phase"] == phase]
        if not rows:
            continue
        for number, lambda_ in enumerate(LAMBDAS):
            relative = [row["J"][number] / lines[0]["J"][number] for row in rows]
            label = f"lambda {lambda_:.4f}" if rows[0] is lines[0] else None
            progress.plot([row["step"] for row in rows], relative, style, color=f"C{number}", label=label)
        curve.plot(rows[-1]["bpp"], rows[-1]["psnr"], "o" + style, label=f"{phase}, step {rows[-1]['step']}")
    progress.set(xlabel="step", ylabel="J / J of the first report", title="held-out crops")
    curve.set(xlabel="bits per pixel", ylabel="PSNR, dB", title="held-out crops, estimated rate")
    for axes in (progress, curve):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(run / "curves.png", dpi=110)
    return run / "curves.png"
