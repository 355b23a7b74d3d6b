"""Puts the tables of README and docs in their places, from the results in benchmarks/results: nobody copies numbers.

    python benchmarks/tables.py [--check]

A table stands between the lines `<!-- table: NAME RESULTS -->` and `<!-- end of table -->`; NAME is one of TABLES and
RESULTS a folder below benchmarks/results. --check changes nothing and fails if a document is not up to date.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/archive.md", "docs/benchmark.md")
PLACE = re.compile(r"(<!-- table: (\S+) (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
LABELS = {
    "psnr_rgb": "PSNR",
    "psnr_y": "PSNR (luma)",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
    "butteraugli": "Butteraugli 3-norm",
    "cvvdp": "CVVDP",
}
Results = dict[str, Any]


def load(folder: str, name: str) -> Results:
    found: Results = json.loads((ROOT / "benchmarks" / "results" / folder / f"{name}.json").read_text())
    return found


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}"


def mean(cell: Results) -> str:
    """Mean over pictures and standard error, in percent; in brackets of how many pictures, if not of all."""
    summary = cell["summary"]
    if not summary:
        return "none"
    error = f" ± {summary['error']:.1f}" if summary["error"] is not None else ""
    few = f" ({summary['pictures']})" if summary["pictures"] < summary["total"] else ""
    return signed(summary["mean"]) + error + few


def rates(folder: str, kind: str, anchor: str) -> str:
    """Codecs and metrics: BD-rates, means over pictures with standard errors, the best by SSIMULACRA2 first."""
    results = load(folder, "results")
    found, metrics = results["kinds"][kind]["bd_rates"][anchor], results["metrics"]
    judge = "ssimulacra2" if "ssimulacra2" in metrics else metrics[0]
    titles = {codec["name"]: codec["title"] for codec in results["codecs"]}

    def place(name: str) -> float:
        summary = found[judge][name]["summary"]
        return float(summary["mean"]) if summary else float("inf")

    rows = []
    for name in sorted(found[judge], key=place):
        cells = [mean(found[metric][name]) for metric in metrics]
        ours = name.startswith("aecodec")
        rows.append([f"**{cell}**" if ours else cell for cell in [titles[name], *cells]])
    return markdown([f"against {titles[anchor]}", *(LABELS[metric] for metric in metrics)], rows)


def details(folder: str, kind: str, anchor: str) -> str:
    """Everything that stands behind a mean, for each codec and metric."""
    results = load(folder, "results")
    found = results["kinds"][kind]["bd_rates"][anchor]
    titles = {codec["name"]: codec["title"] for codec in results["codecs"]}
    rows = []
    for metric in results["metrics"]:
        for name, cell in found[metric].items():
            summary = cell["summary"]
            if not summary:
                continue
            curves = signed(cell["mean_curves"]) if cell["mean_curves"] is not None else cell["trouble"]
            low, high = cell["low"], cell["high"]
            if metric == "butteraugli" and low is not None:
                low, high = -high, -low
            overlap = f"{low:.1f} to {high:.1f}" if low is not None else "none"
            worst, best = (f"{where} {signed(value)}" for where, value in (summary["worst"], summary["best"]))
            pictures = f"{summary['pictures']} of {summary['total']}"
            cells = [mean(cell), signed(summary["median"]), curves, overlap, worst, best, pictures]
            rows.append([LABELS[metric], titles[name], *cells])
    head = ["metric", "codec", "mean", "median", "mean curves", "overlap", "worst picture", "best picture", "pictures"]
    return markdown(head, rows)


def reach(folder: str, kind: str, anchor: str) -> str:
    """By how many percent files are larger than the anchor's at the same SSIMULACRA2, those without loss among them."""
    results = load(folder, "results")
    targets = results["kinds"][kind]["reach"][anchor]
    titles = {codec["name"]: codec["title"] for codec in results["codecs"]}

    def cell(name: str, target: str) -> str:
        found = targets[target][name]
        text = "-" if name == anchor or found["mean"] is None else signed(found["mean"])
        text += f" ± {found['error']:.1f}" if name != anchor and found["error"] is not None else ""
        few = [f"of {found['pictures']}"] if found["pictures"] < found["total"] and text != "-" else []
        few += [f"{found['reached']} reach it"] if found["reached"] < found["total"] else []
        few += [f"{found['lossless']} lossless"] if found["lossless"] else []
        return text + (f" ({', '.join(few)})" if few else "")

    rows = []
    for name in titles:
        cells = [titles[name], *(cell(name, target) for target in targets)]
        rows.append([f"**{text}**" for text in cells] if name.startswith("aecodec") else cells)
    return markdown([f"against {titles[anchor]}", *(f"SSIMULACRA2 {target}" for target in targets)], rows)


