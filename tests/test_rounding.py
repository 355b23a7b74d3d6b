"""The promise: the encoder rounds for the least bits + lambda * distortion; a search asks for no other decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_decoder import ReferenceModel

import aecodec.codec
from aecodec import AecodecError
from aecodec.codec import Codec
from aecodec.networks import rate_distortion_lambda
from aecodec.rounding import quantise
from aecodec.weights import DEFAULT, weights_folder


def test_rounding_is_to_a_neighbour_and_never_away_from_zero(codec: Codec) -> None:
    generator = torch.Generator().manual_seed(3)
    residual = 6 * torch.randn(1, 4, 50, 50, generator=generator)
    residual[0, 0, 0, :4] = torch.tensor([300.7, -300.7, 12.49, -1e9])
    index = torch.randint(0, 64, residual.shape, generator=generator).float()
    symbols = quantise(residual, index, codec.model.prices, torch.tensor([9.0]))
    assert torch.equal(symbols, symbols.round())
    inside = residual.abs() < 30000
    assert ((symbols - residual).abs()[inside] <= 1.5).all()
    assert (symbols.abs() <= residual.abs().round()).all()
    assert symbols.abs().max() == 32767
    assert ((symbols == 0) | (symbols.sign() == residual.sign())).all()


def test_rounding_pays_bits_against_squared_error(codec: Codec) -> None:
    """Of the two neighbours it takes the one of fewer bits + worth * squared error; what is not coded is 0."""
    tables = codec.model.tables
    prices = codec.model.prices.clone()
    prices[7, 1:] = torch.inf
    for worth in (5.0, 20.0):
        residual = torch.linspace(-4.45, 4.45, 400).view(1, 1, 20, 20)
        for index in (20, 30, 40):
            symbols = quantise(residual, torch.full_like(residual, index), prices, torch.tensor([worth]))
            bits, reach = tables.bits[index], int(tables.reach[index])
            assert bits is not None
            for r, got in zip(residual.flatten().tolist(), symbols.flatten().tolist(), strict=True):
                near = round(abs(r))
                cost = {s: bits[reach + s] + worth * (abs(r) - s) ** 2 for s in (near, max(near - 1, 0))}
                assert cost[int(abs(got))] <= min(cost.values()) + 1e-3
        assert (quantise(residual, torch.full_like(residual, 7), prices, torch.tensor([worth])) == 0).all()


def cost(codec: Codec, picture: np.ndarray, data: bytes, quality: int) -> float:
    """Bits per pixel + lambda * 255^2 * MSE."""
    error = np.square(picture.astype(float) - np.asarray(codec.decompress(data))).mean()
    weight = float(rate_distortion_lambda(codec.model.network.config, torch.tensor((quality - 1) / 99)))
    return 8 * len(data) / picture[..., 0].size + weight * error


@pytest.mark.parametrize("tile", [None, 256])
def test_a_search_lowers_the_cost_of_whole_and_of_tiled_pictures(
    photo: np.ndarray, tile: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec("cpu")  # of the released model: with the small one a search has little to gain
    # Tiles are searched one by one: very small ones would be mostly border.
    picture = np.tile(photo, (4, 4, 1))[:, :512]
    if tile:
        monkeypatch.setattr(aecodec.codec, "TILE", tile)
        monkeypatch.setattr(aecodec.codec, "UNTILED_PIXELS", tile * tile)
    for quality in (20, 80):
        files = [codec.compress(picture, quality, effort=effort) for effort in (0, 8)]
        before, after = (cost(codec, picture, data, quality) for data in files)
        assert after < before
        ReferenceModel(weights_folder() / f"{DEFAULT}.safetensors").decode(files[1])


def test_a_search_goes_with_rate_control_grey_and_alpha(codec: Codec, photo: np.ndarray) -> None:
    size = 2 * len(codec.compress(photo, 1))
    assert 0.98 * size < len(codec.compress(photo, size=size, effort=2)) <= size
    assert codec.decompress(codec.compress(photo[..., 0], effort=1)).mode == "L"
    assert codec.decompress(codec.compress(np.dstack([photo, photo[..., :1]]), effort=1)).mode == "RGBA"


def test_effort_is_checked(codec: Codec, photo: np.ndarray) -> None:
    for effort in (-1, 101):
        with pytest.raises(AecodecError, match=f"effort {effort}; expected 0 to 100"):
            codec.compress(photo, effort=effort)
        with pytest.raises(AecodecError, match=f"effort {effort}"):
            codec.compress(photo, size=1000, effort=effort)
