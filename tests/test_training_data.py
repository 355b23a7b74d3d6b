"""The promise: what a step sees follows from the seed and its number, and what is held out never trains."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aecodec import AecodecError, archive
from aecodec.errors import PictureWarning
from aecodec.training.data import Kind, Patches, held_out_crops, stream
from aecodec.training.sources import Pictures


def save(path: Path, level: int, side: int = 160) -> None:
    """A flat picture of this level, so that a patch tells where it is from."""
    Image.new("RGB", (side, side), (level, level, level)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 flat pictures of 200 levels."""
    folder = tmp_path_factory.mktemp("flat")
    for level in range(200):
        save(folder / f"{level}.png", level)
    return folder


def held_out(pictures: Pictures) -> set[int]:
    """Levels of the pictures that do not train."""
    chosen = [n for n in range(len(pictures)) if pictures.is_held_out(n, pictures.read(n))]
    return {pictures.image(n, pictures.read(n)).getpixel((0, 0))[0] for n in chosen}  # type: ignore[index]


def levels(batch: torch.Tensor) -> list[int]:
    return batch[:, 0, 0, 0].tolist()


def patches_of(folder: Path, **options: object) -> Patches:
    return Patches([Kind(Pictures([folder]), 1.0)], **{"batch": 8, "size": 64, "seed": 3, **options})  # type: ignore


def test_a_batch_depends_on_its_number_alone(folder: Path) -> None:
    one = patches_of(folder)
    straight = [one[number] for number in range(24)]
    assert torch.equal(patches_of(folder)[23], straight[23])
    read = iter(stream(patches_of(folder), 20, workers=2))
    assert all(torch.equal(next(read), straight[number]) for number in range(20, 24))
    halves = [patches_of(folder, part=part)[5] for part in (slice(0, 4), slice(4, 8))]
    assert torch.equal(torch.cat(halves), straight[5])
    assert straight[0].shape == (8, 3, 64, 64)
    assert straight[0].is_contiguous(memory_format=torch.channels_last)


def test_every_picture_that_trains_is_seen_and_none_that_is_held_out(folder: Path) -> None:
    pictures = Pictures([folder])
    never = held_out(pictures)
    assert 1 < len(never) < 30
    patches = patches_of(folder, visits=2, lanes=2)
    seen = Counter(level for number in range(60) for level in levels(patches[number]))
    assert set(seen) == set(range(200)) - never
    assert set(levels(held_out_crops(pictures, 100, 32))) == never


def test_the_content_decides_what_is_held_out_wherever_it_is(folder: Path, tmp_path: Path) -> None:
    """In a tar shard with other names, too; what only its name had held out may train there."""
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for level in range(200):
            tar.add(folder / f"{level}.png", f"other/{level:06}.png")
    in_folder, in_shard = Pictures([folder]), Pictures([tmp_path / "shard.tar"])
    assert len(in_shard) == 200
    by_content = held_out(in_folder) & held_out(in_shard)
    assert len(by_content) >= 1
    for pictures in (in_folder, in_shard):
        chosen = [n for n in range(200) if pictures.is_held_out(n, pictures.read(n))]
        assert by_content <= {pictures.image(n, pictures.read(n)).getpixel((0, 0))[0] for n in chosen}  # type: ignore


def test_pictures_of_archives_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        noise = rng.normal(128, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).resize((192, 160), Image.Resampling.BICUBIC).save(tmp_path / "in" / f"{name}.png")
    archive.create(tmp_path / "in", tmp_path / "arc", 90, device="cpu", tune="psnr")
    stored, original = Pictures([tmp_path / "arc"]), Pictures([tmp_path / "in"])
    assert len(stored) == len(original) == 2
    for number in range(2):
        a, b = (np.asarray(p.image(number, p.read(number)), float) for p in (stored, original))
        assert a.shape == b.shape
        assert 0 < np.mean((a - b) ** 2) < 20
    batch = next(iter(stream(Patches([Kind(stored, 1.0)], 2, 128, 0), 0, workers=1)))
    assert batch.shape == (2, 3, 128, 128)


