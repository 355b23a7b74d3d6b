"""How different two pictures look."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from aecodec import perceptual

ssimulacra2 = pytest.importorskip("ssimulacra2")
pytorch_msssim = pytest.importorskip("pytorch_msssim")


def distorted_pairs():
    """20 pairs of pictures of many sizes: photograph, noise, edges; JPEG, blur, noise, other colours."""
    photo = Image.open(Path(__file__).parents[1] / "examples" / "coffee.png").convert("RGB")
    random = np.random.default_rng(1)
    for number in range(20):
        width, height = int(random.integers(176, 500)), int(random.integers(176, 390))
        picture = photo.crop((number * 5, number, number * 5 + width, number + height))
        if number % 4 == 3:
            stripes = (np.indices((height, width)).sum(0) // 3 % 2 * 255).astype(np.uint8)
            picture = Image.merge("RGB", [Image.fromarray(stripes), *picture.split()[1:]])
        if number % 3 == 0:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=int(random.integers(5, 95)))
            other = Image.open(file).convert("RGB")
        elif number % 3 == 1:
            other = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 2)))
        else:
            noise = random.normal(0, random.uniform(1, 20), (height, width, 3))
            other = Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
        yield picture, other


def as_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def test_ssimulacra2_is_that_of_the_package(tmp_path):
    for first, second in distorted_pairs():
        names = []
        for name, picture in (("first", first), ("second", second)):
            names.append(str(tmp_path / f"{name}.png"))
            picture.save(names[-1])
        expected = ssimulacra2.compute_ssimulacra2(*names)
        found = perceptual.ssimulacra2(as_tensor(first), as_tensor(second))
        assert float(found) == pytest.approx(expected, abs=0.05)
        roughly = perceptual.ssimulacra2(as_tensor(first), as_tensor(second), negligible=perceptual.NEGLIGIBLE)
        assert float(roughly) == pytest.approx(expected, abs=0.3)


def test_ms_ssim_is_that_of_the_package():
    for first, second in distorted_pairs():
        a, b = as_tensor(first), as_tensor(second)
        expected = float(pytorch_msssim.ms_ssim(a, b, data_range=1.0))
        assert float(perceptual.ms_ssim(a, b)) == pytest.approx(expected, abs=1e-4)


def test_the_mixture_is_nothing_for_equal_pictures_and_falls_along_its_gradient():
    first, second = (as_tensor(picture) for picture in next(distorted_pairs()))
    lambdas = torch.tensor([0.01])
    assert float(perceptual.distortion(perceptual.Mixture(), first, first, lambdas)) < 0.01
    second.requires_grad_(True)
    before = perceptual.distortion(perceptual.Mixture(), first, second, lambdas)
    (slope,) = torch.autograd.grad(before, second)
    before = before.detach()
    nearer = (second - 1e-3 * slope / slope.abs().max()).detach()
    assert float(perceptual.distortion(perceptual.Mixture(), first, nearer, lambdas)) < float(before)
