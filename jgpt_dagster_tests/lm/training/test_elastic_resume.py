"""A run may resume with another number of processes, and more processes train the same model."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.training.metrics_files import read_metrics
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.local_servers import LOOPBACK_HOSTS, ssh_server
from jgpt_dagster_tests.support.train_many import output_of
from jgpt_dagster_tests.support.training_runs import small_training_set, train_many, write_config

pytestmark = pytest.mark.slow

STAGES = (1, 2, 3)
STEPS, SAVED = 6, 3


def config_of(root: Path, name: str, stage: int, dtype: str = "auto") -> Path:
    every = {"checkpoint_every": SAVED, "evaluate_every": SAVED}
    return write_config(root, name, zero_stage=stage, dtype=dtype, steps=STEPS, weight_decay=0.5, **every)


def copy_at_first_checkpoint(root: Path, run: str, name: str) -> None:
    """Copy a run as it was when its first checkpoint had been saved."""
    shutil.copytree(root / run, root / name)
    shutil.rmtree(root / name / "checkpoints" / f"step={STEPS:08d}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Runs on one and on two processes, and each resumed on the other number, with what the resumed ones printed."""
    root = tmp_path_factory.mktemp("elastic")
    small_training_set(root)
    whole = [config_of(root, "2", stage=0), *(config_of(root, f"2-zero{stage}", stage) for stage in STAGES)]
    train_many([*whole, config_of(root, "2-bf16", 1, "bf16")], 2)
    for stage in STAGES:
        copy_at_first_checkpoint(root, f"2-zero{stage}", f"2to1-zero{stage}")
    copy_at_first_checkpoint(root, "2-zero1", "2to1-zero1to2")
    copy_at_first_checkpoint(root, "2-bf16", "2to1-bf16")
    shrunk = train_many(
        [
            *(config_of(root, f"1-zero{stage}", stage) for stage in STAGES),
            *(config_of(root, f"2to1-zero{stage}", stage) for stage in STAGES),
            config_of(root, "2to1-zero1to2", 2),
            config_of(root, "2to1-bf16", 1, "bf16"),
        ],
        1,
    )
    for stage in STAGES:
        copy_at_first_checkpoint(root, f"1-zero{stage}", f"1to2-zero{stage}")
    grown = train_many([config_of(root, f"1to2-zero{stage}", stage) for stage in STAGES], 2)
    return root, shrunk, grown


def test_one_and_two_processes_see_the_same_samples_and_give_the_same_losses(runs: tuple[Path, str, str]) -> None:
    expected = read_metrics(runs[0] / "1-zero1")
    assert len(expected) == STEPS
    for name in ("2", *(f"{count}-zero{stage}" for count in (1, 2) for stage in STAGES)):
        assert_same_curve(runs[0] / name, expected)
        GPT2LMHeadModel.from_pretrained(runs[0] / name / "model")


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_of_two_processes_resumes_on_one_and_the_reverse(runs: tuple[Path, str, str], stage: int) -> None:
    root, shrunk, grown = runs
    for name, output, change in (
        (f"2to1-zero{stage}", shrunk, "processes 2 → 1"),
        (f"1to2-zero{stage}", grown, "processes 1 → 2"),
    ):
        resumed = f"resuming after step {SAVED} (losses are the same up to rounding: {change}"
        assert resumed in output_of(name, output)
        assert_same_curve(root / name, read_metrics(root / "1-zero1"))
        assert sorted(path.name for path in (root / name / "checkpoints").iterdir()) == [
            f"step={SAVED:08d}",
            f"step={STEPS:08d}",
        ], "the converted copy is gone"


def test_bf16_gives_nearly_the_losses_of_fp32_and_resumes_on_one_process_too(runs: tuple[Path, str, str]) -> None:
    exact, rounded = (read_metrics(runs[0] / name) for name in ("2-zero1", "2-bf16"))
    assert [row["loss"] for row in rounded] == pytest.approx([row["loss"] for row in exact], rel=5e-3)
    assert rounded != exact
    assert_same_curve(runs[0] / "2to1-bf16", rounded, rel=2e-3)


def test_two_hosts_with_a_process_each_give_the_losses_of_two_processes_on_one(
    runs: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = runs[0]
    (tmp_path / "hostfile").write_text(LOOPBACK_HOSTS)
    with ssh_server(tmp_path) as programs:
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        # A session of ssh begins in the home directory, where the tests' own programs are not found.
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        output = train_many([config_of(root, "hosts", stage=1)], hostfile=tmp_path / "hostfile")
    assert "on 2 cpu process(es)" in output
    assert_same_curve(root / "hosts", read_metrics(root / "2-zero1"))


def test_a_checkpoint_resumes_under_the_other_zero_stage_of_its_format(runs: tuple[Path, str, str]) -> None:
    assert_same_curve(runs[0] / "2to1-zero1to2", read_metrics(runs[0] / "1-zero1"))


def assert_same_curve(run: Path, expected: list[dict[str, Any]], rel: float = 1e-4) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=rel)
