"""The number of processes may change between one start of a run and the next."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import TRAINING_MODULE, launch_command
from jgpt_dagster.lm.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    require_same_training,
    separate_step_counters,
)
from jgpt_dagster.lm.training.metrics import read_metrics
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.local_servers import LOOPBACK_HOSTS, ssh_server
from jgpt_dagster_tests.support.training_runs import small_training_set, write_config

STAGES = (1, 2, 3)
STEPS, SAVED = 6, 3


def train_all(configs: list[Path], processes: int, hostfile: Path | None = None) -> str:
    """Carry out runs in one launch; return the output."""
    launcher: Literal["deepspeed", "python"] = "deepspeed" if processes > 1 or hostfile else "python"
    command = launch_command(launcher, processes, configs[0], hostfile)
    position = command.index(TRAINING_MODULE)
    command[position:] = ["jgpt_dagster_tests.support.train_many", *map(str, configs)]
    environment = training_environment(processes)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def config(root: Path, name: str, stage: int, dtype: str = "auto") -> Path:
    every = {"checkpoint_every": SAVED, "evaluate_every": SAVED}
    return write_config(root, name, zero_stage=stage, dtype=dtype, steps=STEPS, weight_decay=0.5, **every)


def cut(root: Path, run: str, name: str) -> None:
    """Copy a run as it was when its first checkpoint had been saved."""
    shutil.copytree(root / run, root / name)
    shutil.rmtree(root / name / "checkpoints" / f"step={STEPS:08d}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Runs from start to end on one and on two processes, and each continued on the other number."""
    root = tmp_path_factory.mktemp("elastic")
    small_training_set(root)
    whole = [config(root, "2", stage=0), *(config(root, f"2-zero{stage}", stage) for stage in STAGES)]
    train_all([*whole, config(root, "2-bf16", 1, "bf16")], 2)
    for stage in STAGES:
        cut(root, f"2-zero{stage}", f"2to1-zero{stage}")
    cut(root, "2-zero1", "2to1-zero1to2")
    cut(root, "2-bf16", "2to1-bf16")
    shrunk = train_all(
        [
            *(config(root, f"1-zero{stage}", stage) for stage in STAGES),
            *(config(root, f"2to1-zero{stage}", stage) for stage in STAGES),
            config(root, "2to1-zero1to2", 2),
            config(root, "2to1-bf16", 1, "bf16"),
        ],
        1,
    )
    for stage in STAGES:
        cut(root, f"1-zero{stage}", f"1to2-zero{stage}")
    grown = train_all([config(root, f"1to2-zero{stage}", stage) for stage in STAGES], 2)
    return root, shrunk, grown


@pytest.mark.slow
def test_one_and_two_processes_see_the_same_samples_and_give_the_same_losses(runs: tuple[Path, str, str]) -> None:
    expected = read_metrics(runs[0] / "1-zero1")
    assert len(expected) == STEPS
    for name in ("2", *(f"{count}-zero{stage}" for count in (1, 2) for stage in STAGES)):
        assert_same_curve(runs[0] / name, expected)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_of_two_processes_continues_on_one_and_the_reverse(
    runs: tuple[Path, str, str], stage: int
) -> None:
    root, shrunk, grown = runs
    for name in (f"2to1-zero{stage}", f"1to2-zero{stage}"):
        assert_same_curve(root / name, read_metrics(root / "1-zero1"))
        assert sorted(path.name for path in (root / name / "checkpoints").iterdir()) == [
            f"step={SAVED:08d}",
            f"step={STEPS:08d}",
        ], "the converted copy is gone"
    assert f"resuming after step {SAVED} (losses are the same up to rounding: processes 2 → 1" in shrunk
    assert f"resuming after step {SAVED} (losses are the same up to rounding: processes 1 → 2" in grown


@pytest.mark.slow
def test_what_gpus_compute_in_gives_nearly_the_same_losses_and_continues_too(runs: tuple[Path, str, str]) -> None:
    exact, rounded = (read_metrics(runs[0] / name) for name in ("2-zero1", "2-bf16"))
    assert [row["loss"] for row in rounded] == pytest.approx([row["loss"] for row in exact], rel=5e-3)
    assert rounded != exact
    assert_same_curve(runs[0] / "2to1-bf16", rounded, rel=2e-3)


@pytest.mark.slow
def test_two_hosts_with_a_process_each_give_the_losses_of_two_processes_on_one(
    runs: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = runs[0]
    (tmp_path / "hostfile").write_text(LOOPBACK_HOSTS)
    with ssh_server(tmp_path) as programs:
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        # A session of ssh begins in the home directory, where the tests' own programs are not found.
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        said = train_all([config(root, "hosts", stage=1)], 1, tmp_path / "hostfile")
    assert "on 2 cpu process(es)" in said
    assert_same_curve(root / "hosts", read_metrics(root / "2-zero1"))


@pytest.mark.slow
def test_a_checkpoint_continues_under_the_other_stage_of_its_format(runs: tuple[Path, str, str]) -> None:
    assert_same_curve(runs[0] / "2to1-zero1to2", read_metrics(runs[0] / "1-zero1"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("zero_stage", 3), ("training_set", "b"), ("tokenizer", "b"), ("layers", 5), ("learning_rate", 2.0)],
)
def test_what_decides_the_weights_or_cannot_be_converted_is_refused_by_name(field: str, value: Any) -> None:
    present = {"zero_stage": 1, "training_set": "a", "tokenizer": "a", "layers": 4, "learning_rate": 1.0}
    division = {"processes": 2, "micro_batch": 4}
    checkpoint = Checkpoint(Path("checkpoints/step=00000003"), 3, 24, {**present, **division})
    require_same_training(checkpoint, {**present, "processes": 1, "micro_batch": 8, "zero_stage": 2})
    with pytest.raises(CheckpointError, match=f"{field} is {value}, but the checkpoint has {present[field]}"):
        require_same_training(checkpoint, {**present, **division, field: value})


def test_states_on_disk_go_on_with_as_many_processes_as_they_were_saved_by() -> None:
    present = {"zero_stage": 3, "offload": True, "processes": 2}
    checkpoint = Checkpoint(Path("checkpoints/step=00000003"), 3, 24, present)
    require_same_training(checkpoint, present)
    with pytest.raises(CheckpointError, match="processes is 1, but the checkpoint has 2"):
        require_same_training(checkpoint, {**present, "processes": 1})


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


def assert_same_curve(run: Path, expected: list[dict[str, Any]], rel: float = 1e-4) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=rel)
