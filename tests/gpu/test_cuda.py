"""What is promised of GPUs, for the first machine that has one: run with `pytest tests/gpu`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aecodec import Codec
from aecodec.exact import selftest
from aecodec.exact.layers import ACTIVATION_TOP, integer_conv2d, powers_of_two
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.weights import tensors_of
from aecodec.families.hyperprior.fitting import fit_tables
from aecodec.families.hyperprior.klt import start_from_klt
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.weights import metadata_of
from aecodec.models import write_weights

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")]

QUALITIES = (5, 30, 60, 95)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rows, columns = np.mgrid[:700, :900]
    waves = np.stack([np.sin(rows / 9 + c) * np.cos(columns / (7 + 3 * c)) for c in range(3)], -1)
    noise = np.random.default_rng(3).normal(0, 9, waves.shape)
    return (128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def exact_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    network = Aec2(ModelConfig())
    start_from_klt(network, torch.diag(0.5 / torch.arange(1, 769, dtype=torch.float64) ** 1.5))
    path = tmp_path_factory.mktemp("cuda") / "aec2.safetensors"
    write_weights(path, "aec2", tensors_of(network, *fit_tables(None)), metadata_of(network.config, Encoder()))
    return path


def test_integer_layers_and_coder_pass_the_self_test() -> None:
    selftest.check("cuda")


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
def test_sums_of_integers_are_exact_whatever_the_host_asks_for(precision: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (1, 128, 40, 40), generator=generator).float()
    weight = torch.randint(-45, 46, (128, 128, 3, 3), generator=generator).float()
    bias, step = torch.zeros(128), powers_of_two(torch.full((128,), -9)).float()
    expected = integer_conv2d(x.double(), weight.double(), bias.double(), step.double(), ACTIVATION_TOP)
    settings = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = settings.fp32_precision
    try:
        settings.fp32_precision = precision
        found = integer_conv2d(*(v.cuda() for v in (x, weight, bias, step)), ACTIVATION_TOP)
        assert settings.fp32_precision == precision
    finally:
        settings.fp32_precision = before
    assert torch.equal(found.cpu().double(), expected)


@pytest.mark.parametrize("quality", QUALITIES)
def test_files_of_one_device_decode_on_the_other(picture: np.ndarray, quality: int) -> None:
    cpu, cuda = Codec(device="cpu"), Codec(device="cuda")
    for coder in (cpu, cuda):
        data = coder.compress(picture, quality=quality)
        decoded = [np.asarray(codec.decompress(data)).astype(int) for codec in (cpu, cuda)]
        assert np.abs(decoded[0] - decoded[1]).max() <= 1


@pytest.mark.parametrize("quality", QUALITIES)
def test_pixels_of_aec2_are_the_same(picture: np.ndarray, exact_weights: Path, quality: int) -> None:
    codecs = [Codec(device=device, model=exact_weights) for device in ("cpu", "cuda")]
    for coder in codecs:
        data = coder.compress(picture, quality=quality, effort=0)
        cpu, cuda = (np.asarray(codec.decompress(data)) for codec in codecs)
        np.testing.assert_array_equal(cpu, cuda)


def test_tensors_are_decoded_where_they_stay(picture: np.ndarray) -> None:
    codec = Codec("cuda")
    data = codec.compress(picture, 60, tile=512)
    tensors = codec.decode_tensor([data, data], regions=[None, (500, 30, 100, 90)])
    assert all(tensor.device.type == "cuda" for tensor in tensors)
    whole = torch.from_numpy(codec.decompress(data, as_array=True)).permute(2, 0, 1).int()
    assert (tensors[0].cpu().int() - whole).abs().max() <= 1
    assert (tensors[1].cpu().int() - whole[:, 30:120, 500:600]).abs().max() <= 1
    assert codec.encode_tensor(tensors[:1], 60)