def generations(folder: str) -> str:
    """Ten times compressed and decompressed: what changes from the first file to the tenth, means over the pictures."""
    found = load(folder, "generations")
    rows = []
    for name, of_codec in found["generations"].items():
        for quality in sorted({key.split()[-1] for key in of_codec}):
            coloured = [of for key, of in of_codec.items() if key.endswith(quality) and " grey " not in key]
            grey = [of for key, of in of_codec.items() if key.endswith(quality) and " grey " in key]
            first, last = ([of[generation] for of in coloured] for generation in ("1", "10"))
            scores = [statistics.fmean(m["ssimulacra2"] for m in each) for each in (first, last)]
            sizes = [statistics.fmean(m["bytes"] for m in each) for each in (first, last)]
            rows.append(
                [
                    found["codecs"][name]["title"],
                    quality,
                    f"{scores[0]:.1f}",
                    f"{scores[1]:.1f} ({signed(scores[1] - scores[0])})",
                    signed(100 * (sizes[1] / sizes[0] - 1)),
                    f"{statistics.fmean(abs(m['brightness']) for m in last):.2f}",
                    f"{statistics.fmean(m['colour'] for m in last):.2f}",
                    f"{statistics.fmean(of['10']['colour'] for of in grey):.2f}",
                    f"{max(of['10']['chroma'] for of in grey):.0f}",
                ]
            )
    head = ["codec", "quality", "SSIMULACRA2, first", "tenth", "bytes, %", "brightness", "colour"]
    return markdown([*head, "colour of grey pictures", "of one pixel at most"], rows)


def end(folder: str) -> str:
    """Where the range of qualities ends: quality 100."""
    found = load(folder, "generations")
    rows = []
    for name, of_codec in found["end"].items():
        lossy = [of for of in of_codec.values() if of["psnr_rgb"] is not None]
        scores = sorted(of["ssimulacra2"] for of in of_codec.values())
        rows.append(
            [
                found["codecs"][name]["title"],
                f"{statistics.fmean(of['bpp'] for of in of_codec.values()):.2f}",
                f"{statistics.fmean(of['psnr_rgb'] for of in lossy):.1f}",
                f"{statistics.fmean(scores):.1f} ({scores[0]:.1f} to {scores[-1]:.1f})",
                f"{statistics.fmean(of['butteraugli'] for of in of_codec.values()):.2f}",
                f"{len(scores) - len(lossy)}",
                f"{sum(score >= 90 for score in scores)} of {len(scores)}",
                f"{sum(score >= 80 for score in scores)} of {len(scores)}",
            ]
        )
    head = ["quality 100", "bpp", "PSNR, dB", "SSIMULACRA2", "Butteraugli 3-norm", "lossless", "reach 90", "reach 80"]
    return markdown(head, rows)


def published(folder: str, kind: str) -> str:
    """BD-rate of our mean curves against published ones, by PSNR."""
    results = load(folder, "results")
    ours = results["kinds"][kind]["against_published"]["psnr_rgb"]
    titles = {codec["name"]: codec["title"] for codec in results["codecs"]}
    known = dict.fromkeys(title for of_codec in ours.values() for title in of_codec)
    rows = [[title, *(signed(of[title]) if title in of else "none" for of in ours.values())] for title in known]
    return markdown(["published, not measured here", *(titles[name] for name in ours)], rows)


def speed(folder: str, anchor: str) -> str:
    """Seconds of each codec and how many times as long as the anchor's they are."""
    rows = load(folder, "speed")["rows"]
    sizes = sorted({row["megapixels"] for row in rows})
    by = {(row["codec"], row["megapixels"]): row for row in rows}
    table = []
    for name in dict.fromkeys(row["codec"] for row in rows):
        cells = []
        for way in ("encode_seconds", "decode_seconds"):
            for size in sizes:
                own, other = by[name, size][way], by[anchor, size][way]
                cells.append(f"{own:.2g} s ({own / other:.2g})" if own < 10 else f"{own:.0f} s ({own / other:.2g})")
        table.append([by[name, sizes[0]]["title"], f"{by[name, sizes[0]]['bpp']:.2f}", *cells])
    head = [f"{way}, {size:g} MP" for way in ("encode", "decode") for size in sizes]
    return markdown(["one thread; in brackets: times " + by[anchor, sizes[0]]["title"], "bpp", *head], table)


