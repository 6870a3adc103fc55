"""Training for real: separate processes, killed and resumed. Every test here takes tens of seconds."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import LaunchError, run_process_group
from jgpt_dagster.lm.training.metrics import METRICS, read_metrics
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster_tests.support.training_runs import run_training, start_training, write_config
from jgpt_dagster_tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(root: Path) -> Path:
    """A run that nothing disturbed; what other runs are compared with."""
    code, output = run_training(write_config(root, "finished"))
    assert code == 0, output
    return root / "finished"


@pytest.fixture(scope="module")
def sparse(root: Path) -> Path:
    """The configuration of a finished run that keeps its newest checkpoint and those of every eighth step."""
    config = write_config(root, "sparse", keep_checkpoints=1, keep_every=8)
    code, output = run_training(config)
    assert code == 0, output
    return config


def test_a_run_learns_and_leaves_a_model_that_transformers_opens(finished: Path) -> None:
    rows = read_metrics(finished)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert [row["step"] for row in rows if "validation_loss" in row] == [6, 12]
    result = json.loads((finished / "result.json").read_text())
    assert result["steps"] == 12 and result["tokens"] == 12 * 8 * 32
    assert result["last_loss"] == rows[-1]["loss"]
    model = GPT2LMHeadModel.from_pretrained(finished / "model")
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.vocab_size) == (1, 2, 48)


def test_only_the_newest_checkpoints_are_kept(finished: Path) -> None:
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == ["step=00000008", "step=00000012"]


def test_checkpoints_of_chosen_steps_stay_for_good(sparse: Path) -> None:
    checkpoints = sparse.with_suffix("") / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step=00000008", "step=00000012"]


def test_a_run_killed_at_any_moment_and_run_again_gives_the_same_metrics_and_weights(
    root: Path, finished: Path
) -> None:
    config = write_config(root, "killed")
    run = root / "killed"
    # Killed twice: between two checkpoints, and while one is being written.
    _kill_when(config, lambda: len(read_metrics(run)) >= 6)
    _kill_when(config, lambda: (run / "checkpoints" / ".step=00000008.tmp").exists() or _has_checkpoint(run, 8))
    code, output = run_training(config)
    assert code == 0, output
    assert "resuming after step" in output
    _assert_same(run, finished)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(sparse: Path, finished: Path) -> None:
    run = sparse.with_suffix("")
    weights = run / "checkpoints" / "step=00000012" / "engine" / "mp_rank_00_model_states.pt"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    code, output = run_training(sparse)
    assert code == 0, output
    assert "step=00000012 is damaged" in output and str(weights) in output
    assert "resuming after step 8" in output
    _assert_same(run, finished)


def test_a_run_that_is_asked_to_end_saves_a_checkpoint_first_and_says_interrupted(root: Path, finished: Path) -> None:
    config = write_config(root, "stopped", checkpoint_every=1000)
    process = start_training(config)
    wait_until(lambda: len(read_metrics(root / "stopped")) >= 1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 143, output
    assert "saved a checkpoint at step" in output
    code, output = run_training(config)
    assert code == 0 and "resuming after step" in output, output
    _assert_same(root / "stopped", finished)


def test_a_run_with_another_seed_or_another_training_set_is_refused_by_name(root: Path, finished: Path) -> None:
    code, output = run_training(write_config(root, "finished", seed=7, global_batch=16))
    assert code == 1
    assert "seed is 7, but the checkpoint has 0" in output
    assert "global_batch is 16, but the checkpoint has 8" in output


def test_a_run_can_start_from_the_weights_of_another(root: Path, finished: Path) -> None:
    code, output = run_training(
        write_config(root, "warm", initial_model=str(finished / "model"), steps=1, learning_rate=1e-9)
    )
    assert code == 0, output
    last = json.loads((finished / "result.json").read_text())["last_validation_loss"]
    assert json.loads((root / "warm" / "result.json").read_text())["last_validation_loss"] == pytest.approx(last, 1e-4)


@pytest.mark.parametrize(
    ("launcher", "processes", "stage"),
    [("deepspeed", 2, 2), ("deepspeed", 1, 0), ("deepspeed", 2, 3), ("torchrun", 2, 1)],
)
def test_launchers_process_counts_and_zero_stages_train_the_same_model(
    root: Path, finished: Path, launcher: str, processes: int, stage: int
) -> None:
    output_name = f"{launcher}{processes}zero{stage}"
    config = write_config(root, output_name, zero_stage=stage, micro_batch=2)
    code, output = run_training(config, launcher, processes)
    assert code == 0, output
    for row, expected in zip(read_metrics(root / output_name), read_metrics(finished), strict=True):
        assert row == pytest.approx(expected, rel=1e-3)
    GPT2LMHeadModel.from_pretrained(root / output_name / "model")


def test_two_processes_killed_and_run_again_give_the_same_weights(root: Path) -> None:
    whole, killed = (write_config(root, name, zero_stage=3, micro_batch=2) for name in ("whole", "cut"))
    assert run_training(whole, "deepspeed", 2)[0] == 0
    _kill_when(killed, lambda: len(read_metrics(root / "cut")) >= 6, "deepspeed", 2)
    code, output = run_training(killed, "deepspeed", 2)
    assert code == 0 and "resuming after step" in output, output
    _assert_same(root / "cut", root / "whole")


@pytest.mark.parametrize("launcher", ["deepspeed", "torchrun"])
def test_a_killed_caller_leaves_no_training_process_behind(root: Path, launcher: str) -> None:
    name = f"orphaned-{launcher}"
    config = write_config(root, name, steps=100_000, micro_batch=2)
    caller = f"""
