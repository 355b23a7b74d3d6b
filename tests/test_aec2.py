"""aec2: what its exact decoder promises, tried with a small random network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import aecodec
from aecodec.errors import ModelError
from aecodec.exact import narrow
from aecodec.exact.layers import WEIGHT_TOP, interpolate_rows
from aecodec.exact.wide import exact_gain
from aecodec.families.aec2.config import ModelConfig
from aecodec.families.aec2.decoder import ExactDecoder
from aecodec.families.aec2.integers import LATENT_STEPS, PIXEL_STEPS, export, restore
from aecodec.families.aec2.network import Aec2, DecoderConv2d
from aecodec.families.aec2.weights import tensors_of
from aecodec.families.hyperprior.constants import scale_of_index
from aecodec.families.hyperprior.fitting import fit_tables
from aecodec.families.hyperprior.klt import start_from_klt
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.weights import metadata_of
from aecodec.models import write_weights
from aecodec.training.data import block_covariance

SMALL = ModelConfig(
    latent_channels=64,
    channels_8=32,
    channels_16=32,
    analysis_blocks_8=1,
    analysis_blocks_16=1,
    blocks_8=1,
    blocks_16=2,
    filter_layers=2,
    hyper_channels=32,
    trunk_channels=32,
    context_channels=32,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Aec2:
    torch.manual_seed(1)
    model = Aec2(SMALL)
    tile = torch.from_numpy(drawing(512, 512)).permute(2, 0, 1)[None]
    start_from_klt(model, block_covariance(iter([tile]), 1024))
    torch.nn.init.normal_(model.synthesis.filter.last.weight, std=0.02)  # from nothing to a little
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def weights(network: Aec2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aec2") / "small.safetensors"
    write_weights(
        path,
        "aec2",
        tensors_of(network, *fit_tables(None)),
        metadata_of(SMALL, Encoder(), {"step": "10", "training_minutes": "1"}),
    )
    return path


def drawing(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / 9 + c) * np.cos(columns / (7 + 3 * c)) for c in range(3)], -1)
    noise = np.random.default_rng(3).normal(0, 9, waves.shape)
    return (128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)


def _given(symbols: torch.Tensor, mean: torch.Tensor, number: int) -> torch.Tensor:
    """What decoding takes symbols from."""
    return symbols


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, scale indices and symbols at random, more than any picture has."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(0, 256, (2, 32, 8, 12), generator=generator).float()
    index = torch.randint(0, 64, (2, 64, 8, 12), generator=generator)
    symbols = torch.randint(-40, 41, (2, 64, 8, 12), generator=generator).double()
    return features, index, symbols


@pytest.mark.skipif(not narrow.int8_convolutions(), reason="no exact 8-bit convolutions here")
def test_8_bit_and_float32_convolutions_give_the_same_pixels(network: Aec2, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = export(network)
    fast = ExactDecoder(tensors, SMALL, CPU)
    monkeypatch.setattr(narrow, "int8_convolutions", lambda: False)
    plain = ExactDecoder(tensors, SMALL, CPU)
    for seed, position in enumerate((0, 3123, 9900)):
        features, index, symbols = drawn(seed)
        given = partial(_given, symbols)
        found = [d.passes(features, index, given)[1] for d in (fast, plain)]
        assert torch.equal(*found)
        assert torch.equal(*(d.synthesis(found[0], features, position) for d in (fast, plain)))


def test_pixels_do_not_depend_on_batch_threads_or_window(network: Aec2) -> None:
    exact = ExactDecoder(export(network), SMALL, CPU)
    features, index, symbols = drawn(4)
    _, latents = exact.passes(features, index, partial(_given, symbols))
    pixels = exact.synthesis(latents, features, 5000)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        alone = [exact.synthesis(latents[k : k + 1], features[k : k + 1], 5000) for k in range(2)]
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.cat(alone), pixels)


def test_the_exact_decoder_is_the_trained_network(network: Aec2) -> None:
    """To what its 8-bit activations round: a fraction of a quantisation step."""
    exact = ExactDecoder(export(network), SMALL, CPU)
    features, index, symbols = drawn(5)
    features, symbols = features % 32, symbols.sign()
    scale = scale_of_index(index.float())
    network.quantise(True)
    try:
        for quality in (0, 5000, 9900):
            position = torch.full((2,), quality / 9900)
            rounded, means = network.entropy_model.passes(features, scale, partial(_given, symbols.float()))
            expected = network.synthesis(
                rounded + means, (rounded + means) * network.decoder_gain(position), features, position
            )
            _, latents = exact.passes(features, index, partial(_given, symbols))
            assert (latents / LATENT_STEPS - rounded - means).abs().max() < 0.05 * scale.max()
            found = exact.synthesis(((rounded + means) * LATENT_STEPS).round(), features, quality)
            step = interpolate_rows(network.synthesis.log_output_gain, position).exp().max()
            error = found / (255 * PIXEL_STEPS) - 0.5 - expected
            assert error.square().mean().sqrt() < 0.1 * step
    finally:
        network.quantise(False)


def test_a_restored_network_exports_to_the_same_values(network: Aec2) -> None:
    """A row whose largest weight was rounded down may come back in steps of half the size."""
    tensors = export(network)
    other = Aec2(SMALL)
    restore(other, tensors)
    again = export(other)
    assert tensors.keys() == again.keys()
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if f"{layer}.shift" in tensors and kind in ("weight", "bias", "shift"):
            if kind != "shift":
                finer = again[f"{layer}.shift"] - tensors[f"{layer}.shift"]
                shape = (-1, 1, 1, 1) if kind == "weight" else (1, -1)
                assert torch.equal(tensor.int() << finer.int().view(shape), again[name].int()), name
        else:
            assert torch.equal(tensor, again[name]), name


@pytest.mark.parametrize("subpixels", [1, 4])
def test_rounded_weights_answer_what_is_smooth_as_the_real_ones(subpixels: int) -> None:
    torch.manual_seed(0)
    layer = DecoderConv2d(12, 8, 3, bias=False, subpixels=subpixels)
    step = torch.exp2(-layer.exponent()).view(-1, 1, 1)
    of_colours = [
        w.unflatten(1, (subpixels, -1)).sum((1, 3, 4)) for w in (layer.weight, layer.integers() * step[..., None])
    ]
    error = (of_colours[0] - of_colours[1]).abs() / step[..., 0]
    assert error.max() < 0.51  # of a step for all positions together: each rounded by itself, about one
    assert layer.integers().abs().max() <= WEIGHT_TOP


def test_gains_are_powers_of_two_to_sixteen_bits() -> None:
    log2 = torch.arange(-5 * 65536, 5 * 65536, 9973)
    gains = exact_gain(log2)
    assert torch.allclose(gains, torch.exp2(log2.double() / 65536), rtol=2**-15, atol=0)
    mantissas = torch.frexp(gains)[0] * 2**16
    assert torch.equal(mantissas, mantissas.round())


def test_no_gain_is_near_a_tie_that_another_exp2_would_round_elsewhere() -> None:
    mantissas = torch.exp2(torch.arange(65536, dtype=torch.float64) / 65536) * 2**15
    assert ((mantissas % 1) - 0.5).abs().min() > 1e-7


def test_sums_that_leave_the_exact_range_are_refused(network: Aec2) -> None:
    tensors = export(network)
    tensors["synthesis.last.weight"] = torch.full_like(tensors["synthesis.last.weight"], 127)
    tensors["synthesis.last.bias"] = torch.full_like(tensors["synthesis.last.bias"], 2**24)
    with pytest.raises(ModelError, match=r"synthesis\.last"):
        ExactDecoder(tensors, SMALL, CPU)


@pytest.mark.parametrize("effort", [0, 2])
def test_files_decode_and_regions_are_parts_of_them(weights: Path, effort: int) -> None:
    picture = drawing(150, 230)
    codec = aecodec.Codec(device="cpu", model=weights)
    data = codec.compress(picture, quality=90, effort=effort, tile=64)
    whole = np.asarray(codec.decompress(data))
    assert whole.shape == picture.shape
    error = np.mean((whole.astype(float) - picture) ** 2)
    assert error < np.var(picture.astype(float)) / 4  # an untrained network, but a transform coder
    region = np.asarray(codec.decompress(data, region=(50, 70, 120, 60)))
    assert np.array_equal(region, whole[70:130, 50:170])
