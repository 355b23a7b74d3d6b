"""The promise: tables in documents are made of the results in the repository, by a script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_tables_in_documents_are_those_of_the_results() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_judges_photographs_and_screens_by_tables_of_the_script() -> None:
    readme = (ROOT / "README.md").read_text()
    for table in ("rates:kodak:avif", "reach:screens:avif"):
        assert f"<!-- table: {table} " in readme
