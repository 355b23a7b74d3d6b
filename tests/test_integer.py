"""The promise: the scale model gives the same integers everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SMALL

from aecodec.errors import AecodecError, ModelError
from aecodec.exact import selftest
from aecodec.exact.layers import (
    ACTIVATION_TOP,
    POSITION_STEPS,
    SUM_LIMIT,
    WEIGHT_SUM_LIMIT,
    IntegerConv2d,
    check_bound,
    integer_conv2d,
    interpolate_rows_exactly,
    powers_of_two,
)
from aecodec.exact.precision import full_precision
from aecodec.families.aec1.network import Aec1
from aecodec.families.hyperprior.constants import TRUNK_LAYERS
from aecodec.families.hyperprior.scale_model import ExactScaleModel, ScaleModel


def numpy_layer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray, top: int) -> np.ndarray:
    """The layer's definition in int64, without torch. x: (I, H, W), weight: (O, I, k, k)."""
    k = weight.shape[-1]
    padded = np.pad(x.astype(np.int64), ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))  # (I, H, W, k, k)
    sums = np.einsum("ihwkl,oikl->ohw", windows, weight.astype(np.int64))
    return np.clip((sums + bias[:, None, None]) >> shift[:, None, None].astype(np.int64), 0, top)


def worst_layer(outputs: int, inputs: int, kernel: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random weights and biases that go as far as `check_bound` allows: sums just below 2^24."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (outputs, inputs, kernel, kernel))
    total = np.abs(weight).sum((1, 2, 3), keepdims=True)
    weight = np.where(total > WEIGHT_SUM_LIMIT, np.trunc(weight * WEIGHT_SUM_LIMIT / total), weight).astype(np.int8)
    room = SUM_LIMIT - 1 - ACTIVATION_TOP * np.abs(weight.astype(np.int64)).sum((1, 2, 3))
    bias = room * rng.choice([-1, 1], outputs)
    return weight, bias.astype(np.int32), rng.integers(0, 17, outputs).astype(np.int8)


def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    args = [torch.from_numpy(a.copy()).to(dtype) for a in (weight, bias)]
    step = powers_of_two(torch.from_numpy(-shift)).to(dtype)
    return integer_conv2d(torch.from_numpy(x[None]).to(dtype), *args, step, ACTIVATION_TOP)[0].long().numpy()


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("extreme", ["random", "top", "alternating", "z"])
def test_float32_float64_and_int64_agree_at_the_extremes(kernel: int, extreme: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weight, bias, shift = worst_layer(48, 128, kernel, seed)
        check_bound("worst", torch.from_numpy(weight), torch.from_numpy(bias[None]))
        x = rng.integers(0, 256, (128, 9, 11))
        if extreme == "top":
            x[:] = 255
        elif extreme == "alternating":  # every product of one sign: the largest sums there can be
            x = 255 * (weight[0, :, 0, 0] > 0)[:, None, None] * np.ones((1, 9, 11), int)
        elif extreme == "z":
            x = rng.choice([-127, 127], x.shape)
        expected = numpy_layer(x, weight, bias, shift, ACTIVATION_TOP)
        np.testing.assert_array_equal(run(x, weight, bias, shift, torch.float32), expected)
        np.testing.assert_array_equal(run(x, weight, bias, shift, torch.float64), expected)


def test_a_layer_beyond_the_bound_is_refused() -> None:
    weight = torch.full((2, 128, 3, 3), 57, dtype=torch.int8)  # 57 * 1152 * 255 < 2^24 <= 58 * 1152 * 255
    room = SUM_LIMIT - 57 * 1152 * 255
    check_bound("fits", weight, torch.tensor([[room - 1, 1 - room]]))
    with pytest.raises(ModelError, match="layer wide"):
        check_bound("wide", weight, torch.tensor([[0, room], [0, 0]]))
    weight[1, 0] = 58
    with pytest.raises(ModelError, match="output channel 1"):
        check_bound("heavy", weight, torch.tensor([[0, room - 1]]))


def test_export_enforces_the_bound() -> None:
    layer = IntegerConv2d(64, 4, 3, rows=2)
    layer.export("as initialised")
    with torch.no_grad():
        layer.bias[1, 2] = 1e6
    with pytest.raises(ModelError, match="output channel 2"):
        layer.export("bias")


def exact_reference(model: ExactScaleModel, z: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole scale model in int64. z: (hyper, h, w)."""
    x = z
    for number, (weight, biases, step) in enumerate(zip(model.weights, model.biases, model.steps, strict=True)):
        shift = -step.log2()
        rows = biases.numpy()
        low, part = divmod(position * (len(rows) - 1), POSITION_STEPS)
        high = min(low + 1, len(rows) - 1)
        bias = (rows[low] * (POSITION_STEPS - part) + rows[high] * part) // POSITION_STEPS
        last = number == len(TRUNK_LAYERS)
        y = numpy_layer(x, weight.numpy(), bias, shift.numpy(), 63 if last else 255)
        if last:
            return x, y
        if TRUNK_LAYERS[number][1]:  # the channel number is (channel, row, column)
            c, h, w = y.shape
            y = y.reshape(c // 4, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * h, 2 * w)
        x = y
    raise AssertionError


@pytest.fixture(scope="module")
def busy_network(small_network: Aec1) -> Aec1:
    """The small network with weights at random, so that no layer rests at a bound."""
    torch.manual_seed(5)
    network = Aec1(SMALL)
    with torch.no_grad():
        for layer in [*network.scale_model.trunk, network.scale_model.index_head]:
            layer.weight.normal_(0, 0.2)
            layer.bias.copy_(torch.randint(-16, 48, layer.bias.shape) / 16)  # what integers hold exactly
        network.scale_model.z_weights.uniform_(-0.6, 0.9)
    return network.requires_grad_(False)


@pytest.mark.parametrize("position", [0, 1, 3299, 3300, 5001, 9899, 9900])
def test_the_exported_model_is_its_definition_in_int64(busy_network: Aec1, position: int) -> None:
    model = ExactScaleModel(busy_network.scale_model.export(), torch.device("cpu"))
    z = np.random.default_rng(position).integers(-127, 128, (SMALL.hyper_channels, 3, 5))
    features, index = model(torch.from_numpy(z[None]).float(), position)
    expected_features, expected_index = exact_reference(model, z, position)
    np.testing.assert_array_equal(features[0].long(), expected_features)
    np.testing.assert_array_equal(index[0].long(), expected_index)
    assert len(np.unique(expected_index)) > 10


def test_the_trained_form_is_the_exported_form(busy_network: Aec1) -> None:
    """Fake quantisation in training gives what the export gives: exactly at the learned rows of the biases."""
    exact = ExactScaleModel(busy_network.scale_model.export(), torch.device("cpu"))
    z = torch.randint(-9, 10, (2, SMALL.hyper_channels, 2, 4), generator=torch.Generator().manual_seed(1)).float()
    for row in range(SMALL.rows):
        position = torch.full((2,), row / (SMALL.rows - 1))
        features, index = busy_network.scale_model(z, position)
        exact_features, exact_index = exact(z, row * POSITION_STEPS // (SMALL.rows - 1))
        assert torch.equal(features, exact_features)
        assert torch.equal(index, exact_index)
        z_index = busy_network.scale_model.z_scale_index(position)[0].flatten().long()
        torch.testing.assert_close(z_index, exact.z_scale_index(row * POSITION_STEPS // (SMALL.rows - 1)))


def test_what_is_restored_from_an_export_computes_the_same(busy_network: Aec1) -> None:
    restored = ScaleModel(SMALL).requires_grad_(False)
    restored.restore(busy_network.scale_model.export())
    z = torch.randint(-9, 10, (2, SMALL.hyper_channels, 2, 4), generator=torch.Generator().manual_seed(3)).float()
    assert torch.equal(restored.predict(z), busy_network.scale_model.predict(z))
    for position in (torch.tensor([0.0, 1.0]), torch.tensor([0.3, 0.8])):
        for ours, theirs in zip(restored(z, position), busy_network.scale_model(z, position), strict=True):
            assert torch.equal(ours, theirs)
        z_index = (model.z_scale_index(position) for model in (restored, busy_network.scale_model))
        assert torch.equal(*z_index)


def test_hyper_latents_come_back_from_what_their_neighbours_do_not_tell(busy_network: Aec1) -> None:
    exact = ExactScaleModel(busy_network.scale_model.export(), torch.device("cpu"))
    for shape in ((1, 1), (1, 5), (6, 1), (4, 7)):
        generator = torch.Generator().manual_seed(shape[1])
        z = torch.randint(-127, 128, (2, SMALL.hyper_channels, *shape), generator=generator).float()
        residual = exact.z_residual(z)
        assert torch.equal(residual, z - busy_network.scale_model.predict(z))
        np.testing.assert_array_equal(exact.z_of_residual(residual.int().numpy()), z.int().numpy())
        forged = exact.z_of_residual(np.full(z.shape, 32767, np.int32))
        assert forged.min() == forged.max() == 127


def test_threads_batch_and_memory_format_change_nothing(busy_network: Aec1) -> None:
    model = ExactScaleModel(busy_network.scale_model.export(), torch.device("cpu"))
    z = torch.randint(-127, 128, (5, SMALL.hyper_channels, 7, 6), generator=torch.Generator().manual_seed(2)).float()
    expected = [torch.cat(parts) for parts in zip(*(model(z[b : b + 1], 4321) for b in range(5)), strict=True)]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for shape in (torch.contiguous_format, torch.channels_last):
                for got, want in zip(model(z.to(memory_format=shape), 4321), expected, strict=True):
                    assert torch.equal(got, want)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(model(z, 4321)[1], expected[1])
    finally:
        torch.set_num_threads(before)


def test_rows_are_interpolated_by_exact_rationals() -> None:
    rows = torch.tensor([[-7, 100], [5, -100], [6, 0]])
    for position in (0, 1, 1234, 4949, 4950, 4951, 9899, 9900):
        at = 2 * position
        low = min(at // POSITION_STEPS, 1)
        part = at - low * POSITION_STEPS
        expected = [
            (int(a) * (POSITION_STEPS - part) + int(b) * part) // POSITION_STEPS
            for a, b in zip(rows[low], rows[low + 1], strict=True)
        ]
        assert interpolate_rows_exactly(rows, position).tolist() == expected


def test_results_do_not_depend_on_what_the_host_asks_of_float32() -> None:
    weight, bias, shift = worst_layer(48, 64, 3, 9)
    x = np.random.default_rng(9).integers(0, 256, (64, 9, 11))
    expected = run(x, weight, bias, shift, torch.float32)
    settings = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        np.testing.assert_array_equal(run(x, weight, bias, shift, torch.float32), expected)
        assert settings.fp32_precision == "bf16"  # as the host left it
    finally:
        settings.fp32_precision = before


def test_threads_share_full_precision_and_the_last_puts_settings_back() -> None:
    settings = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        first, second = full_precision("cpu"), full_precision("cpu")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert settings.fp32_precision == "ieee"
        second.__exit__(None, None, None)
        assert settings.fp32_precision == "bf16"
    finally:
        settings.fp32_precision = before


def test_a_machine_that_computes_otherwise_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    selftest.check("cpu")
    monkeypatch.setattr(selftest, "integer_conv2d", lambda x, *_: x)
    selftest.check.cache_clear()
    with pytest.raises(AecodecError, match="integer layers"):
        selftest.check("cpu")
    selftest.check.cache_clear()
