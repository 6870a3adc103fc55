"""Training for real: separate processes, killed and resumed, which end with the bytes of a run that nothing disturbed.

Runs that need no process of their own share one: libraries take longer to import than these runs to train.
"""

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
from jgpt_dagster.lm.training.metrics_files import METRICS, read_metrics
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster_tests.support.train_many import output_of
from jgpt_dagster_tests.support.training_runs import Launcher, run_training, start_training, train_many, write_config
from jgpt_dagster_tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(root: Path) -> Path:
    """A run that nothing disturbed, and two that share its process: `sparse` keeps its newest checkpoint and every
    eighth step's, `warm` hardly moves the weights of the finished model.
    """
    configs = [
        write_config(root, "finished"),
        write_config(root, "sparse", keep_checkpoints=1, keep_every=8),
        write_config(root, "warm", initial_model=str(root / "finished" / "model"), steps=1, learning_rate=1e-9),
    ]
    output = train_many(configs)
    assert "error: " not in output, output
    return root / "finished"


@pytest.fixture(scope="module")
def resumed(root: Path, finished: Path) -> str:
    """What runs printed that resumed in one process: `killed` while it wrote a checkpoint, `stopped` by SIGTERM,
    `sparse` with a damaged checkpoint, and `finished` with other settings.
    """
    killed, stopped = write_config(root, "killed"), write_config(root, "stopped", checkpoint_every=1000)
    run = root / "killed"
    _kill_when(killed, lambda: (run / "checkpoints" / ".step=00000008.tmp").exists() or _has_checkpoint(run, 8))
    _stop_after_first_step(stopped)
    weights = _damaged_weights(root)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    other = write_config(root, "finished", seed=7, global_batch=16)
    return train_many([killed, stopped, root / "sparse.json", other])


@pytest.fixture(scope="module")
def in_two_processes(root: Path) -> str:
    """What one launch of DeepSpeed printed: it resumed `torchrun` and `killed2`, begun under torchrun and DeepSpeed by
    processes that were killed, and trained `whole2`.
    """
    torchrun = write_config(root, "torchrun", zero_stage=1, micro_batch=2)
    killed, whole = (write_config(root, name, zero_stage=3, micro_batch=2) for name in ("killed2", "whole2"))
    _kill_caller(torchrun, "torchrun", lambda: len(read_metrics(root / "torchrun")) >= 5)
    _kill_caller(killed, "deepspeed", lambda: len(read_metrics(root / "killed2")) >= 5)
    return train_many([torchrun, killed, whole], processes=2)


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
    assert _checkpoints(finished) == ["step=00000008", "step=00000012"]


def test_a_run_can_start_from_the_weights_of_another(root: Path, finished: Path) -> None:
    last = json.loads((finished / "result.json").read_text())["last_validation_loss"]
    assert json.loads((root / "warm" / "result.json").read_text())["last_validation_loss"] == pytest.approx(last, 1e-4)


def test_checkpoints_of_multiples_of_keep_every_are_kept_too(root: Path, finished: Path) -> None:
    assert _checkpoints(root / "sparse") == ["step=00000008", "step=00000012"]


def test_a_run_killed_at_any_moment_and_run_again_gives_the_same_metrics_and_weights(
    root: Path, finished: Path, resumed: str
) -> None:
    assert "resuming after step" in output_of("killed", resumed)
    _assert_same(root / "killed", finished)


def test_a_run_that_saved_a_checkpoint_on_sigterm_gives_the_same_metrics_and_weights(
    root: Path, finished: Path, resumed: str
) -> None:
    assert "resuming after step" in output_of("stopped", resumed)
    _assert_same(root / "stopped", finished)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(root: Path, finished: Path, resumed: str) -> None:
    output = output_of("sparse", resumed)
    assert "step=00000012 is damaged" in output and str(_damaged_weights(root)) in output
    assert "resuming after step 8" in output
    _assert_same(root / "sparse", finished)


def test_a_run_with_other_settings_than_its_checkpoint_is_refused_by_name(resumed: str) -> None:
    output = output_of("finished", resumed)
    assert "error: " in output
    assert "seed is 7, but the checkpoint has 0" in output
    assert "global_batch is 16, but the checkpoint has 8" in output


