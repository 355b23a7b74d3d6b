"""The promise: the encoder rounds for the least bits + lambda * distortion; a search asks for no other decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_decoder import ReferenceModel

from aecodec import AecodecError
from aecodec.codec import Codec
from aecodec.families.hyperprior.constants import rate_distortion_lambda
from aecodec.families.hyperprior.rounding import quantise, shifts
from aecodec.models import DEFAULTS, weights_folder


def test_rounding_is_to_a_neighbour_and_never_away_from_zero(codec: Codec) -> None:
    generator = torch.Generator().manual_seed(3)
    residual = 6 * torch.randn(1, 4, 50, 50, generator=generator)
    residual[0, 0, 0, :4] = torch.tensor([300.7, -300.7, 12.49, -1e9])
    index = torch.randint(0, 64, residual.shape, generator=generator).float()
    symbols = quantise(residual, shifts(index, codec.model.family.prices, torch.tensor([9.0])))
    assert torch.equal(symbols, symbols.round())
    inside = residual.abs() < 30000
    assert ((symbols - residual).abs()[inside] <= 1.5).all()
    assert (symbols.abs() <= residual.abs().round()).all()
    assert symbols.abs().max() == 32767
    assert ((symbols == 0) | (symbols.sign() == residual.sign())).all()


def test_rounding_pays_bits_against_squared_error(codec: Codec) -> None:
    """1 rather than 0 where that is less bits + worth * squared error, each picture of a batch by its own worth; larger
    symbols from as far below them on; what is not coded is 0."""
    tables = codec.model.family.tables
    prices = codec.model.family.prices.clone()
    prices[7] = torch.inf
    worths = (5.0, 20.0)
    residual = torch.linspace(-4.45, 4.45, 401).expand(2, 1, 1, 401)
    for index in (20, 30, 40):
        symbols = quantise(residual, shifts(torch.full_like(residual, index), prices, torch.tensor(worths)))
        bits, reach = tables.bits[index], int(tables.reach[index])
        assert bits is not None
        for own, worth in zip(symbols.flatten(1), worths, strict=True):
            for r, got in zip(residual[0].flatten().tolist(), own.tolist(), strict=True):
                fraction = abs(r) % 1
                up = bits[reach + 1] + worth * (fraction - 1) ** 2 < bits[reach] + worth * fraction**2
                near = abs(fraction - 0.5 - (bits[reach + 1] - bits[reach]) / (2 * worth)) < 1e-3
                assert near or abs(got) == int(abs(r)) + up or (abs(got), up) == (round(abs(r)) - 1, False)
    assert (quantise(residual, shifts(torch.full_like(residual, 7), prices, torch.tensor(worths))) == 0).all()


def cost(codec: Codec, picture: np.ndarray, data: bytes, quality: int) -> float:
    """Bits per pixel + lambda * 255^2 * MSE."""
    error = np.square(picture.astype(float) - np.asarray(codec.decompress(data))).mean()
    weight = float(rate_distortion_lambda(codec.model.family.network.config, torch.tensor((quality - 1) / 99)))
    return 8 * len(data) / picture[..., 0].size + weight * error


@pytest.mark.parametrize("tile", [None, 256])
def test_a_search_lowers_the_cost_of_whole_and_of_tiled_pictures(photo: np.ndarray, tile: int | None) -> None:
    name = DEFAULTS["psnr"]  # with the small model a search has little to gain
    codec = Codec("cpu", name)
    # Tiles are searched one by one: very small ones would be mostly border.
    picture = np.tile(photo, (4, 4, 1))[:, :512]
    for quality in (20, 80):
        files = [codec.compress(picture, quality, effort=effort, tile=tile) for effort in (0, 1, 8)]
        none, one, eight = (cost(codec, picture, data, quality) for data in files)
        assert codec.compress(picture, quality, tile=tile) == files[1]
        assert eight < one < none
        ReferenceModel(weights_folder() / f"{name}.safetensors").decode(files[2])


def test_a_search_goes_with_rate_control_grey_and_alpha(codec: Codec, photo: np.ndarray) -> None:
    size = 2 * len(codec.compress(photo, 1))
    assert 0.98 * size < len(codec.compress(photo, size=size, effort=2)) <= size
    assert codec.decompress(codec.compress(photo[..., 0], effort=1)).mode == "L"
    assert codec.decompress(codec.compress(np.dstack([photo, photo[..., :1]]), effort=1)).mode == "RGBA"


def test_effort_is_checked(codec: Codec, photo: np.ndarray) -> None:
    for effort in (-1, 101):
        with pytest.raises(AecodecError, match=f"effort {effort}; expected a whole number, 0 to 100"):
            codec.compress(photo, effort=effort)
        with pytest.raises(AecodecError, match=f"effort {effort}"):
            codec.compress(photo, size=1000, effort=effort)
