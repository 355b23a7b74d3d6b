"""The promise: pictures go into tensors and out of them without anything in between, and an archive is a data set that
goes on where it stopped."""

from __future__ import annotations

from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aecodec import archive, canvas, container
from aecodec.canvas import Canvas
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.native import Decoder, available

TILE, CROP = 64, 48


def shown(codec: Codec, data: bytes, region: canvas.Region | None = None) -> torch.Tensor:
    samples = codec.decompress(data, region, as_array=True)
    colour = samples if samples.ndim == 2 or samples.shape[2] == 3 else samples[..., :-1]
    return torch.from_numpy(np.atleast_3d(colour).astype(np.int32)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def files(codec: Codec, photo: np.ndarray) -> list[bytes]:
    """RGB, tiled, grey, with alpha, with blocks without loss."""
    drawn = photo.copy()
    drawn[:64, :64] = np.where(np.arange(64)[:, None, None] // 4 % 2, 255, 0)
    pictures = (photo, photo[..., 0], np.dstack([photo, photo[..., 0]]), drawn)
    return [codec.compress(photo, tile=TILE), *(codec.compress(picture, 90) for picture in pictures)]


def test_tensors_are_what_decompress_shows(codec: Codec, files: list[bytes]) -> None:
    tensors = codec.decode_tensor(files)
    assert [tuple(tensor.shape) for tensor in tensors] == [(3, 96, 144)] * 2 + [(1, 96, 144)] + [(3, 96, 144)] * 2
    for tensor, data in zip(tensors, files, strict=True):
        assert tensor.dtype == torch.uint8
        assert (tensor.int() - shown(codec, data)).abs().max() <= 1


def test_what_stays_on_a_device_is_what_comes_to_the_host(codec: Codec, files: list[bytes]) -> None:
    """As for a GPU; the family's device is the CPU here."""
    contents = [container.read(data) for data in files]
    assert container.PATCHES in contents[-1].chunks
    regions = (None, (30, 20, 80, 70))
    for content, region in ((content, region) for content in contents for region in regions):
        one = Canvas(content, codec.model, region, on_device=True)
        (tensor,) = canvas.tensors([one])
        (picture,) = canvas.pictures([Canvas(content, codec.model, region)])
        assert isinstance(tensor, torch.Tensor)
        assert np.abs(tensor.numpy().astype(int) - picture.colour).max() <= 1
        tensor += 1  # an ordinary tensor, which training may change


def test_floats_are_from_0_to_1_whatever_the_depth(codec: Codec, photo: np.ndarray) -> None:
    deep = codec.compress(photo.astype(np.uint16) * 257, 90)
    for data in (deep, codec.compress(photo, 90)):
        (whole,), (bytes_,) = codec.decode_tensor([data], floating=True), codec.decode_tensor([data])
        assert whole.dtype == torch.float32
        assert 0 <= whole.min() < 0.2 < 0.8 < whole.max() <= 1
        assert (255 * whole - bytes_).abs().max() <= 0.51


def test_regions_and_three_channels(codec: Codec, files: list[bytes]) -> None:
    tiled, _, grey, *_ = files
    a, b = codec.decode_tensor([tiled, grey], regions=[(70, 3, 20, 10), None], rgb=True)
    assert (a.shape, b.shape) == ((3, 10, 20), (3, 96, 144))
    assert (a.int() - shown(codec, tiled, (70, 3, 20, 10))).abs().max() <= 1


@pytest.mark.skipif(not available(), reason="libaec is not built")
def test_tensors_by_libaec(codec: Codec, small_weights: Path, files: list[bytes]) -> None:
    by_libaec = Decoder(small_weights).decode_tensor(files, regions=[(5, 6, 70, 80)] * len(files))
    for one, data in zip(by_libaec, files, strict=True):
        assert (one.int() - shown(codec, data, (5, 6, 70, 80))).abs().max() <= 1


def test_tensors_are_encoded_as_arrays_are(codec: Codec, photo: np.ndarray) -> None:
    batch = torch.from_numpy(np.stack([photo, photo[::-1].copy()])).permute(0, 3, 1, 2)
    expected = codec.compress_batch([photo, photo[::-1]], 70)
    assert codec.encode_tensor(batch, 70) == expected
    (deep,) = codec.encode_tensor([batch[0].float() / 255], 70)
    assert codec.decompress(deep, as_array=True).dtype == np.uint16
    assert codec.encode_tensor([batch[0, :1]]) == [codec.compress(photo[..., 0])]
    with pytest.raises(AecodecError, match=r"expected \(C, H, W\)"):
        codec.encode_tensor(batch[0])


@pytest.fixture(scope="module")
def packed(photo: np.ndarray, small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of several shards: pictures of which the first row tells which it is, and one too small."""
    root = tmp_path_factory.mktemp("packed")
    (root / "photos").mkdir()
    for number in range(12):
        picture = np.full((96, 128, 3), 10 + 20 * number, np.uint8)
        Image.fromarray(picture).save(root / "photos" / f"{number:02}.png", compress_level=0)
    Image.fromarray(photo[:32, :32]).save(root / "photos" / "small.png")
    options: dict[str, Any] = {"device": "cpu", "model": small_weights, "min_psnr": None, "min_saving": 0}
    archive.create(root / "photos", root / "arc", 95, workers=1, shard_size=100_000, **options)
    return root / "arc"


def loader(packed: Path, small_weights: Path, **options: Any) -> archive.ArchiveLoader:
    return archive.ArchiveLoader(packed, 2, device="cpu", model=small_weights, crop=CROP, **options)


def levels(batches: Any) -> list[list[int]]:
    """Which pictures batches hold."""
    return [[round((float(each.float().mean()) - 10) / 20) for each in batch] for batch in batches]


def test_an_epoch_is_every_picture_once_in_another_order(packed: Path, small_weights: Path) -> None:
    made = loader(packed, small_weights)
    assert len(set(made.dataset.shards)) > 2
    epochs = [levels(made) for _ in range(2)]
    assert epochs[0] != epochs[1]
    for epoch in epochs:
        assert sorted(chain(*epoch)) == list(range(12))
    assert made.state_dict() == {"seed": 0, "epoch": 2, "batch": 0}


def test_batches_are_crops_that_workers_decode(packed: Path, small_weights: Path) -> None:
    alone, helped = (list(loader(packed, small_weights, workers=workers)) for workers in (0, 2))
    assert all(batch.shape == (2, 3, CROP, CROP) and batch.dtype == torch.uint8 for batch in alone)
    assert all((a.int() - b.int()).abs().max() <= 1 for a, b in zip(alone, helped, strict=True))


def test_pictures_of_a_shard_stay_together(packed: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecodec.archive.dataset.WINDOW", 1)
    made = loader(packed, small_weights)
    shards = [made.dataset.shards[number] for number in made.order()]
    changes = sum(a != b for a, b in pairwise(shards))
    assert changes == len(set(shards)) - 1


def test_it_goes_on_where_it_stopped_whatever_reads_ahead(packed: Path, small_weights: Path) -> None:
    whole = list(loader(packed, small_weights, seed=5))
    stopped = loader(packed, small_weights, seed=5, workers=2)
    begun = list(islice(stopped, 2))
    resumed = loader(packed, small_weights)
    resumed.load_state_dict(stopped.state_dict())
    rest = list(resumed)
    assert stopped.batch == 2
    for one, other in zip(whole, begun + rest, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1


def test_processes_share_an_epoch(packed: Path, small_weights: Path) -> None:
    parts = [levels(loader(packed, small_weights, rank=rank, world=3)) for rank in range(3)]
    assert sorted(chain(*chain(*parts))) == list(range(12))


def test_a_crop_is_a_part_of_its_picture(packed: Path, small_weights: Path) -> None:
    made = loader(packed, small_weights)
    stored = made.dataset[3, 7]
    assert stored.region is not None
    (crop,) = made.dataset.decode([stored])
    whole = made.dataset.decode([stored._replace(region=None)])[0]
    left, top, width, height = stored.region
    assert (crop.int() - whole[:, top : top + height, left : left + width].int()).abs().max() <= 1


def test_what_makes_no_batch_is_told(packed: Path, small_weights: Path) -> None:
    with pytest.raises(AecodecError, match="no batch of 2"):
        archive.ArchiveLoader(packed, 2, device="cpu", model=small_weights, crop=500)
