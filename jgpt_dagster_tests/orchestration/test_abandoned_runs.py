"""Runs of killed commands are ended, and what they held is free; those of living commands are left alone."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, command_lock, fail_abandoned_runs


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        yield instance


def started_run(instance: dg.DagsterInstance, **tags: str) -> str:
    """Record a run that has begun and holds the pool's slot."""
    run = dg.DagsterRun(job_name="job", run_id=str(uuid.uuid4()), tags=tags, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "step")
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def slots(instance: dg.DagsterInstance) -> list[str]:
    return [slot.run_id for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots]


def test_the_run_of_a_dead_command_fails_and_frees_its_pool_slot(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyboardInterrupt), command_lock(tmp_path) as command:
        run_id = started_run(instance, **{COMMAND_TAG: command})
        raise KeyboardInterrupt
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert slots(instance) == []


def test_the_run_of_a_live_command_is_left_alone_and_reported(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    reported: list[str] = []
    with command_lock(tmp_path) as command:
        run_id = started_run(instance, **{COMMAND_TAG: command})
        fail_abandoned_runs(instance, tmp_path, reported.append)
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert slots(instance) == [run_id]
    assert reported == [f"run {run_id} holds the pool 'gpu': a step of that pool waits until it ends"]


@pytest.mark.parametrize("tags", [{}, {COMMAND_TAG: "of another data root"}], ids=["from the UI", "another root"])
def test_a_run_of_another_origin_is_left_alone(
    tmp_path: Path, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    run_id = started_run(instance, **tags)
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED


def test_a_pool_slot_of_a_finished_run_is_freed(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    run_id = started_run(instance)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_failed(run)
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert slots(instance) == []


def test_a_command_that_ended_well_leaves_nothing(tmp_path: Path) -> None:
    with command_lock(tmp_path):
        pass
    assert list((tmp_path / ".locks").iterdir()) == []
