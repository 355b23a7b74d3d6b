"""The promise: the commands do what people expect, and a bad file costs one line and nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from screen import Screen

from aecodec import metrics
from aecodec.cli import COMMANDS, main, output
from aecodec.cli.options import example_rows
from aecodec.models import DEFAULT, RELEASED

Run = Callable[..., Result]


@pytest.fixture
def run(small_weights: Path) -> Run:
    def call(*args: object, stdin: bytes | None = None) -> Result:
        words = [str(a) for a in args]
        if words[0] in ("compress", "decompress", "compare"):
            words += ["--model", str(small_weights), "--device", "cpu"]
        return CliRunner().invoke(main, words, input=stdin)

    return call


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """a.png, b.jpg and sub/c.png; broken.png is none."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo[:40, :60]).save(tmp_path / "b.jpg")
    (tmp_path / "sub").mkdir()
    Image.fromarray(photo[:, :, 0]).save(tmp_path / "sub" / "c.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return tmp_path


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_there_and_back(run: Run, folder: Path, photo: np.ndarray) -> None:
    before = names(folder)
    result = run("compress", folder / "a.png", "-q", "90")
    assert result.exit_code == 0, result.output
    assert "144x96" in result.stdout
    assert "bpp" in result.stdout
    assert names(folder) == before | {"a.aec"}
    result = run("decompress", folder / "a.aec", "-o", folder / "back.png")
    assert result.exit_code == 0, result.output
    back = np.asarray(Image.open(folder / "back.png"))
    assert back.shape == photo.shape
    assert np.abs(back.astype(int) - photo).mean() < 20


def test_nothing_is_overwritten_without_force(run: Run, folder: Path) -> None:
    run("compress", folder / "a.png")
    first = (folder / "a.aec").read_bytes()
    result = run("compress", folder / "a.png", "-q", "5")
    assert result.exit_code == 1
    assert "a.aec exists; use -f" in result.stderr
    assert (folder / "a.aec").read_bytes() == first
    result = run("decompress", folder / "a.aec")  # a.png, the original, is there
    assert result.exit_code == 1
    assert run("compress", folder / "a.png", "-q", "5", "-f").exit_code == 0
    assert len((folder / "a.aec").read_bytes()) < len(first)


def test_two_inputs_never_share_a_result(run: Run, folder: Path, photo: np.ndarray) -> None:
    for name in ("a.jpg", "a.jpg.png"):
        Image.fromarray(photo).save(folder / name)
    names = ["a.png", "a.jpg", "a.jpg.png"]
    assert run("compress", *(folder / name for name in names), "-o", folder / "out").exit_code == 0
    assert {path.name for path in (folder / "out").iterdir()} == {f"{name}.aec" for name in names}
    result = run("decompress", "-r", folder / "out", "-o", folder / "back")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (folder / "back").iterdir()} == {f"{name}.png" for name in names}
    result = run("compress", folder / "a.png", folder / "a.png", "-f")
    assert result.exit_code == 1
    assert "already the result of another input" in result.stderr
    assert run("compress", folder / "a.png", "-o", folder / "a.png", "-f").exit_code == 2
    assert Image.open(folder / "a.png").size == (144, 96)


def test_one_bad_file_does_not_stop_the_others(run: Run, folder: Path) -> None:
    result = run("compress", folder / "broken.png", folder / "missing.png", folder / "a.png", "-o", folder / "out")
    assert result.exit_code == 1
    complaints = result.stderr.splitlines()
    assert len(complaints) == 3
    assert "broken.png" in complaints[0]
    assert "missing.png: No such file" in complaints[1]
    assert complaints[2] == "2 of 3 failed"
    assert names(folder / "out") == {"a.aec"}


def test_folders_keep_their_tree(run: Run, folder: Path) -> None:
    assert run("compress", folder).exit_code == 1
    (folder / "broken.png").unlink()
    result = run("compress", "-r", folder, "-o", folder / "out")
    assert result.exit_code == 0, result.output
    assert names(folder / "out") == {"a.aec", "b.aec", "sub/c.aec"}
    result = run("decompress", "-r", folder / "out", "-o", f"{folder}/back/")
    assert result.exit_code == 0, result.output
    assert names(folder / "back") == {"a.png", "b.png", "sub/c.png"}
    assert Image.open(folder / "back" / "sub" / "c.png").mode == "L"


