"""Two models, one for the eye and one for small errors: which is used where, what it can be asked for, what is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import aecodec
from aecodec import container, models
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.errors import AecodecError
from aecodec.options import EncodeOptions
from aecodec.perceptual import score


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open(Path(__file__).parents[1] / "examples" / "coffee.png").convert("RGB"))[60:316, 100:356]


def model_of(data):
    return models.released_name(container.read_header(data).model_id)


def test_files_are_made_for_the_eye_unless_small_errors_are_asked_for(photo):
    small = photo[:64, :64]
    assert model_of(aecodec.compress(small)) == models.DEFAULTS["visual"] == models.DEFAULT
    assert model_of(aecodec.compress(small, tune="psnr")) == models.DEFAULTS["psnr"]
    assert model_of(aecodec.compress(small, psnr=30)) == models.DEFAULTS["psnr"]
    assert model_of(aecodec.compress(small, psnr=25, tune="visual")) == models.DEFAULTS["visual"]


def test_the_name_of_a_model_tells_what_it_is_tuned_for():
    assert {tune: models.tune_of(name) for tune, name in models.DEFAULTS.items()} == {
        "visual": "visual",
        "psnr": "psnr",
    }


def test_weights_under_any_name_are_taken_for_what_they_are_trained_for(tmp_path):
    released = models.weights_folder() / f"{models.DEFAULTS['visual']}.safetensors"
    mine = tmp_path / "mine.safetensors"
    shutil.copyfile(released, mine)
    assert [models.find(model, "cpu").tune for model in (mine, *models.DEFAULTS.values())] == [
        "visual",
        "visual",
        "psnr",
    ]


def test_a_tune_that_cannot_be_is_refused(photo):
    with pytest.raises(AecodecError, match="visual or psnr"):
        aecodec.compress(photo, tune="ssim")


def test_a_model_and_a_tune_are_not_asked_for_together(photo):
    codec = Codec("cpu", models.DEFAULTS["psnr"])
    for call in (
        codec.compress,
        lambda picture, tune: codec.compress_batch([picture], tune=tune),
        lambda picture, tune: codec.encode([picture], EncodeOptions(tune=tune)),
    ):
        with pytest.raises(AecodecError, match="tune chooses between the default models"):
            call(photo[:64, :64], tune="visual")


def test_chunks_of_arrays_are_tuned_for_small_errors(photo):
    pytest.importorskip("numcodecs")
    from aecodec.plugins.numcodecs import Aecodec

    small = np.ascontiguousarray(photo[:64, :64])
    assert model_of(Aecodec().encode(small)) == models.DEFAULTS["psnr"]
    assert model_of(Aecodec(tune="visual").encode(small)) == models.DEFAULTS["visual"]


def test_a_score_is_reached_and_hardly_more(photo):
    data = aecodec.compress(photo, score=70)
    assert 70 <= score(photo, np.asarray(aecodec.decompress(data))) < 71


def test_a_score_that_no_quality_has_is_an_error(photo):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(AecodecError, match="SSIMULACRA2 at quality 100"):
        aecodec.compress(noise, score=99.9)
    with pytest.raises(AecodecError, match="only equal pictures"):
        aecodec.compress(photo, score=100)


def test_a_step_of_the_search_looks_better_for_fewer_bytes(photo):
    def at(effort):
        # Of two qualities: a single one moves by half a point with the processor's rounding of floats.
        files = [aecodec.compress(photo, quality, effort=effort) for quality in (50, 70)]
        return sum(score(photo, np.asarray(aecodec.decompress(data))) for data in files), sum(map(len, files))

    (without, bytes_without), (searched, bytes_searched) = at(0), at(1)
    assert searched > without
    assert bytes_searched < bytes_without


def test_info_tells_what_a_file_is_made_for(photo, tmp_path):
    path = tmp_path / "a.aec"
    path.write_bytes(aecodec.compress(photo[:64, :64]))
    told = json.loads(CliRunner().invoke(main, ["info", "--json", str(path)]).output)
    assert (told["model"], told["tune"]) == (models.DEFAULT, "visual")


def test_no_file_is_written_that_would_not_be_smaller(photo, tmp_path):
    paths = [tmp_path / "already-small.jpg", tmp_path / "large.png"]
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(paths[0], quality=5)
    Image.fromarray(photo).save(paths[1])
    done = CliRunner().invoke(main, ["compress", "-q", "90", "--only-if-smaller", *map(str, paths)])
    assert done.exit_code == 0
    assert not (tmp_path / "already-small.aec").exists()
    assert "already-small.jpg stays as it is" in done.output
    assert (tmp_path / "large.aec").stat().st_size < paths[1].stat().st_size
