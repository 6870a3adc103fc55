"""Checkpoints on disk, without a run."""

from pathlib import Path

import pytest

from jgpt_dagster.lm.checkpoint import CheckpointError, run_recipe, to_resume
from jgpt_dagster.storage.artifact import MANIFEST, file_entry
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.writing import write_json


def put_checkpoint(root: Path, step: int) -> Path:
    """Write a whole checkpoint of one file."""
    path = root / f"step={step:08d}"
    path.mkdir(parents=True)
    (path / "state").write_text("state")
    files = {"state": file_entry(path / "state")}
    manifest = Manifest(run_recipe({}, {}), {"step": step, "samples": 8 * step}, files)
    write_json(path / MANIFEST, manifest.to_dict())
    return path


def test_a_run_without_checkpoints_begins(tmp_path: Path) -> None:
    assert to_resume(tmp_path / "checkpoints", pytest.fail) is None


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_again_unasked(tmp_path: Path) -> None:
    first, second = put_checkpoint(tmp_path, 4), put_checkpoint(tmp_path, 8)
    (second / "state").unlink()
    found = to_resume(tmp_path, lambda line: None)
    assert found is not None and found.step == 4
    (first / MANIFEST).unlink()
    reports: list[str] = []
    with pytest.raises(CheckpointError, match=r"step=00000004, step=00000008\..*delete .*, or run with `force: true`"):
        to_resume(tmp_path, reports.append)
    assert len(reports) == 2
