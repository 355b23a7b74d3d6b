"""The promise: a network of somebody else's goes wherever ours go, without a line changed outside its package."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import aecodec.pillow
from aecodec import archive
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import ModelError
from aecodec.models import write_weights

Run = Callable[..., Result]


@pytest.fixture
def toy(toy_weights: Path) -> Codec:
    return Codec("cpu", toy_weights)


@pytest.fixture
def run(toy_weights: Path) -> Run:
    def call(*words: object) -> Result:
        result = CliRunner().invoke(main, [*map(str, words), "--model", str(toy_weights)])
        assert result.exit_code == 0, result.output
        return result

    return call


@pytest.fixture
def pictures(photo: np.ndarray, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(photo, 20 * number, 1)).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_commands(run: Run, toy: Codec, pictures: Path, tmp_path: Path) -> None:
    run("compress", pictures / "0.png", "-o", tmp_path / "0.aec", "-q", 70, "--device", "cpu")
    run("decompress", tmp_path / "0.aec", "-o", tmp_path / "back.png", "--device", "cpu")
    assert Image.open(tmp_path / "back.png").size == (144, 96)
    shown = CliRunner().invoke(main, ["info", str(tmp_path / "0.aec"), "--json"])
    assert json.loads(shown.stdout)["model"] == toy.model.id.hex()
    compared = run("compare", pictures / "0.png", tmp_path / "0.aec", "--json", "--device", "cpu")
    assert json.loads(compared.stdout)["psnr_rgb"] > 15


def test_archives(toy_weights: Path, pictures: Path, tmp_path: Path) -> None:
    options = {"device": "cpu", "model": toy_weights}
    report = archive.create(pictures, tmp_path / "arc", 80, min_psnr=None, workers=1, **options)
    assert (report.counts["picture"], report.counts["other"]) == (3, 1)
    assert not archive.verify(tmp_path / "arc", deep=True, source=pictures, **options).problems
    assert not archive.extract(tmp_path / "arc", tmp_path / "out", **options).problems
    assert (tmp_path / "out" / "notes.txt").read_text() == "no picture"
    with Image.open(tmp_path / "out" / "1.png") as image:
        assert image.size == (144, 96)


@pytest.fixture
def plugin(toy: Codec) -> Iterator[None]:
    aecodec.pillow.register(toy)
    yield
    aecodec.pillow.register()


def test_pillow(plugin: None, photo: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "AEC", quality=90)
    with Image.open(buffer) as image:
        assert np.abs(np.asarray(image).astype(int) - photo).mean() < 20


def test_the_benchmark(toy_weights: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bjontegaard")
    pytest.importorskip("matplotlib")
    from aecodec.benchmark import memory

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "_measure", lambda *_: {"encode": 1, "decode": 1})  # fresh processes take long
    words = ["benchmark", pictures / "0.png", "-o", tmp_path / "report", "--codecs", "aecodec,jpeg"]
    words += ["--qualities", "2", "--metrics", "psnr", "--model", toy_weights]
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    assert "aecodec" in result.output


def test_an_unknown_family_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "future.safetensors"
    write_weights(path, "aec9", {"x": np.zeros(1)}, {})
    with pytest.raises(ModelError, match=r"future\.safetensors.*'aec9'.*a newer version may have it"):
        Codec("cpu", path)


def test_a_family_whose_packages_are_missing_names_them(
    toy_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(aecodec.families.BUILT_IN, "needy", "aecodec.no_such_module")
    path = tmp_path / "needy.safetensors"
    write_weights(path, "needy", {"x": np.zeros(1)}, {})
    with pytest.raises(ModelError, match=r"need aecodec\.no_such_module"):
        Codec("cpu", path)