def test_what_is_passed_over_in_folders_is_counted(run: Run, folder: Path) -> None:
    (folder / "broken.png").unlink()
    for name in ("a.dng", "sub/b.DNG", "notes.txt", "LICENSE", ".hidden", "done.aec"):
        (folder / name).write_bytes(b"x")
    result = run("compress", "-r", folder, "-o", folder / "out")
    assert result.exit_code == 0
    assert "passed over in folders: 2 .dng, 1 .txt, 1 without suffix\n" in result.stderr
    assert "passed over" not in run("compress", folder).stderr
    assert "passed over" not in run("decompress", "-r", folder / "out", "-o", f"{folder}/back/").stderr


def test_pipes(run: Run, folder: Path) -> None:
    result = run("compress", "-", stdin=(folder / "a.png").read_bytes())
    assert result.exit_code == 0
    back = run("decompress", "-", stdin=result.stdout_bytes)
    assert Image.open(io.BytesIO(back.stdout_bytes)).size == (144, 96)
    assert run("compress", folder / "a.png", folder / "b.jpg", "-o", "-").exit_code == 1


def test_the_suffix_decides_the_format(run: Run, folder: Path) -> None:
    run("compress", folder / "a.png")
    for suffix, kind in ((".jpg", "JPEG"), (".webp", "WEBP"), (".tif", "TIFF"), (".bmp", "BMP")):
        target = folder / f"out{suffix}"
        assert run("decompress", folder / "a.aec", "-o", target).exit_code == 0
        assert Image.open(target).format == kind
    result = run("decompress", folder / "a.aec", "-o", folder / "out.xyz")
    assert result.exit_code == 1
    assert "'.xyz'" in result.stderr
    assert not (folder / "out.xyz").exists()


def test_bad_files_give_one_line_and_no_output(run: Run, folder: Path) -> None:
    run("compress", folder / "a.png")
    good = (folder / "a.aec").read_bytes()
    before = names(folder)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    for bad in (b"", good[:20], good[:-3], bytes(flipped), (folder / "a.png").read_bytes(), good + b"more"):
        (folder / "bad.aec").write_bytes(bad)
        result = run("decompress", folder / "bad.aec")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert "bad.aec: " in result.stderr
        assert "Traceback" not in result.output
        assert names(folder) == before | {"bad.aec"}
        assert run("info", folder / "bad.aec").exit_code == 1


def test_info_tells_what_the_file_says(run: Run, folder: Path) -> None:
    run("compress", folder / "a.png", "-q", "33.25")
    facts = json.loads(run("info", "--json", folder / "a.aec").stdout)
    assert (facts["width"], facts["height"], facts["quality"]) == (144, 96, 33.25)
    assert facts["bytes"] == (folder / "a.aec").stat().st_size
    assert "33.25" in run("info", folder / "a.aec").stdout


def test_bad_arguments_are_explained(run: Run, folder: Path) -> None:
    assert run("compress", folder / "a.png", "-q", "101").exit_code == 2
    result = CliRunner().invoke(main, ["compress", str(folder / "a.png"), "--device", "nonsense"])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_module_and_version() -> None:
    shown = subprocess.run([sys.executable, "-m", "aecodec", "--version"], capture_output=True, text=True, check=True)
    assert "aecodec" in shown.stdout


def test_coding_does_not_wake_the_compiler_of_torch() -> None:
    """Which takes a second; a single unusual operation on the way suffices."""
    code = (
        "import sys, numpy, aecodec; codec = aecodec.Codec('cpu');"
        "codec.decompress(codec.compress(numpy.zeros((64, 64, 3), numpy.uint8)));"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_have_the_times_of_their_sources(run: Run, folder: Path) -> None:
    os.utime(folder / "a.png", ns=(10**18, 10**18 + 123_456_000))
    run("compress", folder / "a.png")
    assert (folder / "a.aec").stat().st_mtime_ns == 10**18 + 123_456_000
    run("decompress", folder / "a.aec", "-o", folder / "back.png")
    assert (folder / "back.png").stat().st_mtime_ns == 10**18 + 123_456_000


def test_json_lines_tell_what_was_done(run: Run, folder: Path) -> None:
    result = run("compress", "--json", "-q", "44", folder / "a.png", folder / "b.jpg")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["width"], first["height"], first["quality"]) == (144, 96, 44)
    assert first["bytes_out"] == (folder / "a.aec").stat().st_size
    assert second["source"] == str(folder / "b.jpg")
    (line,) = run("decompress", "--json", folder / "a.aec", "-o", folder / "back.png").stdout.splitlines()
    assert json.loads(line)["bytes_out"] == (folder / "back.png").stat().st_size


