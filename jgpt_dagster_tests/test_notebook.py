"""The notebook of the documentation runs from its first cell to its last, and is kept without what it printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.notebooks import cells_of

NOTEBOOK = PROJECT / "docs" / "from-dump-to-text.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    code = [cell for cell in cells_of(NOTEBOOK) if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.long
def test_every_cell_runs_and_the_last_one_writes_a_text(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JGPT_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "jgpt_dagster_tests.support.notebooks", str(NOTEBOOK)],
        env=environment | {"TMPDIR": str(tmp_path)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "128 articles, 0 pages rejected" in done.stdout and "['富士山は静岡県と山梨県にまたがる山。']" in done.stdout
    scores = re.search(r"an article ([0-9.]+), the same backwards ([0-9.]+)", done.stdout)
    assert scores and float(scores[1]) < float(scores[2])
    text = done.stdout[scores.end() :].strip()
    assert text.startswith("海に近い町で") and len(text) > 20, text
