"""The promise: a benchmark reports on everything that it is given, measures nothing twice and computes what it says."""

from __future__ import annotations

import io
import json
import logging
import mmap
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from aecodec.benchmark import codecs, curves, measure, memory, metrics, reach, report
from aecodec.benchmark.curves import Point
from aecodec.benchmark.measure import Measurement, Photo
from aecodec.cli import main
from aecodec.errors import AecodecError

for needed in ("bjontegaard", "matplotlib", "plotly", "pytorch_msssim"):
    pytest.importorskip(needed)

MEASURE_MEMORY = memory._measure
CODECS, QUALITIES = ["jpeg", "webp", "aecodec"], 6
CHROMIUM = shutil.which("chromium")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["benchmark", *map(str, arguments)])


@pytest.fixture(scope="module", autouse=True)
def _no_fresh_processes() -> Iterator[None]:
    """Starting two processes for each codec takes long; one test does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_measure", lambda *_: {"encode": 3_000_000, "decode": 20_000_000})
        yield


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:226, :240]
    colour = np.stack([y + 20 * np.sin(x / 9), x, 190 - x / 2 + 30 * np.cos(y / 5)], 2) + rng.normal(
        0, 8, (226, 240, 3)
    )
    picture = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    picture.save(folder / "colour.png")
    picture.convert("L").save(folder / "grey.png")
    alpha = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    alpha.putalpha(100)
    alpha.save(folder / "alpha.png")
    Image.new("RGB", (1, 1), (200, 10, 30)).save(folder / "one.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "notes.txt").write_text("no picture at all")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, threads = tmp_path_factory.mktemp("cache"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder
    torch.set_num_threads(threads)  # times are measured on one


@pytest.fixture(scope="module")
def options(small_weights: Path) -> list[str]:
    metrics = ["--metrics", "psnr,psnr-y,ms-ssim,ssimulacra2"]  # butteraugli needs a program
    return ["--codecs", ",".join(CODECS), "--qualities", str(QUALITIES), "--model", str(small_weights), *metrics]


@pytest.fixture(scope="module")
def reported(album: Path, cache: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on the album."""
    output = tmp_path_factory.mktemp("reports") / "new" / "report"
    result = run(album, "-o", output, *options)
    assert result.exit_code == 1, result.output  # of the broken picture
    assert "broken.jpg: " in result.output
    assert str(output / "report.html") in result.output
    return output