def test_what_is_damaged_or_small_is_a_warning(folder: Path, tmp_path: Path) -> None:
    for level in range(20):
        save(tmp_path / f"{level}.png", level)
    (tmp_path / "broken.png").write_bytes((folder / "0.png").read_bytes()[:60])
    save(tmp_path / "small.png", 99, 40)
    patches = patches_of(tmp_path, visits=1)
    with pytest.warns(PictureWarning) as caught:
        seen = {level for number in range(30) for level in levels(patches[number])}
    told = " ".join(str(warning.message) for warning in caught)
    assert "broken.png: damaged picture" in told
    assert "small.png: under 64 pixels a side" in told
    assert len(caught) == 2
    assert len(seen) >= 15
    assert 99 not in seen


def test_sources_without_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AecodecError, match="no pictures"):
        Pictures([tmp_path])
    (tmp_path / "text.tar").write_bytes(b"no tar file")
    with pytest.raises(AecodecError, match="neither a folder, a tar file nor an archive"):
        Pictures([tmp_path / "text.tar"])
    for level in (7, 8):
        save(tmp_path / f"{level}.png", level, 40)
    with pytest.raises(AecodecError, match="none of 2 pictures is held out"):
        held_out_crops(Pictures([tmp_path]), 1, 64)
    patches = patches_of(tmp_path)
    with pytest.warns(PictureWarning), pytest.raises(AecodecError, match="give more pictures"):
        patches[0]


def test_patches_are_flipped_and_transposed_windows(tmp_path: Path) -> None:
    pixels = np.arange(512 * 512 * 3).reshape(512, 512, 3) // 3 % 251
    for name in range(3):
        Image.fromarray(((pixels + name) % 251).astype(np.uint8)).save(tmp_path / f"{name}.png")
    patches = Patches([Kind(Pictures([tmp_path]), 1.0)], 32, 64, 0)[0].int()
    steps = {int(step) % 251 for step in patches[:, 0, 1, 1] - patches[:, 0, 0, 1]}
    # A step down is a step of a row (512) or of a column (1), in either direction.
    assert steps == {512 % 251, -512 % 251, 1, 250}


def test_pictures_at_half_size_are_means_of_four(tmp_path: Path) -> None:
    pixels = np.zeros((256, 256, 3), np.uint8)
    for level in (100, 110, 120):
        pixels[::2] = 2 * level
        Image.fromarray(pixels).save(tmp_path / f"{level}.png")
    patches = Patches([Kind(Pictures([tmp_path]), 1.0)], 4, 64, 0, half=1.0)[0]
    assert set(patches.flatten().tolist()) <= {100, 110, 120}


def test_shares_of_mixed_sources_are_kept(folder: Path, tmp_path: Path) -> None:
    for name in range(40):
        save(tmp_path / f"{name}.png", 250)
    kinds = [Kind(Pictures([folder]), 0.75), Kind(Pictures([tmp_path]), 0.25)]
    patches = Patches(kinds, 32, 64, 0, visits=1)
    seen = [level == 250 for number in range(20) for level in levels(patches[number])]
    assert np.mean(seen) == pytest.approx(0.25, abs=0.06)


def test_members_of_tar_shards_are_read_at_their_place(tmp_path: Path) -> None:
    data = {}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for level in (10, 20, 30):
            buffer = io.BytesIO()
            Image.new("RGB", (64, 64), (level, 0, 0)).save(buffer, "PNG")
            data[f"{level}.png"] = buffer.getvalue()
            for name, content in ((f"{level}.png", buffer.getvalue()), (f"{level}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    pictures = Pictures([tmp_path / "a.tar"])
    assert [pictures.read(n) for n in range(len(pictures))] == list(data.values())
