"""The promise: any picture comes back in its own size and kind, and files decode to the same symbols everywhere."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference_decoder import ReferenceModel

from aecodec import AecodecError, FormatError, LimitError, ModelError, container, models
from aecodec.codec import Codec
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1
from aecodec.families.hyperprior.fitting import PRIORS, fit_tables
from aecodec.families.hyperprior.hiding import count_hidden, sign_groups
from aecodec.families.layouts import network_input
from aecodec.picture.padding import pad
from aecodec.tiling import Box
from aecodec.training.export import save


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def symbols_of(codec: Codec, photo: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hyper latents, symbols and scale indices of the photo, without a search."""
    (latents,) = codec.model.family.analyse(pad(photo, (128, 192))[None], [Box.whole((128, 192))])
    return codec.model.family.symbol_arrays(latents, quality)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (63, 64), (65, 64), (97, 130), (3, 500)])
def test_any_size_comes_back(codec: Codec, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    image = codec.decompress(codec.compress(pixels, 80))
    assert image.size == (size[1], size[0])
    assert image.mode == "RGB"


def test_quality_buys_fidelity_with_bytes(codec: Codec, photo: np.ndarray) -> None:
    sizes, fidelity = [], []
    for quality in (1, 25, 50, 75, 100):
        data = codec.compress(photo, quality)
        sizes.append(len(data))
        fidelity.append(psnr(photo, np.asarray(codec.decompress(data))))
    assert sizes == sorted(sizes)
    assert fidelity == sorted(fidelity)
    assert fidelity[-1] > 22  # 24 of 768 Karhunen-Loeve coefficients cannot do much more


def test_the_reference_decoder_reads_the_same_symbols(codec: Codec, small_weights: Path, photo: np.ndarray) -> None:
    reference = ReferenceModel(small_weights)
    for quality in (100, 4321, 10000):
        ((z, indices, symbols),) = reference.decode(codec.compress(photo, quality / 100, effort=0))
        expected = symbols_of(codec, photo, quality)
        for got, want in zip((z, symbols, indices), expected, strict=True):
            np.testing.assert_array_equal(got, want[0])
    assert len(reference.decode(codec.compress(photo, 60, tile=64))) == 6


def test_tiles_leave_no_seams(codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Analysis and synthesis of tiles with their halos are those of the whole picture."""
    family, padded = codec.model.family, pad(photo, (128, 192))[None]
    (whole,) = family.analyse(padded, [Box.whole((128, 192))])
    box = Box(0, 64, 64, 128)
    window = box.with_halo(family.geometry.analysis_halo, (128, 192))
    (part,) = family.analyse(pad(photo, (128, 192))[window.slices][None], [box.within(window)])
    torch.testing.assert_close(part, whole[:, :, 0:4, 4:8], atol=1e-4, rtol=1e-4)

    data = codec.compress(photo, 90)
    tiled = codec.compress(photo, 90, tile=64)
    assert container.read_header(tiled).tile == 64
    one, many = (np.asarray(codec.decompress(d)).astype(float) for d in (data, tiled))
    assert abs(psnr(photo, one) - psnr(photo, many)) < 0.3
    # Synthesis by windows is synthesis of the whole: the same latents, with windows as large as the picture.
    monkeypatch.setattr(ModelConfig, "synthesis_halo", 100)
    assert np.abs(many - np.asarray(codec.decompress(tiled))).max() <= 1


def test_halos_cover_the_receptive_fields(codec: Codec) -> None:
    """A change just outside the halo does not reach the tile."""
    network = codec.model.family.network
    x = torch.zeros(1, 3, 512, 512, dtype=torch.uint8)
    changed = x.clone()
    edge = 256 - network.config.analysis_halo
    changed[:, :, :edge] = 255
    difference = (network.analysis(network_input(x)) - network.analysis(network_input(changed))).abs()
    assert difference[:, :, 256 // 16 :].max() == 0
    assert difference[:, :, edge // 16 - 1].max() > 0  # and it was a change

    config = network.config
    y = torch.randn(1, config.latent_channels, 32, 32)
    f = torch.randint(0, 255, (1, config.trunk_channels, 32, 32)).float()
    position = torch.tensor([0.5])
    other = y.clone()
    other[:, :, : 16 - config.synthesis_halo] += 3
    a, b = (network.synthesis(v, v * network.decoder_gain(position), f, position) for v in (y, other))
    assert torch.equal(a[:, :, 128:], b[:, :, 128:])
    inside = Box(16, 32, 10, 20)
    part = network.synthesis(y, y * network.decoder_gain(position), f, position, inside)
    torch.testing.assert_close(part, a[:, :, 128:, 80:160], atol=1e-5, rtol=1e-5)


def test_batches_hold_what_single_files_hold(codec: Codec, photo: np.ndarray) -> None:
    pictures = [photo, photo[::-1].copy(), photo[:50, :70], np.dstack([photo, photo[:, :, 0]]), photo[:, :, 1]]
    batch = codec.compress_batch(pictures, 70)
    for data, picture, image in zip(batch, pictures, codec.decompress_batch(batch), strict=True):
        alone = codec.compress(picture, 70)
        # Sums in another order may move a latent across a rounding edge; sizes then differ by a few bytes.
        assert abs(len(data) - len(alone)) <= 16
        difference = np.abs(np.asarray(image).astype(int) - np.asarray(codec.decompress(data)))
        assert difference.max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes_and_alpha_survive(codec: Codec, photo: np.ndarray, mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(photo[:, :, 2]))
    back = codec.decompress(codec.compress(image))
    assert back.mode == mode
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(back.getchannel("A")), photo[:, :, 2])


def test_metadata_survive(codec: Codec, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif.tobytes(), icc_profile=b"profile" * 40, xmp=b"<x:xmpmeta/>")
    back = codec.decompress(codec.compress(buffer))
    assert back.info["icc_profile"] == b"profile" * 40
    assert back.info["xmp"] == b"<x:xmpmeta/>"
    loaded = Image.Exif()
    loaded.load(back.info["exif"])
    assert loaded[0x0112] == 6
    assert loaded[0x010E] == "a description"


def test_coded_size_is_within_one_percent_of_the_estimate(codec: Codec, photo: np.ndarray) -> None:
    for quality in (500, 5000, 9500):
        z, symbols, indices = symbols_of(codec, photo, quality)
        groups = sign_groups(torch.from_numpy(indices))
        hidden = count_hidden(torch.from_numpy(symbols), groups).item() / 8
        assert hidden > 0
        z_indices = np.broadcast_to(
            codec.model.family.scale_model.z_scale_index(quality - 100).numpy().astype(np.uint8)[:, None, None],
            z[0].shape,
        )
        tables = codec.model.family.tables
        coded = codec.model.family.scale_model.z_residual(torch.from_numpy(z)).int().numpy()
        estimate = (tables.estimate(coded[0], z_indices) + tables.estimate(symbols[0], indices[0])) / 8 - hidden
        payload = container.read(codec.compress(photo, quality / 100)).tiles[0]
        assert abs(len(payload) - estimate) <= 0.01 * estimate + 16


def test_hyper_latents_that_are_not_coded_are_not_used(small_network: Aec1, photo: np.ndarray, tmp_path: Path) -> None:
    network = copy.deepcopy(small_network)
    network.scale_model.z_index.zero_()
    last = network.entropy_model.hyper_analysis[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    last.bias.fill_(3.0)
    always_zero = [np.zeros(len(prior), np.int64) for prior in PRIORS]
    always_zero[0][len(PRIORS[0]) // 2 - 1] = 10**6
    frequencies, reach = fit_tables(always_zero)
    assert reach[0] == 0
    path = tmp_path / "model.safetensors"
    save(path, network, frequencies, reach)
    codec = Codec("cpu", path)
    assert codec.decompress(codec.compress(photo)).size == (144, 96)


def test_a_file_of_another_model_is_refused(codec: Codec, photo: np.ndarray, small_network, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save(path, small_network, *fit_tables(None), {"note": "another hash"})
    data = Codec("cpu", path).compress(photo)
    with pytest.raises(ModelError, match=data[6:10].hex()):
        codec.decompress(data)


def test_damaged_weights_are_refused(small_weights: Path, tmp_path: Path) -> None:
    data = small_weights.read_bytes()
    path = tmp_path / "damaged.safetensors"
    for broken in (b"", data[:1000], data[:-10], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(ModelError, match=r"damaged\.safetensors"):
            models.load(path, "cpu")
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="not the released file"):
        models.load(path, "cpu", expected_sha256=models.load(small_weights, "cpu").id.hex() * 8)


def test_forged_payloads_are_format_errors_or_wrong_pictures_but_never_crash(codec: Codec, photo: np.ndarray) -> None:
    content = container.read(codec.compress(photo))
    rng = np.random.default_rng(1)
    complaints = 0
    for _ in range(20):
        payload = bytearray(content.tiles[0])
        payload[rng.integers(0, len(payload))] ^= 1 << int(rng.integers(0, 8))
        try:
            image = codec.decompress(container.write(container.File(content.header, {}, [bytes(payload)])))
            assert image.size == (144, 96)
        except FormatError:
            complaints += 1
    assert complaints > 0


def test_bad_arguments_are_named(codec: Codec, photo: np.ndarray, small_weights: Path) -> None:
    for quality in (0, 100.5, -3, float("nan")):
        with pytest.raises(AecodecError, match="quality"):
            codec.compress(photo, quality)
    with pytest.raises(AecodecError, match="float64"):
        codec.compress(photo / 255.0)  # type: ignore[arg-type]
    with pytest.raises(AecodecError, match="5"):
        codec.compress(np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(AecodecError, match="not a picture"):
        codec.compress(io.BytesIO(b"hello"))
    with pytest.raises(LimitError, match="limit of 100"):
        Codec("cpu", small_weights, pixel_limit=100).compress(photo)
    with pytest.raises(AecodecError, match="no-such-device"):
        Codec("no-such-device", small_weights)
    with pytest.raises(ModelError, match="no-such-model"):
        Codec("cpu", "no-such-model")
