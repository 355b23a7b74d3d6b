"""Rate-distortion plots as PNG, for papers and the README."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import BinaryIO

from aecodec.benchmark.curves import Curve
from aecodec.files import write_atomically

# Okabe and Ito's colours, which colour-blind people can tell apart; ours is the strongest.
OURS = "#d55e00"
COLOURS = {
    "jpeg": "#56b4e9",
    "jpeg-444": "#56b4e9",
    "jpegli": "#56b4e9",
    "mozjpeg": "#999933",
    "jp2": "#a6761d",
    "webp": "#009e73",
    "heic": "#cc79a7",
    "jxl": "#7f6bd6",
    "avif": "#0072b2",
    "avif-psnr": "#0072b2",
    "avif-444": "#0072b2",
    "avif-444-psnr": "#0072b2",
    "avif-fast": "#0072b2",
    "avif-slow": "#0072b2",
}
LINES = {  # the others are solid
    "jpeg-444": ":",
    "jpegli": "--",
    "avif-psnr": ":",
    "avif-444": "--",
    "avif-444-psnr": "-.",
}
LABELS = {
    "psnr_rgb": "PSNR (RGB), dB",
    "psnr_y": "PSNR (luma), dB",
    "ms_ssim": "MS-SSIM, dB",
    "ssimulacra2": "SSIMULACRA2",
    "butteraugli": "Butteraugli, 3-norm, negative",
    "cvvdp": "CVVDP, JOD",
}


def draw(
    path: Path,
    curves: Mapping[str, Curve],
    titles: Mapping[str, str],
    metric: str,
    title: str,
    published: Mapping[str, Curve] | None = None,
) -> None:
    """Writes the plot of mean curves by codec. published: curves by title that were not measured here, drawn lighter.
    Raises OSError."""
    from matplotlib.figure import Figure

    many = len(curves) + len(published or {}) > 8  # a legend inside would cover curves
    figure = Figure(figsize=(9.5 if many else 7, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot(
            [p.bpp for p in points],
            [p.score for p in points],
            label=titles[name],
            color=OURS if name.startswith("aecodec") else COLOURS.get(name),
            linestyle=LINES.get(name, "--" if "@" in name else "-"),
            linewidth=2.2 if name == "aecodec" else 1.4,
            marker=".",
            markersize=6,
            zorder=3 if name.startswith("aecodec") else 2,
        )
    if published:
        axes.plot([], [], " ", label="published, not measured here:")
    for (name, points), style in zip((published or {}).items(), cycle(["-", "--", "-.", ":"])):
        axes.plot(
            [p.bpp for p in points],
            [p.score for p in points],
            label=name,
            color="#a9afb8",
            linestyle=style,
            linewidth=1,
            zorder=1,
        )
    axes.set(xlabel="bits per pixel", ylabel=LABELS.get(metric, metric), title=title, xlim=(0, 2))
    shown = [p.score for points in curves.values() for p in points if p.bpp <= 2]
    if shown:
        axes.set_ylim(min(shown) - 0.5, max(shown) + 0.5)
    axes.grid(alpha=0.3)
    if many:
        figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    else:
        axes.legend(loc="lower right", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)

    def write(file: BinaryIO) -> None:
        figure.savefig(file, format="png")

    write_atomically(path, write)
