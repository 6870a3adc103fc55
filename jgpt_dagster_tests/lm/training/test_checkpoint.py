"""Checkpoints on disk, without a run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from jgpt_dagster.lm.training import checkpoint
from jgpt_dagster.lm.training.checkpoint import (
    CheckpointError,
    find_resumable,
    remove_leftovers,
    separate_step_counters,
)
from jgpt_dagster.lm.training.checkpoint_compatibility import checkpoint_recipe
from jgpt_dagster.lm.training.checkpoint_trust import signed, signing_key
from jgpt_dagster.storage.atomic_write import temporary_path, write_json
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.manifest import FileEntry, Manifest


def put_checkpoint(root: Path, step: int) -> Path:
    """Write a valid checkpoint of one file, signed with the key of the data root `root`."""
    path = root / f"step={step:08d}"
    path.mkdir(parents=True)
    (path / "state").write_text("state")
    files = {"state": FileEntry.of(path / "state")}
    manifest = Manifest(checkpoint_recipe({}, {}), {"step": step, "samples": 8 * step}, files)
    write_json(path / MANIFEST, signed(manifest, signing_key(root)))
    return path


def test_without_checkpoints_there_is_nothing_to_resume_from(tmp_path: Path) -> None:
    assert find_resumable(tmp_path / "checkpoints", tmp_path, pytest.fail) is None


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_with_their_names(tmp_path: Path) -> None:
    first, second = put_checkpoint(tmp_path, 4), put_checkpoint(tmp_path, 8)
    (second / "state").unlink()
    found = find_resumable(tmp_path, tmp_path, lambda line: None)
    assert found is not None and found.step == 4
    (first / MANIFEST).unlink()
    reports: list[str] = []
    with pytest.raises(CheckpointError, match=r"(?s)step=00000004, step=00000008\..*delete .*`force: true`"):
        find_resumable(tmp_path, tmp_path, reports.append)
    assert len(reports) == 2


def test_what_killed_saves_and_conversions_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    whole = put_checkpoint(tmp_path, 4)
    universal = whole.with_name(f".{whole.name}.universal")
    for leftover in (temporary_path(whole.with_name("step=00000008")), universal, temporary_path(universal)):
        (leftover / "engine").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert list(tmp_path.glob("*=*")) + list(tmp_path.glob(".*=*")) == [whole]
    remove_leftovers(tmp_path / "none")


def test_a_conversion_that_does_not_fit_on_the_disk_is_refused_with_the_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_checkpoint(tmp_path, 4)
    found = find_resumable(tmp_path, tmp_path, pytest.fail)
    assert found is not None
    module = torch.nn.Linear(100, 10, bias=False)
    engine = SimpleNamespace(load_universal_checkpoint=lambda: True, module=module)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=23_999))
    expected = r"24 bytes for each of 1,000 parameters, needs 24,000 bytes and 23,999 are free.*JGPT_SCRATCH"
    with pytest.raises(DiskFullError, match=expected):
        checkpoint.load(engine, found, seed=0)


def test_every_step_counter_of_a_converted_checkpoint_is_a_copy_of_its_own_on_its_parameters_device() -> None:
    # The meta device stands for a GPU, whose fused AdamW takes no counter of another device.
    parameters = [torch.zeros(2, device=device) for device in ("meta", "cpu", "cpu")]
    optimizer = torch.optim.AdamW(parameters)
    shared = torch.tensor(3, dtype=torch.int64)
    for parameter in parameters:
        optimizer.state[parameter]["step"] = shared
    separate_step_counters(optimizer)
    steps = [optimizer.state[parameter]["step"] for parameter in parameters]
    assert [step.device for step in steps] == [parameter.device for parameter in parameters]
    assert all(step.dtype == torch.float32 for step in steps)
    assert len({id(step) for step in [*steps, shared]}) == 4
    steps[1] += 1
    assert (steps[1].item(), steps[2].item(), shared.item()) == (4, 3, 3)
