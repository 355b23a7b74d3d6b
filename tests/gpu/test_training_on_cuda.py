"""What is promised of training on GPUs: run with `pytest tests/gpu`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aecodec.training import loop

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")]


@pytest.mark.parametrize(("family", "objective"), [("aec1", "visual"), ("aec2", "psnr")])
def test_compiled_steps_do_what_those_of_the_processor_do(tmp_path: Path, family: str, objective: str) -> None:
    """But for noise and rounding; a run goes on, on the other device, too."""
    rows, columns = np.mgrid[:512, :512]
    (tmp_path / "photos").mkdir()
    for number in range(6):
        waves = np.sin(rows / (5 + number)) + np.cos(columns / (9 + 2 * number))
        pixels = 128 + 50 * waves[:, :, None] + np.random.default_rng(number).normal(0, 4, (512, 512, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    scores = []
    for device in ("cpu", "cuda"):
        run = tmp_path / device
        how = {"family": family, "objective": objective, "report_every": 6, "log": lambda line: None}
        changes = {"batch": 4, "patch": 256, "cut": 0.0, "warmup": 4}
        loop.train([tmp_path / "photos"], run, steps=6, device=device, workers=2, changes=changes, **how)  # type: ignore
        (line,) = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines())
        assert line["skips"] == 0
        scores.append(line["score"])
    assert scores[0] == pytest.approx(scores[1], abs=5)  # percent of J
    loop.train([tmp_path / "photos"], tmp_path / "cuda", steps=8, device="cpu", log=lambda line: None)
    assert torch.load(tmp_path / "cuda" / "trunk.pt", weights_only=True)["step"] == 8
