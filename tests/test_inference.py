"""The promise: the forms of the networks that code quickly compute what the forms that were trained compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aecodec.codec import Codec
from aecodec.encoding import Encoder
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1, Filter
from aecodec.families.hyperprior.layers import asinh
from aecodec.families.layouts import blocks_of_pixels, latents_of_pixels
from aecodec.options import EncodeOptions
from aecodec.picture import load


@pytest.fixture
def busy_network(small_network: Aec1) -> Aec1:
    """Nonlinear paths that matter, in training mode."""
    network = Aec1(small_network.config)
    network.load_state_dict(small_network.state_dict())
    for layer in (network.analysis.nonlinear[-1], network.synthesis.last, network.synthesis.filter.last):
        layer.weight.data.mul_(10)  # type: ignore[operator]
    return network.requires_grad_(False).train()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_computes_what_was_trained(busy_network: Aec1, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config, position = busy_network.config, torch.tensor([0.3])
    x = torch.rand(1, 192, 16, 24) - 0.5
    y, features = (
        torch.randn(1, config.latent_channels, 8, 12),
        torch.randint(0, 256, (1, config.trunk_channels, 8, 12)),
    )
    dequantised = y * busy_network.decoder_gain(position)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        return busy_network.analysis(x), busy_network.synthesis(y, dequantised, features.float(), position)

    trained = run()
    busy_network.prepare_for_inference(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    for got, want in zip(run(), trained, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * float(want.std()))


@pytest.mark.parametrize("height", [4, 16])
def test_hyper_latents_of_a_narrow_tile_are_no_leftovers_of_memory(height: int) -> None:
    """One column of them, in bfloat16 on the CPU, where torch's convolution reads what it did not write."""
    entropy = Aec1(ModelConfig()).entropy_model.to(memory_format=torch.channels_last).eval()
    y = torch.randn(4, ModelConfig().latent_channels, height, 4, generator=torch.Generator().manual_seed(0))
    y = y.to(memory_format=torch.channels_last)
    expected = entropy.hyper_latents(y)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            assert (entropy.hyper_latents(y) - expected).abs().max() < 0.05
    entropy.hyper_latents(y).sum().backward()
    wanted = [parameter.grad.clone() for parameter in entropy.hyper_analysis.parameters()]  # type: ignore[union-attr]
    entropy.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        entropy.hyper_latents(y).sum().backward()
    for parameter, gradient in zip(entropy.hyper_analysis.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        assert (parameter.grad - gradient).norm() < 0.05 * gradient.norm()


def test_an_untrained_filter_changes_nothing(small_network: Aec1) -> None:
    filtered = Filter(small_network.config)
    filtered.start()
    x = torch.rand(2, 12, 8, 8) - 0.5
    assert (filtered(x, torch.tensor([0.1]).view(1, 1, 1, 1), torch.tensor([0.0, 1.0])) == 0).all()
    bright = filtered.first(torch.ones(1, 12, 4, 4))[:, :, 1:-1, 1:-1]
    assert bright.abs().max() < 1e-5  # it starts blind to brightness


@pytest.mark.parametrize("number", [64, 256])
def test_the_gradient_of_blocks_of_pixels_needs_no_autograd(number: int) -> None:
    """Of 8x8 and of 16x16 pixels."""
    layer = torch.nn.Conv2d(5, 3 * number, 1)
    x = torch.randn(2, 5, 3, 4, requires_grad=True)
    pixels = blocks_of_pixels(layer, x)
    weights = torch.randn_like(pixels)
    (gradient,) = torch.autograd.grad((pixels * weights).sum(), x)
    torch.testing.assert_close(latents_of_pixels(layer, weights), gradient)


def test_asinh_and_its_gradient_are_those_of_torch() -> None:
    x = torch.cat([torch.linspace(-300, 300, 1001), torch.linspace(-1e-3, 1e-3, 101), torch.tensor([3e4, -3e4])])
    torch.testing.assert_close(asinh(x), torch.asinh(x), rtol=1e-6, atol=1e-6)
    gradients = []
    for function in (asinh, torch.asinh):
        leaf = x.clone().requires_grad_(True)
        function(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_pixels_do_not_depend_on_what_the_encoder_computes_in(small_weights: Path, photo: np.ndarray) -> None:
    codecs = [Codec("cpu", small_weights, precision=precision) for precision in ("float32", "bfloat16")]
    for quality in (1, 50, 100):
        data = codecs[0].compress(photo, quality)
        a, b = (np.asarray(one.decompress(data)) for one in codecs)
        assert np.array_equal(a, b)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_tiles_may_be_joined_in_any_way(small_weights: Path, photo: np.ndarray, together: int) -> None:
    """Strips of tiles hold what single tiles hold, in batches of pictures of different sizes too."""
    codec = Codec("cpu", small_weights)
    pictures = [np.tile(photo, (1, 3, 1)), photo[:64, :64], photo, photo[::-1].copy()]
    options = EncodeOptions(quality=70, tile=64)

    def encoded(strip_tiles: int) -> list[bytes]:
        return Encoder(codec.model, options, codec.decode, strip_tiles).encode(list(map(load, pictures)))

    expected = encoded(1)
    images = [np.asarray(image).astype(int) for image in codec.decompress_batch(expected)]
    for data, want in zip(encoded(together), expected, strict=True):
        assert abs(len(data) - len(want)) <= 16  # sums in another order may move a latent across a rounding edge
    for image, pixels in zip(codec.decompress_batch(expected), images, strict=True):
        assert np.abs(np.asarray(image) - pixels).max() <= 1
    region = codec.decompress(expected[0], (100, 10, 200, 60))
    assert np.abs(np.asarray(region) - images[0][10:70, 100:300]).max() <= 1
