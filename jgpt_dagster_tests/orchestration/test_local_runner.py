"""What `jgpt run` is going to do is settled before anything runs."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.catalog.corpora import configured_corpora
from jgpt_dagster.definitions import defs, load_definitions
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration import local_runner, worker_process
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG
from jgpt_dagster.orchestration.local_runner import StageFailedError, run_stages
from jgpt_dagster.orchestration.run_history import failure_reason
from jgpt_dagster.orchestration.stages import Stage, stages_up_to
from jgpt_dagster.orchestration.worker_process import Outcome
from jgpt_dagster_tests.support.waiting import wait_until

CORPORA = configured_corpora("jawiki", "https://example.org/ja.txt.xz", {})


def test_a_run_that_dagster_refuses_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    stage = Stage("tokenizer", ((),))
    refused = {"ops": {"tokenizer": {"config": {"vocab_size": "many"}}}}
    with pytest.raises(StageFailedError, match=r"(?s)tokenizer failed: Dagster refused the run: .*vocab_size.*many"):
        list(
            run_stages(
                [stage],
                dump="20260101",
                model="tiny",
                workers=1,
                run_config=refused,
                resume="jgpt run",
                root=tmp_path,
                load_definitions=load_definitions,
                display=lambda _: nullcontext(),
                report=print,
            )
        )


def test_a_release_needs_every_stage_in_a_runnable_order() -> None:
    stages = stages_up_to(defs, CORPORA, "20260101", "tiny", "release")
    order = [stage.asset for stage in stages]
    assert len(order) == 13
    for before, after in [
        ("wikipedia_segmented", "tokenizer"),
        ("cc100_segmented", "tokenizer"),
        ("tokenizer", "wikipedia_tokens"),
        ("cc100_tokens", "training_set"),
        ("training_set", "pretrained_model"),
        ("evaluation", "release"),
    ]:
        assert order.index(before) < order.index(after)


def test_each_shard_is_one_run_and_a_single_pass_is_one_run() -> None:
    runs = {stage.asset: stage.runs for stage in stages_up_to(defs, CORPORA, "20260101", "tiny", "release")}
    assert runs["wikipedia_articles"][:2] == (("20260101|000",), ("20260101|001",))
    assert len(runs["cc100_documents"]) == 1
    assert runs["cc100_documents"][0][:2] == ("000", "001")
    assert runs["tokenizer"] == ((),)
    assert runs["release"] == (("20260101|tiny",),)


def test_stages_end_at_the_requested_asset() -> None:
    assert [stage.asset for stage in stages_up_to(defs, CORPORA, "20260101", "tiny", "wikipedia_articles")] == [
        "wikipedia_dump",
        "wikipedia_articles",
    ]
    with pytest.raises(JgptError, match="There is no asset 'words'"):
        stages_up_to(defs, CORPORA, "20260101", "tiny", "words")


def test_a_waiting_run_is_not_started_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = multiprocessing.get_context("spawn").RawValue("b", 1)
    monkeypatch.setattr(worker_process, "_stopping", stopping)
    outcome = worker_process.execute_run(load_definitions, "wikipedia_dump", ("20260101",), {}, "of no command")
    assert outcome == Outcome("wikipedia_dump 20260101", "not started")


@pytest.mark.parametrize(("kind", "tidied"), [("tidy", True), ("deaf", False)])
def test_any_number_of_interrupts_ends_a_run_once_and_in_time(tmp_path: Path, kind: str, tidied: bool) -> None:
    command = [sys.executable, "-m", "jgpt_dagster_tests.support.interrupted_run", str(tmp_path), kind]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
    worker = int((tmp_path / "begun").read_text())
    # As a terminal does it, which signals the whole group.
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        os.killpg(process.pid, number)
        time.sleep(0.2)
    output, _ = process.communicate(timeout=240)  # the stage would take 600 s
    assert process.returncode == 130
    assert output.count("Resume with: again") == output.count("Aborted!") == 1 and "Traceback" not in output, output
    assert (tmp_path / "tidied").exists() == tidied
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_run_whose_end_could_not_be_recorded_is_recorded_as_failed_with_its_cause() -> None:
    instance = dg.DagsterInstance.ephemeral()
    begun, ended = (
        instance.add_run(dg.DagsterRun("job", status=status))
        for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS)
    )
    outcomes = [
        Outcome("tokenizer", "the disk is full", run_id)
        for run_id in ("00000000-0000-0000-0000-000000000000", begun.run_id, ended.run_id, None)
    ]
    local_runner._record_failures(instance, outcomes)
    assert failure_reason(instance, begun.run_id) == "the disk is full"
    found = [instance.get_run_by_id(run.run_id) for run in (begun, ended)]
    assert [run and run.status for run in found] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


def test_a_run_that_ended_while_its_cancelling_was_recorded_is_recorded_as_cancelled() -> None:
    instance = dg.DagsterInstance.ephemeral()
    own, other = (
        instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.CANCELING, tags={COMMAND_TAG: command}))
        for command in ("this", "another")
    )
    local_runner._record_cancelled(instance, "this")
    found = [instance.get_run_by_id(run.run_id) for run in (own, other)]
    assert [run and run.status for run in found] == [dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING]