def test_processes_of_torchrun_end_with_the_launching_one_and_train_the_same_model(
    root: Path, finished: Path, in_two_processes: str
) -> None:
    assert "resuming after step" in output_of("torchrun", in_two_processes)
    _assert_nearly_same(root / "torchrun", finished)


def test_processes_of_deepspeed_end_with_the_launching_one_and_give_the_same_weights_when_run_again(
    root: Path, finished: Path, in_two_processes: str
) -> None:
    assert "resuming after step" in output_of("killed2", in_two_processes)
    assert "resuming" not in output_of("whole2", in_two_processes)
    _assert_same(root / "killed2", root / "whole2")
    _assert_nearly_same(root / "whole2", finished)


@pytest.mark.long
def test_deepspeed_with_one_process_and_no_zero_stage_trains_the_same_model(root: Path, finished: Path) -> None:
    code, output = run_training(write_config(root, "deepspeed", zero_stage=0, micro_batch=2), "deepspeed", 1)
    assert code == 0, output
    _assert_nearly_same(root / "deepspeed", finished)


def test_ctrl_c_saves_a_checkpoint_and_leaves_no_process_behind(root: Path) -> None:
    config = write_config(root, "cancelled", steps=100_000, checkpoint_every=100_000)

    def interrupt(line: str) -> None:
        if line.startswith("step 3/"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_process_group(launch_command("deepspeed", 1, config), training_environment(1), on_line=interrupt)
    assert not _processes_of(config)
    assert len(_checkpoints(root / "cancelled")) == 1


def test_a_killed_launcher_saves_a_checkpoint_and_leaves_no_process_behind(root: Path) -> None:
    config = write_config(root, "launcherless", steps=100_000, checkpoint_every=100_000, micro_batch=2)
    killed: list[str] = []

    def kill_launcher(line: str) -> None:
        if line.startswith("step ") and not killed:
            killed.append(line)
            assert len(_processes_of(config)) == 3, "DeepSpeed's launcher and two processes"
            (launcher,) = psutil.Process().children()
            launcher.kill()

    with pytest.raises(LaunchError, match="SIGKILL"):
        run_process_group(launch_command("deepspeed", 2, config), training_environment(2), on_line=kill_launcher)
    assert not _processes_of(config)
    assert len(_checkpoints(root / "launcherless")) == 1


CALLER = """
import sys
from pathlib import Path
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import run_process_group
launcher, config = sys.argv[1:]
run_process_group(launch_command(launcher, 2, Path(config)), training_environment(2), on_line=print)
"""


def _kill_caller(config: Path, launcher: Launcher, condition: Callable[[], bool]) -> None:
    """Train in two processes, kill the one that launched them once the condition holds, and wait until they end."""
    process = subprocess.Popen([sys.executable, "-c", CALLER, launcher, config], stdout=subprocess.DEVNULL)
    wait_until(condition)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.kill()
    process.wait()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def _kill_when(config: Path, condition: Callable[[], bool]) -> None:
    """Start training and kill its process group as soon as the condition holds."""
    process = start_training(config)
    wait_until(condition)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL


def _stop_after_first_step(config: Path) -> None:
    """Start training, send SIGTERM after its first step, and check that it saves a checkpoint and says so."""
    process = start_training(config)
    wait_until(lambda: len(read_metrics(config.with_suffix(""))) >= 1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 143, output
    assert "saved a checkpoint at step" in output


def _damaged_weights(root: Path) -> Path:
    return root / "sparse" / "checkpoints" / "step=00000012" / "engine" / "mp_rank_00_model_states.pt"


def _processes_of(config: Path) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(config) in (p.info["cmdline"] or [])]


def _checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def _has_checkpoint(run: Path, step: int) -> bool:
    return (run / "checkpoints" / f"step={step:08d}").exists()


def _assert_same(run: Path, other: Path) -> None:
    assert (run / METRICS).read_bytes() == (other / METRICS).read_bytes()
    assert (run / "result.json").read_bytes() == (other / "result.json").read_bytes()
    weights = [sha256_file(path / "model" / "model.safetensors") for path in (run, other)]
    assert weights[0] == weights[1]


def _assert_nearly_same(run: Path, other: Path) -> None:
    """Assert that two runs have the same curve up to rounding, and that transformers opens the model."""
    for row, expected in zip(read_metrics(run), read_metrics(other), strict=True):
        assert row == pytest.approx(expected, rel=1e-3)
    GPT2LMHeadModel.from_pretrained(run / "model")