def totals(folder: str, kind: str) -> str:
    """What all pictures of a kind take together at each quality, the mean of their scores, how many come back whole."""
    results = load(folder, "results")
    names = {photo["name"] for photo in results["kinds"][kind]["photos"]}
    with (ROOT / "benchmarks" / "results" / folder / "results.csv").open(newline="") as file:
        measured = [row for row in csv.DictReader(file) if row["image"] in names]
    rows = []
    for codec in results["codecs"]:
        cells = []
        for quality in codec["qualities"]:
            own = [row for row in measured if row["codec"] == codec["name"] and float(row["quality"]) == quality]
            size = sum(int(row["bytes"]) for row in own) / 1000
            score = statistics.fmean(float(row["ssimulacra2"]) for row in own)
            whole = len(results["kinds"][kind]["lossless"].get(codec["name"], {}).get(f"{quality:g}", []))
            cells.append(f"{quality:g}: {size:.0f} kB, {score:.0f}" + (f" ({whole} exactly)" if whole else ""))
        rows.append([codec["title"], *cells])
    return markdown(["codec", *["quality: bytes, score"] * (len(rows[0]) - 1)], rows)


def settings(folder: str) -> str:
    codecs = load(folder, "results")["codecs"]
    rows = [
        [c["name"], c["title"], c["version"], c["settings"], ", ".join(f"{q:g}" for q in c["qualities"]), c["machine"]]
        for c in codecs
    ]
    return markdown(["name", "codec", "version", "settings", "qualities", "processor"], rows)


def sheet(folder: str) -> str:
    """Means of SSIMULACRA2 over the crops of the sheet, those of screens apart, by rate and codec."""
    found = load(folder, "sheet")
    rows = []
    for kind, screens in (("photographs", False), ("screens", True)):
        own = [row for row in found["rows"] if row["screen"] == screens]
        for rate in dict.fromkeys(row["rate"] for row in own):
            at = [row for row in own if row["rate"] == rate]
            cells = []
            for name in found["codecs"]:
                bpp, score = (statistics.fmean(row["files"][name][key] for row in at) for key in ("bpp", "ssimulacra2"))
                cells.append(f"{score:.0f} ({bpp:.2f})")
            rows.append([f"{len(at)} {kind}", f"{rate:g}", *cells])
    titles = [codec["title"] for codec in found["codecs"].values()]
    return markdown(["crops", "asked for, bpp", *(f"{title}: SSIMULACRA2 (bpp)" for title in titles)], rows)


def loader(folder: str) -> str:
    """Loaders and sizes of pictures: pictures per second of one core, whole and cropped."""
    results = load(folder, "loader")
    sets, crop = results["sets"], results["crop"]
    head = ["pictures per second of one core"]
    for each in sets:
        head += [f"{each['width']}x{each['height']}", f"{crop}x{crop} of it"]
    rows = []
    for name in sets[0]["whole"]:
        kind = name.partition(",")[0]
        bytes_ = ", ".join(f"{each['bytes_a_picture'][kind] / 1000:.0f}" for each in sets)
        row = [f"{name} ({bytes_} kB a picture)"]
        for each in sets:
            row += [f"{each[what][name]['pictures_per_second']:.3g}" for what in ("whole", "crops")]
        rows.append(row)
    return markdown(head, rows)


TABLES: dict[str, Callable[..., str]] = {
    "rates": rates,
    "reach": reach,
    "totals": totals,
    "generations": generations,
    "end": end,
    "details": details,
    "published": published,
    "speed": speed,
    "settings": settings,
    "sheet": sheet,
    "loader": loader,
}


def filled(text: str) -> str:
    """The document with its tables anew. NAME may have arguments: rates:kodak:avif."""

    def table(match: re.Match[str]) -> str:
        begin, name, folder, end = match.groups()
        kind, *arguments = name.split(":")
        return f"{begin}\n{TABLES[kind](folder, *arguments)}\n{end}"

    return PLACE.sub(table, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            before = path.read_text(encoding="utf-8")
            after = filled(before)
            if after != before:
                if options.check:
                    sys.exit(
                        f"{path.relative_to(ROOT)}: tables are not those of the results; python benchmarks/tables.py"
                    )
                path.write_text(after, encoding="utf-8")
                print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