@pytest.fixture(scope="module")
def results(reported: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((reported / "results.json").read_text())
    return loaded


def test_the_report_says_what_happened_to_each_picture(results: dict[str, Any]) -> None:
    notes = {photo["name"]: photo["note"] for photo in results["kinds"]["album"]["photos"]}
    assert notes["colour.png"] == ""
    assert notes["grey.png"] == "grey"
    assert "alpha left out" in notes["alpha.png"]
    assert "broken.jpg" not in notes
    assert [p["image"] for p in results["problems"] if not p["codec"]] == ["broken.jpg"]
    excluded = results["kinds"]["album"]["excluded"]
    for metric in results["metrics"]:
        assert list(excluded[metric]) == ["one.png"]
        assert "less than 64 pixels" in excluded[metric]["one.png"]
    assert results["measurements"] == 4 * len(CODECS) * QUALITIES  # the picture of one pixel, too


def test_results_hold_curves_and_bd_rates_of_every_codec(results: dict[str, Any]) -> None:
    assert results["metrics"] == ["psnr_rgb", "psnr_y", "ms_ssim", "ssimulacra2"]
    assert results["anchors"] == ["jpeg"]
    found = results["kinds"]["album"]
    assert found["data_set"] is None
    assert not found["published"]
    for metric in results["metrics"]:
        for name in CODECS:
            points = found["curves"][metric][name]
            assert len(points) == QUALITIES
            assert points[0]["bpp"] < points[-1]["bpp"]
            assert points[0]["score"] < points[-1]["score"]
        assert set(found["bd_rates"]["jpeg"][metric]["webp"]["images"]) == {"colour.png", "grey.png", "alpha.png"}
    assert results["memory"]["photo"] == "alpha.png"  # the first of the largest
    assert results["memory"]["peaks"] == {name: {"encode": 3_000_000, "decode": 20_000_000} for name in CODECS}
    webp = found["bd_rates"]["jpeg"]["psnr_rgb"]["webp"]["summary"]
    assert webp["best"][1] <= webp["median"] <= webp["worst"][1]
    assert webp["worst"][0] in {"colour.png", "grey.png", "alpha.png"}
    assert webp["error"] > 0
    for codec in results["codecs"]:
        assert codec["version"]
        assert codec["settings"]
        assert codec["reason"]
        assert all(speed > 0 for speed in found["speed"][codec["name"]].values())


def test_tables_and_plots_hold_what_was_measured(reported: Path, results: dict[str, Any]) -> None:
    assert len((reported / "results.csv").read_text().splitlines()) == 1 + results["measurements"]
    for metric in results["metrics"]:
        with Image.open(reported / f"album-{metric}.png") as plot:
            colours = plot.convert("RGB").getcolors(1 << 24)
        assert (0xD5, 0x5E, 0x00) in {colour for _, colour in colours}  # the curve of aecodec


def test_the_page_holds_its_data_and_pictures_to_look_at(reported: Path, results: dict[str, Any]) -> None:
    page = (reported / "report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    comparisons = data.pop("comparisons")["album"]
    assert data == results
    assert {comparison["title"] for comparison in comparisons} == {"colour.png", "grey.png", "alpha.png"}
    for comparison in comparisons:
        assert [crop["name"] for crop in comparison["crops"]] == ["original", "jpeg", "webp", "aecodec"]
        assert all(crop["data"].startswith("data:image/webp;base64,") for crop in comparison["crops"])
    assert "worst of " in comparisons[0]["why"]
    for placeholder in ("__STYLE__", "__SCRIPT__", "__RESULTS__", "__PLOTLY__"):
        assert placeholder not in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("window", ["1300,900", "400,800"])
def test_a_browser_without_a_network_draws_every_curve(reported: Path, window: str) -> None:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    command += [f"--window-size={window}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    page = (reported / "report.html").resolve().as_uri()
    drawn = subprocess.run([*command, page], capture_output=True, text=True, check=True, timeout=120).stdout
    body = drawn.split("<main>")[1].split("</main>")[0]  # no longer hidden: the script came to its end
    assert body.count("js-line") == 2 * len(CODECS)  # and in the legend
    curves, scatter = body.split('id="scatter"')
    assert curves.count('<path class="point') == len(CODECS) * QUALITIES
    assert scatter.count('<path class="point') == 2 * len(CODECS)  # encoding and decoding
    assert body.count("<figure>") == 1 + len(CODECS)
    text = re.sub(r"data:image[^\"]*", "", body)
    for wrong in ("NaN", "undefined", "[object"):
        assert wrong not in text
    assert 'src="http' not in drawn
    assert "<link" not in drawn


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_large_crops_stay_inside_the_page(reported: Path, tmp_path: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    start = page.rindex("look();")
    largest = (
        'look(); $("scale").value = 3; picture(); const root = document.documentElement;'
        "setTimeout(() => { document.title = `wide ${windows()[1].scrollWidth}, "
        "page ${root.scrollWidth - root.clientWidth}`; }, 2000);"
    )
    (tmp_path / "large.html").write_text(page[:start] + largest + page[start + len("look();") :], encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    command += ["--window-size=500,800", (tmp_path / "large.html").as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "<title>wide 720, page 0</title>" in drawn  # 240 pixels three times as large


def test_kinds_of_content_are_never_averaged_together(album: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "screens").mkdir()
    Image.effect_noise((230, 230), 60).convert("RGB").save(tmp_path / "screens" / "noise.png")
    arguments = [album / "colour.png", tmp_path / "screens", "-o", tmp_path / "report", "--metrics", "psnr"]
    result = run(*arguments, "--codecs", "jpeg,webp")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "report" / "results.json").read_text())["kinds"]
    assert {kind: [p["name"] for p in of["photos"]] for kind, of in found.items()} == {
        "album": ["colour.png"],
        "screens": ["noise.png"],
    }
    for kind, name in (("album", "colour.png"), ("screens", "noise.png")):
        assert list(found[kind]["bd_rates"]["jpeg"]["psnr_rgb"]["webp"]["images"]) == [name]
        assert f"{kind}, 1 pictures" in result.output


def test_a_second_run_measures_nothing(
    album: Path, reported: Path, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> None:
        pytest.fail("measured twice")

    monkeypatch.setattr(measure, "_measure", measured)
    run(album, "-o", tmp_path, *options)
    assert (tmp_path / "results.csv").read_text() == (reported / "results.csv").read_text()


def test_cached_results_are_of_the_same_code() -> None:
    script = (
        "import aecodec, sys; aecodec.Codec; print(*(m.__file__ for n, m in sys.modules.items() if n[:7] == 'aecodec'))"
    )
    imported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    files = {str(path) for path in codecs.coding_files()}
    assert set(imported.split()) <= files
    assert str(Path(codecs.__file__)) not in files


def test_an_interrupted_run_continues(
    album: Path, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    original, calls, allowed = measure._measure, [], 2

    def counted(photo: Photo, codec: str, *rest: Any) -> Any:
        if len(calls) == allowed:
            raise KeyboardInterrupt
        calls.append((photo.name, codec))
        return original(photo, codec, *rest)

    monkeypatch.setattr(measure, "_measure", counted)
    arguments = [album / "colour.png", album / "grey.png", "-o", tmp_path / "report", *options]
    result = run(*arguments)
    assert result.exit_code == 130
    assert "the same command continues" in result.output
    assert not (tmp_path / "report").exists()
    for path in (tmp_path / "cache").rglob("*.jsonl"):
        path.write_bytes(path.read_bytes() + b'\n{"image": "half a li')  # as of a process that was killed
    allowed = 2 * len(CODECS)  # each pair of picture and codec once, those of the first run included
    assert run(*arguments).exit_code == 0
    assert sorted(calls) == sorted((name, codec) for name in ("colour.png", "grey.png") for codec in CODECS)


def test_a_missing_codec_is_listed_and_no_failure(
    album: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> codecs.Peer:
        raise codecs.MissingCodec("not installed")

    monkeypatch.setitem(codecs.MAKERS, "jxl", missing)
    monkeypatch.setattr(metrics, "BUTTERAUGLI", "no such program")
    result = run(album / "colour.png", "-o", tmp_path, "--codecs", "jxl,jpeg,webp", "--qualities", "4")
    assert result.exit_code == 0, result.output
    assert "not available: jxl: not installed" in result.output
    assert "not available: butteraugli: no such program is not installed" in result.output
    found = json.loads((tmp_path / "results.json").read_text())
    assert set(found["missing"]) == {"jxl", "butteraugli"}
    assert [codec["name"] for codec in found["codecs"]] == ["jpeg", "webp"]


class Coarse:
    """Stands for a model of CompressAI: keeps the multiples of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @classmethod
    def from_state_dict(cls, state: dict[str, torch.Tensor]) -> Coarse:
        return cls(int(state["step"]))

    def eval(self) -> Coarse:
        return self

    def update(self) -> None:
        pass

    def compress(self, x: torch.Tensor) -> dict[str, Any]:
        _, _, height, width = x.shape
        pixels = (x * 255).round().byte() // self.step * self.step
        return {"strings": [[pixels.numpy().tobytes()], [b"hyper"]], "shape": torch.Size([height // 64, width // 64])}

    def decompress(self, strings: list[list[bytes]], shape: list[int]) -> dict[str, torch.Tensor]:
        assert strings[1] == [b"hyper"]
        pixels = np.frombuffer(strings[0][0], np.uint8).reshape(1, 3, 64 * shape[0], 64 * shape[1])
        return {"x_hat": torch.from_numpy(pixels / 255)}


def test_models_of_compressai_are_measured_through_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = SimpleNamespace(load_state_dict=lambda state: state)
    monkeypatch.setitem(sys.modules, "compressai", SimpleNamespace(__version__="1"))
    monkeypatch.setitem(sys.modules, "compressai.zoo", zoo)
    monkeypatch.setitem(sys.modules, "compressai.zoo.image", SimpleNamespace(model_architectures={"coarse": Coarse}))
    for name, step in (("1.pth", 40), ("2.pth", 10)):
        torch.save({"state_dict": {"step": torch.tensor(step)}}, tmp_path / name)
    peer = codecs.make(f"compressai:coarse:{tmp_path}/*.pth")
    assert peer.qualities == (1, 2)
    image = Image.effect_noise((100, 70), 60).convert("RGB")
    for quality, step in ((1, 40), (2, 10)):
        decoded = peer.decode(peer.encode(image, quality))
        assert np.array_equal(np.asarray(decoded), np.asarray(image) // step * step)
    with pytest.raises(ValueError, match="qualities 1 to 2"):
        peer.encode(image, 3)

    (tmp_path / "3.pth").write_bytes(b"no weights")
    for name, message in (
        (f"compressai:coarse:{tmp_path}/absent.pth", "there are no weights"),
        (f"compressai:coarse:{tmp_path}/3.pth", "3.pth: not weights of coarse"),
        ("compressai:fine:1.pth", "no architecture 'fine'; there are coarse"),
    ):
        with pytest.raises(AecodecError, match=message):
            codecs.make(name)


def test_without_compressai_its_models_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai", None)
    with pytest.raises(codecs.MissingCodec, match="pip install compressai"):
        codecs.make("compressai:mbt2018-mean:weights.pth")


def test_several_processes_measure_the_same(album: Path, cache: Path, reported: Path, tmp_path: Path) -> None:
    arguments = ["--codecs", "jpeg,webp", "--qualities", "30,50", "--jobs", "2", "-o", tmp_path]
    assert run(album / "colour.png", album / "alpha.png", *arguments).exit_code == 0
    lines = (tmp_path / "results.csv").read_text().splitlines()[1:]
    assert [tuple(line.split(",")[:3]) for line in lines] == [
        (image, codec, quality)
        for image in ("colour.png", "alpha.png")
        for codec in ("jpeg", "webp")
        for quality in ("30", "50")
    ]


@pytest.mark.parametrize("name", ["ms_ssim", "ssimulacra2"])
def test_perceptual_metrics_order_pictures_and_refuse_those_too_small(album: Path, name: str) -> None:
    metric, least = metrics.METRICS[name], metrics.SMALLEST_SIDES[name]
    with Image.open(album / "colour.png") as picture:
        original = np.asarray(picture)
        jpegs = [np.asarray(Image.open(io.BytesIO(codecs._saved(picture, "JPEG", q)))) for q in (10, 40, 80)]
    scores = [metric(original, pixels) for pixels in (*jpegs, original)]
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx({"ms_ssim": 1, "ssimulacra2": 100}[name])
    assert metric(original[:least], jpegs[0][:least]) is not None
    assert metric(original[: least - 1], jpegs[0][: least - 1]) is None


def test_a_metric_without_its_package_is_listed_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    names, missing = metrics.choose("psnr,ms-ssim,ssimulacra2")
    assert names == ["psnr_rgb", "ssimulacra2"]
    assert missing == {"ms_ssim": "pytorch-msssim is not installed; pip install 'aecodec[bench]'"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codecs", "jpeg,gif"], "no codec is called 'gif'"),
        (["--metrics", "psnr,vmaf"], "no metric is called 'vmaf'; there are psnr, psnr-rgb, psnr-y, ms-ssim"),
        (["--codecs", "jpeg", "--anchor", "webp"], "the anchor 'webp' is not among the codecs jpeg"),
        (["--codecs", "jpeg", "--qualities", "few"], "write a number of points"),
        (["--codecs", "jpeg", "--qualities", "0"], "write a number of points"),
    ],
)
def test_a_mistaken_command_is_explained_before_anything_is_measured(
    album: Path, cache: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(album, "-o", tmp_path / "report", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert not (tmp_path / "report").exists()


def test_without_any_picture_there_is_no_report(cache: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "absent.png", "-o", tmp_path / "report", "--codecs", "jpeg")
    assert result.exit_code == 1
    assert "absent.png: No such file" in result.output
    assert "there is no picture to measure" in result.output
    assert not (tmp_path / "report").exists()


CURVE = [Point(10, 0.2, 28.0), Point(30, 0.5, 31.5), Point(60, 0.9, 34.0), Point(80, 1.6, 37.0), Point(90, 2.5, 40.0)]


def test_bd_rate_of_a_curve_with_itself_and_with_half_the_rate() -> None:
    same = curves.bd_rate(CURVE, CURVE)
    assert same is not None
    assert same.percent == pytest.approx(0, abs=1e-9)
    half = curves.bd_rate(CURVE, [Point(p.quality, p.bpp / 2, p.score) for p in CURVE])
    assert half is not None
    assert half.percent == pytest.approx(-50)
    assert (half.low, half.high) == (28, 40)
    part = curves.bd_rate(CURVE, [Point(p.quality, p.bpp / 2, p.score + 2) for p in CURVE])
    assert part is not None
    assert (part.low, part.high) == (30, 40)


def test_curves_without_a_common_range_have_no_bd_rate() -> None:
    assert curves.bd_rate(CURVE, [Point(p.quality, p.bpp, p.score + 12) for p in CURVE]) is None


def test_the_mean_curve_is_the_mean_over_the_same_pictures() -> None:
    measured = [taken("a", 10, 1.0, 30.0), taken("b", 10, 3.0, 36.0), taken("a", 20, 2.0, 33.0)]  # 20 failed for b
    assert curves.curve(measured, "jpeg", "psnr_rgb", ["a", "b"]) == [Point(10, 2.0, 33.0)]


def taken(image: str, quality: float, bpp: float, score: float | None, codec: str = "jpeg") -> Measurement:
    return Measurement(image, codec, quality, 1000, bpp, {"psnr_rgb": score}, 0.1, 0.1)


def test_a_file_without_loss_is_no_point_of_a_curve_and_hides_no_picture_from_the_others() -> None:
    jpeg = [taken(name, p.quality, p.bpp, p.score) for name in "abc" for p in CURVE]
    webp = [taken(name, p.quality, p.bpp / 2, p.score, "webp") for name in "abc" for p in CURVE]
    jxl = [replace(m, codec="webp", scores={"psnr_rgb": None}) if m.image == "b" else m for m in webp]
    found = built(jpeg + jxl, ["a", "b", "c"])["kinds"]["album"]
    assert found["lossless"] == {"webp": {f"{p.quality:g}": ["b"] for p in CURVE}}
    assert found["excluded"] == {"psnr_rgb": {}}
    bd = found["bd_rates"]["jpeg"]["psnr_rgb"]["webp"]
    assert bd["images"] == {"a": pytest.approx(-50), "b": None, "c": pytest.approx(-50)}
    assert (bd["summary"]["pictures"], bd["summary"]["total"]) == (2, 3)
    assert bd["mean_curves"] == pytest.approx(-50)  # of the other two


def test_bytes_until_a_score_count_files_without_loss_and_interpolate_only_between_lossy_ones() -> None:
    def scored(size: int, score: float, codec: str = "jpeg") -> Measurement:
        return Measurement("a", codec, size, size, 1.0, {"ssimulacra2": score}, 0, 0)

    lossy = [scored(1000, 40), scored(4000, 80), scored(8000, 85)]
    assert reach.size(lossy, 60) == pytest.approx(2000)  # half way by the logarithm
    assert reach.size(lossy, 30) == 1000
    assert reach.size(lossy, 90) is None
    without_loss = [scored(1000, 40, "webp"), scored(5000, 100, "webp")]
    assert reach.size(without_loss, 60) == 5000
    found = reach.against(lossy, without_loss, 80, ["a"])
    assert (found["mean"], found["reached"], found["lossless"]) == (pytest.approx(25), 1, 1)
    assert reach.against(lossy, without_loss, 90, ["a"])["mean"] is None


def built(measurements: list[Measurement], names: list[str]) -> dict[str, Any]:
    photos = [Photo(Path(name), name, name, 100, 100, "", "album") for name in names]
    peers = [codecs.make("jpeg"), codecs.make("webp")]
    return report.build(
        photos, peers, ["psnr_rgb"], measurements, [], memory={}, anchors=["jpeg"], missing={}, command="test", jobs=1
    )


def test_a_curve_that_is_not_monotone_is_reported() -> None:
    good = [taken("a", p.quality, p.bpp, p.score) for p in CURVE]
    bad = [taken("a", p.quality, p.bpp, p.score - 6 * (p.quality == 60), "webp") for p in CURVE]
    found = built(good + bad, ["a"])
    bd = found["kinds"]["album"]["bd_rates"]["jpeg"]["psnr_rgb"]["webp"]
    assert bd["mean_curves"] is None
    assert "webp: not monotone: 31.50 at 0.500 bpp, 28.00 at 0.900 bpp" in bd["trouble"]
    (problem,) = found["problems"]
    assert problem["codec"] == "webp"
    assert "not monotone" in problem["reason"]
    assert len(found["kinds"]["album"]["curves"]["psnr_rgb"]["webp"]) == len(CURVE)  # and still drawn


def test_a_picture_at_which_a_codec_fails_is_left_out_of_all_means() -> None:
    measurements = [taken(name, p.quality, p.bpp, p.score) for name in "abc" for p in CURVE]
    measurements += [
        taken(name, p.quality, p.bpp, p.score, "webp")
        for name in "abc"
        for p in CURVE
        if (name, p.quality) != ("b", 30)
    ]
    found = built(measurements, ["a", "b", "c"])["kinds"]["album"]
    assert found["excluded"]["psnr_rgb"] == {"b": "no score of webp at quality 30: it failed"}
    assert [len(points) for points in found["curves"]["psnr_rgb"].values()] == [len(CURVE), len(CURVE)]


@pytest.mark.skipif(shutil.which(metrics.BUTTERAUGLI) is None, reason="needs libjxl's program")
def test_butteraugli_is_a_distance_that_grows_with_the_error(album: Path) -> None:
    with Image.open(album / "colour.png") as picture:
        original = np.asarray(picture)
        jpegs = [np.asarray(Image.open(io.BytesIO(codecs._saved(picture, "JPEG", q)))) for q in (80, 40, 10)]
    scores = [metrics.butteraugli(original, pixels) for pixels in (original, *jpegs)]
    assert scores[0] == 0
    assert scores == sorted(scores)
    with pytest.raises(AecodecError, match="butteraugli_main"):
        metrics.butteraugli(original, original[:100])


def test_cvvdp_is_10_where_nothing_differs_and_falls_with_the_error(album: Path) -> None:
    if reason := metrics.why_not("cvvdp"):
        pytest.skip(reason)
    with Image.open(album / "colour.png") as picture:
        original = np.asarray(picture)
        jpegs = [np.asarray(Image.open(io.BytesIO(codecs._saved(picture, "JPEG", q)))) for q in (80, 40, 10)]
    scores = [metrics.cvvdp(original, pixels) for pixels in (original, *jpegs)]
    assert scores[0] == 10
    assert scores == sorted(scores, reverse=True)


def test_cvvdp_leaves_the_loggers_of_its_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pycvvdp.py").write_text(
        "import logging\n"
        "logging.getLogger('torch.utils.cpp_extension').warning('No CUDA runtime is found')\n"
        "logging.getLogger('torch.utils.cpp_extension').warning('something else')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)  # so that it is forgotten afterwards
    del sys.modules["pycvvdp"]
    logger = logging.getLogger("torch.utils.cpp_extension")
    before = logger.level, logger.disabled, list(logger.filters)
    assert metrics.why_not("cvvdp") is None
    assert caplog.messages == ["something else"]
    assert (logger.level, logger.disabled, logger.filters) == before


def test_every_kind_of_avif_is_another_file() -> None:
    image = Image.effect_noise((96, 96), 60).convert("RGB")
    names = [name for name in codecs.MAKERS if name.startswith("avif")]
    assert len({codecs.make(name).encode(image, 50) for name in names}) == len(names) == 6


def test_a_summary_names_the_worst_picture_and_its_standard_error() -> None:
    rates = {name: curves.BdRate(p, 0, 1) for name, p in (("a", -30.0), ("b", -10.0), ("c", 40.0))} | {"d": None}
    found = curves.summary(rates)
    assert found is not None
    assert (found.mean, found.median, found.worst, found.pictures, found.total) == (0, -10, ("c", 40), 3, 4)
    assert found.error == pytest.approx(20.82, abs=0.01)
    assert curves.summary({"d": None}) is None


def test_bd_rates_of_images_leave_out_points_that_cost_more_for_less() -> None:
    jpeg = [taken("a", p.quality, p.bpp, p.score) for p in CURVE]
    webp = [taken("a", p.quality, p.bpp / 2, p.score, "webp") for p in CURVE] + [taken("a", 70, 0.6, 33.0, "webp")]
    (found,) = curves.bd_rates_of_images(jpeg + webp, "jpeg", "webp", "psnr_rgb", ["a"]).values()
    assert found is not None
    assert found.percent == pytest.approx(-50)


LINUX = pytest.mark.skipif(not memory.RESET.exists(), reason="only Linux tells a process's peak memory")


@LINUX
def test_growth_is_the_peak_of_a_call_and_not_of_what_came_before() -> None:
    def touch(size: int) -> int:
        with mmap.mmap(-1, size) as area:  # which the allocator cannot have kept from before
            for start in range(0, size, mmap.PAGESIZE):
                area[start] = 1
        return size

    touch(100_000_000)
    grown, size = memory.growth(lambda: touch(30_000_000))
    assert size == 30_000_000
    assert 29e6 < grown < 50e6


@LINUX
def test_peak_memory_is_of_fresh_processes_and_measured_once(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "large.png"
    Image.effect_noise((2000, 2000), 40).convert("RGB").save(picture, compress_level=1)
    photo, peers = Photo(picture, "large.png", "checksum", 2000, 2000, "", "x"), [codecs.make("jpeg")]
    monkeypatch.setattr(memory, "_measure", MEASURE_MEMORY)
    found, problems = memory.peaks(photo, peers, None, tmp_path)
    assert problems == []
    assert 12e6 <= found["jpeg"]["decode"] < 60e6  # at least the pixels
    monkeypatch.setattr(memory, "_measure", None)
    assert memory.peaks(photo, peers, None, tmp_path) == (found, [])


@LINUX
def test_a_codec_whose_memory_cannot_be_measured_is_a_problem_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(memory, "_measure", killed)
    found, (problem,) = memory.peaks(Photo(Path("a"), "a", "a", 9, 9, "", "a"), [codecs.make("jpeg")], None, tmp_path)
    assert found == {}
    assert (problem.codec, problem.reason) == ("jpeg", "peak memory: MemoryError: too large")


def test_published_curves_are_drawn_where_the_pixels_are_those_of_the_data_set() -> None:
    (path,) = (Path(report.__file__).parent / "published").glob("*.json")
    kodak = json.loads(path.read_text())
    photos = [
        Photo(Path(f"{i}.png"), f"{i}.png", checksum, 768, 512, "", "kodak")
        for i, checksum in enumerate(kodak["checksums"])
    ]
    assert len(photos) == 24
    assert report.data_set_of(photos[::-1])["title"] == "Kodak, 24 pictures"
    assert report.data_set_of(photos[1:]) == {}
    for published in kodak["curves"]:
        assert published["source"]
        assert len(published["points"]) >= 4
