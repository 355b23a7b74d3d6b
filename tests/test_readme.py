"""The promise: what the README shows is what happens."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from aecodec.cli import main

ROOT = Path(__file__).parents[1]
SECONDS = re.compile(r"  [0-9.]+ s$")


def shown(language: str) -> str:
    """The block of the README that says it is run."""
    text = (ROOT / "README.md").read_text()
    return text.split(f"<!-- run by tests/test_readme.py -->\n```{language}\n")[1].split("```")[0]


@pytest.fixture
def beside_coffee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "examples" / "coffee.png", tmp_path)
    monkeypatch.chdir(tmp_path)


def rounded(lines: list[str]) -> list[str]:
    """Without times, and sizes to two digits: another processor's floating point may cost a few bytes."""
    lines = [SECONDS.sub("", line.rstrip()) for line in lines]
    return [re.sub(r"(\d+\.\d)\d*", lambda m: f"{float(m[1]):.2g}", line) for line in lines]


@pytest.mark.usefixtures("beside_coffee")
def test_the_quick_start_prints_what_the_readme_shows() -> None:
    for session in shown("console").split("$ ")[1:]:
        command, *expected = session.strip().splitlines()
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
        assert rounded(result.output.strip().splitlines()) == rounded(expected)


@pytest.mark.usefixtures("beside_coffee")
def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(shown("python"), {})
    assert capsys.readouterr().out == "60.0\n"
    assert Path("photo.aec").stat().st_size > 0