def test_compare_measures_two_pictures(run: Run, folder: Path, photo: np.ndarray) -> None:
    run("compress", folder / "a.png", "-q", "90")
    result = run("compare", "--json", folder / "a.png", folder / "a.aec")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    run("decompress", folder / "a.aec", "-o", folder / "back.png")
    decoded = np.asarray(Image.open(folder / "back.png"))
    assert facts["psnr_rgb"] == pytest.approx(metrics.psnr(photo, decoded), abs=1e-3)
    assert facts["bpp_b"] == pytest.approx(8 * (folder / "a.aec").stat().st_size / (144 * 96), abs=1e-3)
    shown = run("compare", folder / "a.png", folder / "a.aec").stdout
    assert f"{facts['psnr_rgb']:.2f} dB (RGB)" in shown
    assert "SSIMULACRA2 the picture is too small for it" in shown
    assert "nothing differs" in run("compare", folder / "a.png", folder / "a.png").stdout
    for a, b, complaint in (
        ("a.png", "b.jpg", "60x40 pixels"),
        ("a.png", "broken.png", "broken.png: "),
        ("no", "a.png", "no: "),
    ):
        result = run("compare", folder / a, folder / b)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert complaint in result.stderr


def test_a_metric_whose_package_does_not_work_is_told(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pycvvdp.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)  # so that it is forgotten afterwards
    del sys.modules["pycvvdp"]
    result = run("compare", folder / "a.png", folder / "a.png")
    assert result.exit_code == 0
    reason = "cvvdp does not work here: operator torchvision::nms does not exist"
    assert reason in result.stdout
    facts = json.loads(run("compare", "--json", folder / "a.png", folder / "a.png").stdout)
    assert facts["cvvdp"] is None
    assert facts["not_measured"]["cvvdp"] == reason
    assert facts["not_measured"]["ssimulacra2"] == "the picture is too small for it"
    assert facts["psnr_rgb"] is None
    assert "psnr_rgb" not in facts["not_measured"]  # nothing differs


def test_compare_tells_what_it_does_not_compare(run: Run, folder: Path, photo: np.ndarray) -> None:
    Image.fromarray(np.dstack([photo, np.maximum(photo[..., 0], 1)])).save(folder / "alpha.png")
    deep = photo[..., 0].astype(np.uint16) << 8
    Image.fromarray(deep).save(folder / "deep.png")
    facts = json.loads(run("compare", "--json", folder / "a.png", folder / "alpha.png").stdout)
    assert (facts["psnr_rgb"], facts["notes"]) == (None, ["alpha is left out"])
    assert "note        compared at 8 bits a sample" in run("compare", folder / "a.png", folder / "deep.png").stdout
    assert "note" not in run("compare", folder / "a.png", folder / "a.png").stdout


def test_compare_draws_where_two_pictures_differ(run: Run, folder: Path, photo: np.ndarray) -> None:
    changed = photo.copy()
    changed[20:40, 30:60] ^= 128
    Image.fromarray(changed).save(folder / "changed.webp", lossless=True)
    heat = folder / "heat.png"
    facts = json.loads(run("compare", "--json", folder / "a.png", folder / "changed.webp", "--heatmap", heat).stdout)
    assert facts["heatmap"] == str(heat)
    with Image.open(heat) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    assert pixels.shape == photo.shape
    assert pixels[24:36, 34:56].min() > 190  # the brightest colour
    assert pixels[50:].max() < 60  # a faint picture
    before = heat.read_bytes()
    refused = run("compare", folder / "a.png", folder / "a.png", "--heatmap", heat)
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert heat.read_bytes() == before


