"""Runs that fail end with an error that says what to do; runs that no longer improve stop early."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import LaunchError, run_process_group
from jgpt_dagster.lm.training.checkpoint import latest_valid, newest
from jgpt_dagster.lm.training.metrics_files import read_metrics
from jgpt_dagster.lm.training.run_progress import step_of
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster_tests.support.train_many import output_of
from jgpt_dagster_tests.support.training_runs import train_many, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(root: Path) -> str:
    """What four runs in one process printed: two that diverge, and one that stops early and is run again."""
    # The validation loss cannot fall if the weights hardly move.
    still = {"learning_rate": 1e-12, "evaluate_every": 2, "early_stop": 2, "steps": 50}
    configs = [
        write_config(root, "not_finite", learning_rate=1e30, checkpoint_every=1, warmup_steps=0),
        write_config(
            root,
            "diverged",
            learning_rate=3.0,
            steps=400,
            warmup_steps=300,
            divergence_steps=6,
            checkpoint_every=2,
            keep_checkpoints=1,
        ),
        write_config(root, "stopped_early", **still),
        # A run that stopped early does not continue.
        write_config(root, "stopped_early", **still),
    ]
    return train_many(configs)


def error_of(output: str, run: str) -> str:
    (line,) = [line for line in output_of(run, output).splitlines() if line.startswith("error: ")]
    return line


def test_a_loss_that_is_not_finite_ends_the_run_and_names_step_and_checkpoint(root: Path, output: str) -> None:
    error = error_of(output, "not_finite")
    assert "the run has diverged" in error and "lower learning rate" in error
    checkpoint = latest_valid(root / "not_finite" / "checkpoints", root, pytest.fail)
    assert checkpoint is not None and f"{checkpoint.path} (step {checkpoint.step})" in error


def test_a_loss_that_stays_far_above_its_lowest_level_ends_the_run_and_names_the_checkpoint_before(
    root: Path, output: str
) -> None:
    error = error_of(output, "diverged")
    rows = read_metrics(root / "diverged")
    rose = int(error.split("since step ")[1].split(".")[0])
    assert rows[-1]["step"] == rose + 6
    assert all(row["loss"] > min(row["loss"] for row in rows) + 1 for row in rows if row["step"] >= rose)
    good = newest(root / "diverged" / "checkpoints", before=rose)
    assert good is not None, "it stays, however few are to be kept"
    DirectoryArtifact("checkpoint", "", good).verified()
    assert f"{good} (step {step_of(good)})" in error and "delete the later ones" in error


def test_one_of_two_processes_explains_a_failure_and_both_end_at_once(root: Path) -> None:
    fields = {"learning_rate": 1e30, "checkpoint_every": 1, "warmup_steps": 0, "micro_batch": 2}
    config = write_config(root, "not_finite2", **fields)
    lines: list[str] = []
    with pytest.raises(LaunchError) as error:
        run_process_group(launch_command("deepspeed", 2, config), training_environment(2), on_line=lines.append)
    errors = [line for line in lines if "the run has diverged" in line]
    (explained,) = [line for line in errors if not line.startswith("process 1: ")]
    assert "Newest checkpoint: " in explained and "lower learning rate" in explained
    assert all(
        line.startswith("process 1: error: the run has diverged at step") for line in errors if line != explained
    )
    assert error.value.args[0] == explained.removeprefix("error: "), "the cause, without the launcher's command"


def test_a_run_whose_validation_loss_no_longer_falls_stops_early_with_a_model(root: Path, output: str) -> None:
    result = json.loads((root / "stopped_early" / "result.json").read_text())
    assert result["steps"] < 50
    assert (root / "stopped_early" / "model" / "model.safetensors").exists()
    assert output.count(f"early stop after step {result['steps']}") == 1
    assert f"resuming after step {result['steps']}" in output, "the second start finds it finished"


def test_a_process_that_is_suspended_ends_the_run_and_is_named(root: Path) -> None:
    config = write_config(root, "stalled", steps=100_000, checkpoint_every=2, micro_batch=2, stall_seconds=8)
    lines: list[str] = []
    suspended: list[int] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line.startswith("step 3/"):
            (process,) = [p for p in _training(config) if p.environ()["RANK"] == "0"]
            suspended.append(process.pid)
            os.kill(process.pid, signal.SIGSTOP)
        if line.startswith("newest checkpoint: "):
            # DeepSpeed's launcher would wait half a minute for the suspended process to end.
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, LaunchError)):
        run_process_group(
            launch_command("deepspeed", 2, config), training_environment(2), on_line=on_line, stop_grace_seconds=0.5
        )
    (error,) = [line for line in lines if "no progress for" in line]
    assert f"process 0 (pid {suspended[0]} on " in error and "does not respond" in error and "run again" in error
    (newest,) = [line for line in lines if line.startswith("newest checkpoint: ")]
    assert f"{root / 'stalled' / 'checkpoints'}/step=0000" in newest
    assert not _training(config)


def _training(config: Path) -> list[psutil.Process]:
    """Return the training processes of a configuration, without their launchers."""
    found = [p for p in psutil.process_iter(["cmdline"]) if str(config) in (p.info["cmdline"] or [])]
    return [p for p in found if "-u" in p.info["cmdline"] and "deepspeed" not in " ".join(p.info["cmdline"])]