import pathlib
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import LaunchError, run_process_group
command = launch_command({launcher!r}, 2, pathlib.Path({str(config)!r}))
run_process_group(command, training_environment(2), on_line=print)
"""
    process = subprocess.Popen([sys.executable, "-c", caller], stdout=subprocess.DEVNULL)
    wait_until(lambda: len(read_metrics(root / name)) >= 2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.kill()
    process.wait()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_ctrl_c_and_a_killed_launcher_save_a_checkpoint_and_leave_no_process_behind(root: Path) -> None:
    config = write_config(root, "cancelled", steps=100_000, checkpoint_every=100_000, micro_batch=2)
    command, environment = launch_command("deepspeed", 2, config), training_environment(2)
    checkpoints = root / "cancelled" / "checkpoints"

    def interrupt(line: str) -> None:
        if line.startswith("step 3/"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_process_group(command, environment, on_line=interrupt)
    assert not _processes_of(config)
    (first,) = checkpoints.glob("step=*")

    lines: list[str] = []

    def kill_launcher(line: str) -> None:
        lines.append(line)
        if line.startswith("step ") and not any(line.startswith("step ") for line in lines[:-1]):
            assert len(_processes_of(config)) == 3, "DeepSpeed's launcher and two processes"
            (launcher,) = psutil.Process().children()
            launcher.kill()

    with pytest.raises(LaunchError, match="SIGKILL"):
        run_process_group(command, environment, on_line=kill_launcher)
    assert not _processes_of(config)
    assert f"resuming after step {int(first.name.removeprefix('step='))}" in "\n".join(lines)
    assert len(list(checkpoints.glob("step=*"))) == 2


def _kill_when(config: Path, condition: Callable[[], bool], launcher: str = "python", processes: int = 1) -> None:
    """Start training and kill its whole process group as soon as the condition holds."""
    process = start_training(config, launcher, processes)
    wait_until(condition)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL


def _processes_of(config: Path) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(config) in (p.info["cmdline"] or [])]


def _has_checkpoint(run: Path, step: int) -> bool:
    return (run / "checkpoints" / f"step={step:08d}").exists()


def _assert_same(run: Path, other: Path) -> None:
    assert (run / METRICS).read_bytes() == (other / METRICS).read_bytes()
    assert (run / "result.json").read_bytes() == (other / "result.json").read_bytes()
    weights = [sha256_file(path / "model" / "model.safetensors") for path in (run, other)]
    assert weights[0] == weights[1]