def test_what_is_not_kept_is_said(run: Run, folder: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(180)])
    result = run("compress", folder / "moving.gif")
    assert result.exit_code == 0
    assert result.stderr == f"aecodec: {folder / 'moving.gif'}: not kept: 1 further frame\n"


def test_help_shows_examples_that_parse() -> None:
    for command in ("compress", "decompress", "compare"):
        examples = [example for example, _ in example_rows(main.get_command(None, command).epilog)]
        assert len(examples) >= 2
        for example in examples:
            words = shlex.split(example.split("<")[0])
            assert words[:2] == ["aecodec", command]
            main.get_command(None, command).make_context(command, words[2:])


@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_the_terminal(columns: int) -> None:
    def commands(group: click.Group, words: list[str]) -> Iterator[list[str]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield [*words, name]
            if isinstance(command, click.Group):
                yield from commands(command, [*words, name])

    for words in [[], *commands(main, [])]:
        shown = CliRunner().invoke(main, [*words, "--help"], terminal_width=columns).stdout
        assert shown.startswith("Usage: ")
        assert max(map(len, shown.splitlines())) <= columns, words
        assert not re.search("INTEGER|FLOAT", shown), words  # but what the number is of
        assert "..." not in shown.split("Commands:")[-1] or "Commands:" not in shown  # sentences are whole


@pytest.mark.parametrize("columns", [60, 80])
def test_results_fit_the_terminal(columns: int, folder: Path, small_weights: Path) -> None:
    screen = Screen(columns)
    words = [sys.executable, "-m", "aecodec", "compress", "sub/c.png", "--model", str(small_weights), "--device", "cpu"]
    subprocess.run(words, cwd=folder, stdout=screen.its, stderr=subprocess.DEVNULL, check=True)
    lines = screen.written().splitlines()
    assert lines[0].startswith("sub/c.png -> sub/c.aec")
    assert lines[-1].endswith(" s")
    assert max(map(len, lines)) <= columns


def test_sizes_are_in_units_that_people_read() -> None:
    sizes = (0, 9999, 10_000, 999_949, 999_950, 9_994_999, 9_995_000, 999_999_999, 12_345_678_901)
    said = ["0 B", "9,999 B", "10.0 kB", "999.9 kB", "1.00 MB", "9.99 MB", "10.0 MB", "1000.0 MB", "12.3 GB"]
    assert list(map(output.size, sizes)) == said


def test_output_has_no_colours(folder: Path, small_weights: Path) -> None:
    command = [sys.executable, "-m", "aecodec", "compress", str(folder / "a.png"), "--model", str(small_weights)]
    result = subprocess.run(command, capture_output=True, env={**os.environ, "FORCE_COLOR": "1"}, check=True)
    assert b"\x1b" not in result.stdout + result.stderr


def test_summaries_tell_what_all_together_were(run: Run, folder: Path) -> None:
    result = run("compress", folder / "a.png", folder / "b.jpg")
    summary = r"2 pictures, [0-9.,]+ k?B -> [0-9.,]+ k?B( \([0-9.]+:1\))?, [0-9.]+ s"
    assert re.fullmatch(summary, result.stdout.splitlines()[-1])
    (folder / "a.aec").unlink()
    quiet = run("compress", folder / "a.png", folder / "b.jpg", "--quiet")
    assert quiet.stdout == ""
    assert "b.aec exists" in quiet.stderr
    assert "1 of 2 failed" in quiet.stderr


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(run: Run, folder: Path) -> None:
    before = names(folder)
    result = run("compress", "-n", "-r", folder, "-o", folder / "out")
    assert result.exit_code == 0, result.output
    assert f"{folder / 'sub' / 'c.png'} -> {folder / 'out' / 'sub' / 'c.aec'}  would be written" in result.stdout
    assert names(folder) == before


def test_what_compress_writes_is_called_aec(run: Run, folder: Path) -> None:
    result = run("compress", folder / "a.png", "-o", folder / "k.jxl")
    assert result.exit_code == 2
    assert f"use -o {folder / 'k.aec'}" in result.stderr


def test_upright_pictures_need_no_viewer_that_turns_them(run: Run, folder: Path) -> None:
    with Image.open(folder / "a.png") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(folder / "turned.jpg", exif=exif)
    run("compress", folder / "turned.jpg")
    assert run("decompress", "--upright", folder / "turned.aec", "-o", folder / "up.png").exit_code == 0
    with Image.open(folder / "up.png") as image:
        assert image.size == (96, 144)
        assert image.getexif()[0x0112] == 1


def test_another_kind_of_file_is_named(run: Run, folder: Path) -> None:
    result = run("decompress", folder / "b.jpg", "-o", folder / "x.png")
    assert result.stderr == f"aecodec: {folder / 'b.jpg'}: not an .aec file but a JPEG, which compress makes one of\n"


def test_a_checkpoint_is_no_model_yet(folder: Path) -> None:
    (folder / "run").mkdir()
    for name in ("trunk.pt", "decay.pt"):
        (folder / "run" / name).write_bytes(b"")
    for given, meant in (("run", "decay.pt"), ("run/trunk.pt", "trunk.pt")):
        words = ["compress", str(folder / "a.png"), "--model", str(folder / given)]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert f"aecodec export {folder / 'run' / meant} DATA -o mine.safetensors" in result.stderr


def test_export_overwrites_nothing(folder: Path) -> None:
    target = folder / "mine.safetensors"
    target.write_bytes(b"precious")
    words = ["export", str(folder / "decay.pt"), str(folder), "-o", str(target)]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, target.read_bytes()) == (1, b"precious")
    assert "exists; use -f" in result.stderr
    assert CliRunner().invoke(main, [*words[:-1], str(folder / "mine.pt")]).exit_code == 2


