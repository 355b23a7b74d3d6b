"""The promise: large pictures are coded by tiles that leave no seams, and a region costs only the tiles it needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aecodec import AecodecError
from aecodec.canvas import Canvas
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.coding.tables import Tables
from aecodec.metrics import psnr
from aecodec.tiling import Box

TILE = 128  # with halos of 96 pixels, a region in the middle 32 of a tile needs no other


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """(437, 600, 3) uint8, 4 x 5 tiles: waves of all lengths and directions, and noise."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:437, :600]
    picture = np.full((437, 600, 3), 128.0)
    for _ in range(30):
        frequency, direction, phase = rng.uniform(0.01, 0.8), rng.uniform(0, 6.3), rng.uniform(0, 6.3, 3)
        wave = frequency * (np.cos(direction) * x + np.sin(direction) * y)
        picture += 4 / frequency**0.5 * np.sin(wave[:, :, None] + phase)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


REGIONS = [(0, 0, 600, 437), (0, 0, 1, 1), (599, 436, 1, 1), (100, 120, 77, 40), (250, 0, 13, 437), (5, 200, 590, 3)]


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("tile", [TILE, 0])
def test_a_region_is_what_the_whole_shows_there(codec: Codec, large: np.ndarray, kind: str, tile: int) -> None:
    picture = {"RGB": large, "L": large[:, :, 0], "RGBA": np.dstack([large, large[:, :, 0]])}[kind]
    data = codec.compress(picture, 80, tile=tile)
    whole = np.asarray(codec.decompress(data)).astype(int)
    for x, y, width, height in REGIONS:
        image = codec.decompress(data, region=(x, y, width, height))
        assert image.mode == kind
        assert image.size == (width, height)
        # Sums in another order may round to the neighbouring level.
        assert np.abs(np.asarray(image) - whole[y : y + height, x : x + width]).max() <= 1


@pytest.mark.parametrize(
    ("region", "tiles"),
    [
        ((112, 112, 32, 32), 4),  # across a corner of tiles
        ((224, 96, 32, 16), 4),
        ((176, 176, 32, 32), 9),  # in the middle of a tile, whose halo is as wide as a tile
        ((0, 0, 16, 16), 1),
        ((0, 0, 600, 16), 5),
        ((0, 0, 600, 437), 20),
    ],
)
def test_only_the_tiles_that_are_needed_are_decoded(
    codec: Codec,
    large: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    region: tuple[int, int, int, int],
    tiles: int,
) -> None:
    data = codec.compress(large, tile=TILE)
    decoded = []
    decoder = Tables.decoder

    def counted(self: Tables, payload: bytes) -> object:
        decoded.append(payload)
        return decoder(self, payload)

    monkeypatch.setattr(Tables, "decoder", counted)
    codec.decompress(data, region)
    assert len(decoded) == len(set(decoded)) == tiles


def test_states_of_few_rows_of_tiles_are_held(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    states_of = Canvas.states_of

    def counted(self: Canvas, window: Box) -> list:
        held.append(len(self.states))
        return states_of(self, window)

    monkeypatch.setattr(Canvas, "states_of", counted)
    codec.decompress(codec.compress(np.zeros((10 * TILE, TILE), np.uint8), tile=TILE))
    assert held == [2] + 8 * [3] + [2]


def test_tile_borders_are_as_faithful_as_the_rest(codec: Codec, large: np.ndarray) -> None:
    """PSNR within 8 pixels of a tile border, against the same pixels of a picture that is one tile."""
    for quality in (10, 50, 90):
        whole, tiled = (np.asarray(codec.decompress(codec.compress(large, quality, tile=t))) for t in (0, TILE))
        rows, columns = ((np.arange(side) + 8) % TILE < 16 for side in large.shape[:2])
        rows[:8] = columns[:8] = False  # the picture's own border
        border = rows[:, None] | columns
        assert border.mean() > 0.15
        assert psnr(large[border], whole[border]) - psnr(large[border], tiled[border]) < 0.05


def test_regions_outside_are_refused(codec: Codec, photo: np.ndarray) -> None:
    data = codec.compress(photo)
    for region in ((0, 0, 145, 96), (-1, 0, 5, 5), (10, 10, 0, 5), (140, 0, 5, 1), (0, 96, 1, 1)):
        with pytest.raises(AecodecError, match="is not inside 144x96"):
            codec.decompress(data, region)


def test_the_command_line_has_a_limit_of_pixels(tmp_path: Path, small_weights: Path, photo: np.ndarray) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(photo).save(tmp_path / "a.png")
    for limit, code in ((13824, 0), (13823, 1), (5000, 1)):
        for command in (["compress", "a.png"], ["decompress", "a.aec", "-o", "b.png"]):
            words = [str(tmp_path / word) if "." in word else word for word in command]
            options = ["-f", "--pixel-limit", str(limit), "--model", str(small_weights), "--device", "cpu"]
            result = CliRunner().invoke(main, [*words, *options])
            assert result.exit_code == code
            assert "--pixel-limit" in result.output or not code
    assert before == Image.MAX_IMAGE_PIXELS  # which belongs to the process


def test_the_command_line_cuts_regions(tmp_path: Path, small_weights: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    model = ["--model", str(small_weights), "--device", "cpu"]
    assert CliRunner().invoke(main, ["compress", str(tmp_path / "a.png"), *model]).exit_code == 0

    def cut(region: str) -> tuple[int, str]:
        command = ["decompress", str(tmp_path / "a.aec"), "-o", str(tmp_path / "cut.png"), "-f", "--region", region]
        result = CliRunner().invoke(main, [*command, *model])
        return result.exit_code, result.output

    assert cut("10,20,30,40")[0] == 0
    assert Image.open(tmp_path / "cut.png").size == (30, 40)
    code, output = cut("140,0,30,40")
    assert code == 1
    assert "a.aec: region 140,0,30,40" in output
    for bad in ("1,2,3", "a,b,c,d", "1,2,3,4,5"):
        code, output = cut(bad)
        assert code == 2
        assert "X,Y,W,H" in output
