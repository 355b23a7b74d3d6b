"""The promise: tables in documents are made of the results in the repository, by a script, and bear what is said."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import quality  # noqa: E402


def test_tables_in_documents_are_those_of_the_results() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_judges_photographs_and_screens_by_tables_of_the_script() -> None:
    readme = (ROOT / "README.md").read_text()
    for table in ("rates:kodak:avif", "reach:screens:avif"):
        assert f"<!-- table: {table} " in readme


def test_the_page_on_quality_holds_the_figures_of_the_benchmark() -> None:
    assert quality.table(quality.on_record()) in quality.PAGE.read_text()


def results(name: str, file: str = "results") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / name / f"{file}.json").read_text())
    return loaded


def means(name: str, kind: str, codec: str, anchor: str = "avif") -> dict[str, dict[str, Any]]:
    """By metric, the mean BD-rate over pictures and its standard error, in percent."""
    found = results(name)["kinds"][kind]["bd_rates"][anchor]
    return {metric: of_codec[codec]["summary"] for metric, of_codec in found.items()}


def words(document: str) -> str:
    return " ".join((ROOT / document).read_text().split())


VISUAL, FAITHFUL = "aecodec:aec1-visual-3", "aecodec:aec1-11"
TIMED = "aecodec:aec1-visual-2"  # the same network as VISUAL


def test_what_the_readme_says_of_kodak_is_what_was_measured() -> None:
    visual, faithful = ({m: s["mean"] for m, s in means("kodak", "kodak", c).items()} for c in (VISUAL, FAITHFUL))
    assert abs(faithful["ms_ssim"]) < 2  # level
    others = sorted(faithful[metric] for metric in ("butteraugli", "ssimulacra2"))
    assert (
        f"aec1-visual-3 needs {-visual['ssimulacra2']:.0f} % fewer bytes than the AVIF that everyone gets by "
        f"SSIMULACRA2, {-visual['ms_ssim']:.0f} by MS-SSIM, {-visual['butteraugli']:.0f} by Butteraugli, and "
        f"{visual['psnr_rgb']:.0f} % more by PSNR; aec1-11 needs {-faithful['psnr_rgb']:.0f} % fewer by PSNR, is level "
        f"by MS-SSIM and needs {others[0]:.0f} to {others[1]:.0f} % more by the other two. Against JPEG (4:2:0, "
        f"optimised): aec1-visual-3 {-means('kodak', 'kodak', VISUAL, 'jpeg')['ssimulacra2']['mean']:.0f} % fewer by "
        f"SSIMULACRA2, aec1-11 {-means('kodak', 'kodak', FAITHFUL, 'jpeg')['psnr_rgb']['mean']:.0f} % by PSNR."
    ) in words("README.md")


def test_what_the_readme_says_of_held_out_photographs_is_what_was_measured() -> None:
    visual = means("heldout", "photographs", VISUAL) | means("cvvdp", "photographs", VISUAL)
    fewer = {metric: f"{-s['mean']:.0f} ± {s['error']:.0f}" for metric, s in visual.items()}
    slow = {metric: f"{-s['mean']:.0f}" for metric, s in means("heldout", "photographs", "avif-slow").items()}
    assert (
        f"aec1-visual-3 needs {fewer['ssimulacra2']} % fewer bytes by SSIMULACRA2, {fewer['ms_ssim']} by MS-SSIM, "
        f"{fewer['butteraugli']} by Butteraugli, {fewer['psnr_rgb']} by PSNR, for which it was trained, and "
        f"{fewer['cvvdp']} by CVVDP, for which it was not."
    ) in words("README.md")
    assert (
        f"needs {slow['ssimulacra2']}, {slow['ms_ssim']}, {slow['psnr_rgb']} and {slow['butteraugli']} % fewer than "
        "that AVIF by the first four."
    ) in words("README.md")


def test_what_the_readme_says_of_screens_is_what_was_measured() -> None:
    with (ROOT / "benchmarks" / "results" / "drawn" / "results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (ROOT / "benchmarks/pictures/screens" / row["image"]).exists()]

    def whole(codec: str, quality: int) -> tuple[str, str]:
        own = [row for row in rows if row["codec"] == codec and float(row["quality"]) == quality]
        assert len(own) == 16
        size, score = sum(int(row["bytes"]) for row in own), sum(float(row["ssimulacra2"]) for row in own) / 16
        return f"{size / 1000:.0f}", f"{score:.0f}"

    (ours, score), (below, low), (above, high) = whole(VISUAL, 40), whole("avif", 38), whole("avif", 52)
    assert (
        f"In {ours} kB for all 16 they score {score} on average with aec1-visual-3, with AVIF {low} in {below} kB and "
        f"{high} in {above}."
    ) in words("README.md")


def test_what_the_readme_says_of_published_curves_is_what_the_table_says() -> None:
    against = results("kodak")["kinds"]["kodak"]["against_published"]["psnr_rgb"][FAITHFUL]
    assert max(abs(against[codec]) for codec in ("HEVC, HM", "BPG 4:4:4")) < 2  # as much
    fewer = {codec: f"{100 * (1 - 1 / (1 + percent / 100)):.0f}" for codec, percent in against.items()}
    assert f"VVC (VTM) needs {fewer['VVC, VTM']} % less." in words("README.md")
    assert f"(`cheng2020`: {fewer['CompressAI cheng2020-anchor']} % fewer bytes" in words("README.md")


def test_what_the_readme_says_of_speed_is_what_was_measured() -> None:
    rows = {(row["codec"], row["megapixels"]): row["decode_seconds"] for row in results("speed", "speed")["rows"]}
    ours = rows[TIMED, 12]
    assert f"a CPU core decodes {12 / ours:.1f} megapixels a second by torch" in words("README.md")
    assert (f"decodes 12 megapixels in {rows['jxl', 12]:.2g} s of one core where aecodec takes {ours:.0f}") in words(
        "README.md"
    )
    times = sorted(rows[TIMED, size] / rows["avif", size] for size in (0.4, 3, 12))
    assert f"decodes {times[0]:.0f} to {times[-1]:.0f} times as fast" in words("README.md")
