"""The promise: the speed benchmark runs, and what it says of the stages adds up to the whole. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "speed.py"


def test_stages_add_up(small_weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    options = ["--sizes", "0.02", "2x0.01", "--threads", "1", "--seconds", "0.05"]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--model", small_weights, "--output", output, *options],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    measured = [(row["batch"], row["direction"]) for row in results["aecodec"]]
    directions = {
        "compress --effort 0": {"analysis"},
        "compress": {"analysis", "search", "synthesis"},
        "decompress": {"synthesis"},
    }
    assert measured == [(batch, direction) for batch in (1, 2) for direction in directions]
    for row in results["aecodec"]:
        stages = row["stages"]
        assert sum(stages.values()) == pytest.approx(row["seconds"])
        assert all(seconds >= 0 for seconds in stages.values())
        assert directions[row["direction"]] | {"scale model", "means", "ANS", "rest"} <= set(stages)
        assert set(row["kmac_per_pixel"]) == set(row["gmac_per_s_of_convolution"])
        if row["direction"] == "decompress":  # the synthesis alone has so many, 0.67 of them in the filter
            assert sum(row["kmac_per_pixel"].values()) > 0.955
        assert row["peak_mb"] > 0
    assert "| decompress | 1 | 2 x 0.0 |" in done.stdout
