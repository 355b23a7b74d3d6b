"""The curves of a run, from its CSV logs to a PNG."""

from __future__ import annotations

import csv
from pathlib import Path


def plot_run(run: Path) -> Path | None:
    """Draws J (relative to the first report) against step, and the last report as bpp against PSNR; trunk and decay.

    Returns the file `curves.png` in the run's folder, or None if it holds neither or matplotlib (the `train` extra) is
    not installed.
    """
    styles = {run / "trunk.csv": "-", run / "decay.csv": "--"}
    logs = [log for log in styles if log.exists()]
    if not logs:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(11, 4), layout="constrained")
    progress, curve = figure.subplots(1, 2)
    first: dict[str, str] = {}
    for log in logs:
        with log.open(newline="") as file:
            rows = list(csv.DictReader(file))
        first = first or rows[0]
        positions = [key.removeprefix("J@") for key in rows[0] if key.startswith("J@")]
        steps = [int(row["step"]) for row in rows]
        for number, at in enumerate(positions):
            relative = [float(row[f"J@{at}"]) / float(first[f"J@{at}"]) for row in rows]
            label = f"position {at}" if first is rows[0] else None
            progress.plot(steps, relative, styles[log], color=f"C{number}", label=label)
        last = rows[-1]
        bpp, psnr = ([float(last[f"{key}@{at}"]) for at in positions] for key in ("bpp", "psnr"))
        curve.plot(bpp, psnr, "o" + styles[log], label=f"{log.stem}, step {last['step']}")
    progress.set(xlabel="step", ylabel="J / J of the first report", title="held-out tiles")
    curve.set(xlabel="bits per pixel", ylabel="PSNR, dB", title="held-out tiles, estimated rate")
    for axes in (progress, curve):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(run / "curves.png", dpi=110)
    return run / "curves.png"
