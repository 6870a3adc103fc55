"""A run may resume with another number of processes, and more processes train the same model."""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.training.metrics_files import read_metrics
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.local_servers import LOOPBACK_HOSTS, ssh_server
from jgpt_dagster_tests.support.train_many import output_of
from jgpt_dagster_tests.support.training_runs import small_training_set, train_many, write_config

pytestmark = pytest.mark.slow

STEPS, SAVED = 6, 3


def config_of(root: Path, name: str, stage: int, dtype: str = "auto") -> Path:
    every = {"checkpoint_every": SAVED, "evaluate_every": SAVED}
    return write_config(root, name, zero_stage=stage, dtype=dtype, steps=STEPS, weight_decay=0.5, **every)


def copy_at_first_checkpoint(root: Path, run: str, name: str) -> None:
    """Copy a run as it was when its first checkpoint had been saved."""
    shutil.copytree(root / run, root / name)
    shutil.rmtree(root / name / "checkpoints" / f"step={STEPS:08d}")


class Runs(NamedTuple):
    """Runs on one and on two processes, and each resumed on the other number, with what the resumed ones printed."""

    root: Path
    stages: tuple[int, ...]
    shrunk: str
    grown: str


@pytest.fixture(
    scope="module",
    params=[pytest.param((1,), id="zero1"), pytest.param((2, 3), id="zero2and3", marks=pytest.mark.long)],
)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs under some stages of ZeRO."""
    stages: tuple[int, ...] = request.param
    root = tmp_path_factory.mktemp("elastic")
    small_training_set(root)
    # In this order only one launch needs two processes, each of which imports all libraries.
    train_many([config_of(root, f"1-zero{stage}", stage) for stage in stages], 1)
    for stage in stages:
        copy_at_first_checkpoint(root, f"1-zero{stage}", f"1to2-zero{stage}")
    configs = [config_of(root, f"{run}-zero{stage}", stage) for run in ("2", "1to2") for stage in stages]
    grown = train_many([config_of(root, "2", stage=0), *configs], 2)
    for stage in stages:
        copy_at_first_checkpoint(root, f"2-zero{stage}", f"2to1-zero{stage}")
    shrunk = train_many([config_of(root, f"2to1-zero{stage}", stage) for stage in stages], 1)
    return Runs(root, stages, shrunk, grown)


def test_one_and_two_processes_see_the_same_samples_and_give_the_same_losses(runs: Runs) -> None:
    expected = read_metrics(runs.root / "2")
    assert len(expected) == STEPS
    for name in (f"{count}-zero{stage}" for count in (1, 2) for stage in runs.stages):
        assert_same_curve(runs.root / name, expected)
        GPT2LMHeadModel.from_pretrained(runs.root / name / "model")


def test_a_checkpoint_of_two_processes_resumes_on_one_and_the_reverse(runs: Runs) -> None:
    for stage in runs.stages:
        for name, output, change in (
            (f"2to1-zero{stage}", runs.shrunk, "processes 2 → 1"),
            (f"1to2-zero{stage}", runs.grown, "processes 1 → 2"),
        ):
            resumed = f"resuming after step {SAVED} (losses are the same up to rounding: {change}"
            assert resumed in output_of(name, output)
            assert_same_curve(runs.root / name, read_metrics(runs.root / f"1-zero{stage}"))
            assert sorted(path.name for path in (runs.root / name / "checkpoints").iterdir()) == [
                f"step={SAVED:08d}",
                f"step={STEPS:08d}",
            ], "the converted copy is gone"


@pytest.mark.long
def test_bf16_gives_nearly_the_losses_of_fp32_and_resumes_on_one_process_too(root: Path) -> None:
    train_many([config_of(root, "2-fp32", 1), config_of(root, "2-bf16", 1, "bf16")], 2)
    copy_at_first_checkpoint(root, "2-bf16", "2to1-bf16")
    train_many([config_of(root, "2to1-bf16", 1, "bf16")], 1)
    exact, rounded = (read_metrics(root / name) for name in ("2-fp32", "2-bf16"))
    assert [row["loss"] for row in rounded] == pytest.approx([row["loss"] for row in exact], rel=5e-3)
    assert rounded != exact
    assert_same_curve(root / "2to1-bf16", rounded, rel=2e-3)


@pytest.mark.long
def test_two_hosts_with_a_process_each_give_the_losses_of_two_processes_on_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_many([config_of(root, "one_host", stage=1)], 2)
    (tmp_path / "hostfile").write_text(LOOPBACK_HOSTS)
    with ssh_server(tmp_path) as programs:
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        # A session of ssh begins in the home directory, where the tests' own programs are not found.
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        output = train_many([config_of(root, "hosts", stage=1)], hostfile=tmp_path / "hostfile")
    assert "on 2 cpu process(es)" in output
    assert_same_curve(root / "hosts", read_metrics(root / "one_host"))


@pytest.mark.long
def test_a_checkpoint_resumes_under_the_other_zero_stage_of_its_format(root: Path) -> None:
    train_many([config_of(root, "zero1", 1)], 2)
    copy_at_first_checkpoint(root, "zero1", "zero1to2")
    train_many([config_of(root, "zero1to2", 2)], 1)
    assert_same_curve(root / "zero1to2", read_metrics(root / "zero1"))


def assert_same_curve(run: Path, expected: list[dict[str, Any]], rel: float = 1e-4) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=rel)