def test_models_are_listed() -> None:
    listed = json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)
    assert {model["name"]: model["sha256"] for model in listed} == dict(RELEASED)
    assert [model["name"] for model in listed if model["default"]] == [DEFAULT]
    shown = CliRunner().invoke(main, ["models"]).stdout
    assert all(model["id"] in shown for model in listed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_or_put_where_shells_look(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    printed = CliRunner().invoke(main, ["completion", shell], prog_name="aecodec").stdout
    assert "_AECODEC_COMPLETE" in printed
    result = CliRunner().invoke(main, ["completion", shell, "--install"], prog_name="aecodec")
    assert result.exit_code == 0, result.output
    (written,) = names(tmp_path)
    assert written in result.stdout
    assert (tmp_path / written).read_text() == printed


def test_the_manual_has_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = CliRunner().invoke(main, ["man"], prog_name="aecodec").stdout
    for command in ("compress", "archive create", "export"):
        assert f".SS aecodec {command}" in page
    assert "\\-\\-min\\-psnr" in page
    monkeypatch.setattr("shutil.which", lambda _: str(tmp_path / "bin" / "aecodec"))
    assert CliRunner().invoke(main, ["man", "--install"]).exit_code == 0
    assert (tmp_path / "share/man/man1/aecodec.1").read_text() == page


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    for name, (_, told) in COMMANDS.items():
        own = main.get_command(click.Context(main), name)
        assert own is not None
        assert " ".join((own.help or "").split()).startswith(told.removesuffix("."))


@pytest.mark.parametrize("words", [["compress", "a.png"], ["archive", "create", "a", "b"]])
def test_a_tune_beside_a_model_is_refused(words: list[str]) -> None:
    result = CliRunner().invoke(main, [*words, "--tune", "psnr", "--model", "aec1-11"])
    assert result.exit_code == 2
    assert "--tune chooses between the default models" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compress", "missing.png"], "No such file"),
        (["compress", "text.png"], "not a picture"),
        (["compress", "text.png", "--model", "run.pt"], "has to be exported first"),
        (["decompress", "text.png", "-o", "x.png"], "not an .aec file"),
        (["decompress", "missing.aec"], "No such file"),
    ],
)
def test_mistakes_that_need_no_model_do_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no picture")
    for module, name in (("aecodec.models.store", "load"), ("aecodec.native.decoder", "_load")):
        monkeypatch.setattr(import_module(module), name, None)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert told in result.stderr
