"""The promise: aecodec's networks keep the habits of CompressAI's models."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import smooth_covariance
from PIL import Image

from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.training.modules import CompressionModel

EXAMPLE = Path(__file__).parents[1] / "examples" / "train_with_compressai.py"


@pytest.fixture
def model(small_weights: Path) -> CompressionModel:
    return CompressionModel.of(small_weights)


@pytest.fixture(scope="module")
def batch(photo: np.ndarray) -> torch.Tensor:
    """(2, 3, 64, 128) float32 in 0..1."""
    crops = [photo[:64, :128], photo[32:96, 16:144]]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def bits_of(likelihoods: dict[str, torch.Tensor]) -> float:
    return sum(float(-each.log2().sum()) for each in likelihoods.values())


def test_forward_says_what_compress_does(model: CompressionModel, batch: torch.Tensor) -> None:
    model.update()
    with torch.no_grad():
        said = model(batch)
    done = model.compress(batch)
    shown = model.decompress(**done)["x_hat"]
    assert said["x_hat"].shape == shown.shape == batch.shape
    assert done["shape"] == (1, 2)
    bits = 8 * sum(map(len, done["strings"][0]))
    assert 0.75 * bits < bits_of(said["likelihoods"]) < 1.25 * bits
    assert (said["x_hat"].clamp(0, 1) - shown).abs().mean() < 0.02  # the encoder rounds for fewer bits


def test_likelihoods_have_the_shapes_of_latents(model: CompressionModel, batch: torch.Tensor) -> None:
    likelihoods = model(batch)["likelihoods"]
    assert likelihoods["y"].shape == (2, 24, 4, 8)
    assert likelihoods["z"].shape == (2, 8, 1, 2)
    assert all(each.min() > 0 and each.max() <= 1 for each in likelihoods.values())


def test_training_lowers_the_loss_of_compressai(batch: torch.Tensor) -> None:
    """Written as its RateDistortionLoss is."""
    torch.manual_seed(0)
    model = CompressionModel.untrained(smooth_covariance(), "aec1")
    optimizer = torch.optim.Adam([p for n, p in model.named_parameters() if not n.endswith(".quantiles")], 1e-4)
    losses = []
    for _ in range(5):
        torch.manual_seed(1)  # the same noise
        out = model(batch)
        bpp = sum(torch.log(each).sum() / (-math.log(2) * 2 * 64 * 128) for each in out["likelihoods"].values())
        loss = model.lmbda * 255**2 * torch.nn.functional.mse_loss(out["x_hat"], batch) + bpp
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_quality_buys_fidelity_with_bytes(model: CompressionModel, batch: torch.Tensor) -> None:
    model.update()
    sizes, lambdas = [], []
    for quality in (10, 50, 90):
        model.quality = quality
        sizes.append(sum(map(len, model.compress(batch)["strings"][0])))
        lambdas.append(model.lmbda)
    assert sizes == sorted(sizes)
    assert lambdas == sorted(lambdas)


def test_what_is_saved_is_a_model_of_the_codec(
    model: CompressionModel, batch: torch.Tensor, photo: np.ndarray, tmp_path: Path
) -> None:
    digest = model.save(tmp_path / "mine.safetensors")
    assert Codec("cpu", tmp_path / "mine.safetensors").model.id.hex() == digest[:8]
    again = CompressionModel.of(tmp_path / "mine.safetensors")
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert (one - other).abs().max() < 1e-3  # kernels are kept in half precision


def test_counted_tables_take_fewer_bits(model: CompressionModel, batch: torch.Tensor) -> None:
    model.update()
    before = sum(map(len, model.compress(batch)["strings"][0]))
    model.count(torch.cat([batch[:, :, :, :64], batch[:, :, :, 64:]]).mul(255).byte().repeat(20, 1, 1, 1))
    assert sum(map(len, model.compress(batch)["strings"][0])) < before


def test_mistakes_are_told(model: CompressionModel, batch: torch.Tensor) -> None:
    with pytest.raises(AecodecError, match=r"call update\(\)"):
        model.compress(batch)
    with pytest.raises(AecodecError, match="multiples of 64"):
        model(batch[:, :, :60])
    model.quality = 101
    with pytest.raises(AecodecError, match="expected 1 to 100"):
        model(batch)


def test_the_example_with_compressai_itself(small_weights: Path, photo: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("compressai")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.fromarray(np.tile(photo, (2, 2, 1))).save(tmp_path / split / "photo.png")  # MS-SSIM wants 160 pixels
    words = [tmp_path, "-o", tmp_path / "mine.safetensors", "--model", small_weights, "--patch", 64, "--epochs", 2]
    done = subprocess.run([sys.executable, EXAMPLE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "psnr-rgb" in done.stdout
    assert Codec("cpu", tmp_path / "mine.safetensors").compress(photo)
