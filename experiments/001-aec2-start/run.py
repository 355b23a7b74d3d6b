"""The arms of aec2's start at equal steps, and what its exact decoder costs.

    python experiments/001-aec2-start/run.py CHECKPOINT --cache FILE

Prints, for a checkpoint of `aecodec.families.aec2.train`, PSNR on held-out crops of the network in floating point, with
fake quantisation and of the exact decoder, and CPU seconds of the latter with and without 8-bit convolutions.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from aecodec.exact import narrow
from aecodec.exact.layers import POSITION_STEPS
from aecodec.families.aec1.config import scale_of_index
from aecodec.families.aec2 import integers
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.decoder import ExactDecoder
from aecodec.families.aec2.network import Aec2
from aecodec.families.layouts import network_input, regroup

CPU = torch.device("cpu")
POSITIONS = (500, 2500, 5000, 7500, 9700)
CROPS = 8


def psnr(levels: torch.Tensor, target: torch.Tensor) -> float:
    return float((10 * torch.log10(255**2 / (levels - target).square().mean((1, 2, 3)))).mean())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    state = torch.load(options.checkpoint, weights_only=True)
    network = Aec2(ModelConfig.of(state["model_config"]))
    network.load_state_dict(state["average"])
    network.eval().to(memory_format=torch.channels_last)
    tensors = integers.export(network)
    exact = ExactDecoder(tensors, network.config, CPU)
    works = narrow.int8_convolutions()
    narrow.int8_convolutions = lambda: False  # type: ignore[assignment]
    plain = ExactDecoder(tensors, network.config, CPU)
    held_out = torch.load(options.cache, weights_only=True, mmap=True)["held_out"]
    x = network_input(held_out[:CROPS, :, 128:384, 128:384]).contiguous(memory_format=torch.channels_last)
    target = (regroup(x) + 0.5) * 255
    result: dict[str, object] = {"step": state["step"], "int8": works, "rows": []}
    for position in POSITIONS:
        row: dict[str, float] = {"position": position / POSITION_STEPS}
        at = torch.full((len(x),), position / POSITION_STEPS)
        for name in ("float", "quantised"):
            network.quantise(name == "quantised")
            y = network.analysis(x) * network.encoder_gain(at)
            features, index = network.scale_model(network.entropy_model.hyper_latents(y).round(), at)
            scale = scale_of_index(index.round())
            rounded, mean = network.entropy_model.passes(features, scale, lambda m, _, y=y: (y - m).round())
            y_hat = rounded + mean
            pixels = network.synthesis(y_hat, y_hat * network.decoder_gain(at), features, at)
            row[name] = psnr(((pixels + 0.5) * 255).round().clamp(0, 255), target)
        _, latents = exact.passes(features, index.round(), lambda m, _, y=y: (y.double() - m / 256).round())
        seconds = []
        for form in (exact, plain):
            began = time.process_time()
            levels = form.synthesis(latents, features, position)
            seconds.append(time.process_time() - began)
        row["exact"] = psnr((levels / integers.PIXEL_STEPS).round().clamp(0, 255).float(), target)
        row["cpu_s_per_megapixel"], row["cpu_s_per_megapixel_float32"] = (
            s / (CROPS * 256 * 256) * 1e6 for s in seconds
        )
        result["rows"].append({name: round(value, 4) for name, value in row.items()})  # type: ignore[attr-defined]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
