"""Runs of killed processes are ended, and what they held is free; those of living processes are left alone."""

import json
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from sqlalchemy import text

from jgpt_dagster.orchestration.abandoned_runs import (
    COMMAND_TAG,
    command_lock,
    fail_abandoned_runs,
    fail_lost_launches,
    record_process,
)
from jgpt_dagster_tests.support.deployments import DUMP, mini_deployment
from jgpt_dagster_tests.support.waiting import wait_until

FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        yield instance


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    yield shared_instance
    for run in shared_instance.get_runs():
        shared_instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        shared_instance.delete_run(run.run_id)


def started_run(
    instance: dg.DagsterInstance, tags: dict[str, str] | None = None, status: Any = dg.DagsterRunStatus.STARTED
) -> dg.DagsterRun:
    """Record a run that has begun and asks for the pool's slot."""
    run = dg.DagsterRun(job_name="job", run_id=str(uuid.uuid4()), tags=tags or {}, status=status)
    instance.add_run(run)
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "step")
    return run


def killed_process(work: Callable[[], object]) -> None:
    """Do something in a process of its own, which is then killed."""
    begun = FORK.Event()

    def body() -> None:
        work()
        begun.set()
        time.sleep(600)

    process = FORK.Process(target=body)
    process.start()
    assert begun.wait(240) and process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    (event,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.dagster_event is not None and event.dagster_event.message is not None
    return event.dagster_event.message


def slots(instance: dg.DagsterInstance) -> list[str]:
    return [slot.run_id for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots]


def age(instance: dg.DagsterInstance, run: dg.DagsterRun, minutes: float) -> None:
    """Date back the record of a run, and its events."""
    then = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=minutes)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text("UPDATE runs SET create_timestamp = :then WHERE run_id = :run"), {"then": then, "run": run.run_id}
        )


def test_the_run_of_a_killed_process_fails_and_frees_its_pool_slot(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run = started_run(instance)
    killed_process(lambda: record_process(instance, run, tmp_path))
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert "was killed" in reason(instance, run)
    assert slots(instance) == []
    assert list((tmp_path / ".locks").iterdir()) == []


def test_the_run_of_a_live_process_is_left_alone(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    run = started_run(instance)
    record_process(instance, run, tmp_path)
    reported: list[str] = []
    fail_abandoned_runs(instance, tmp_path, reported.append)
    assert status(instance, run) == dg.DagsterRunStatus.STARTED
    assert reported == [f"run {run.run_id} holds the pool 'gpu': a step of that pool waits until it ends"]


@pytest.mark.parametrize(
    ("host", "boot", "ended"),
    [("elsewhere", "another boot", False), (None, "another boot", True), ("a container", None, True)],
    ids=["another host", "this host before it restarted", "a container of this host"],
)
def test_a_lock_is_judged_only_where_it_tells_the_truth(
    tmp_path: Path, instance: dg.DagsterInstance, host: str | None, boot: str | None, ended: bool
) -> None:
    run = started_run(instance)
    killed_process(lambda: record_process(instance, run, tmp_path))
    (record,) = (tmp_path / ".locks").glob("process-*.json")
    given = {name: value for name, value in (("host", host), ("boot", boot)) if value}
    record.write_text(json.dumps({**json.loads(record.read_text()), **given}))
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    assert (status(instance, run) == dg.DagsterRunStatus.FAILURE) == ended


def test_a_run_that_is_being_terminated_while_its_process_dies_is_canceled(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run = started_run(instance)
    killed_process(lambda: record_process(instance, run, tmp_path))
    instance.report_run_canceling(run)
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert status(instance, run) == dg.DagsterRunStatus.CANCELED


def test_a_retry_does_not_die_of_the_tags_that_it_inherits(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    first = started_run(instance)
    killed_process(lambda: record_process(instance, first, tmp_path))
    with pytest.raises(KeyboardInterrupt), command_lock(instance, tmp_path) as command:
        raise KeyboardInterrupt
    found = instance.get_run_by_id(first.run_id)
    assert found is not None
    retry = replace_run(found, **{COMMAND_TAG: command})
    instance.add_run(retry)
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    assert status(instance, first) == dg.DagsterRunStatus.FAILURE
    assert status(instance, retry) == dg.DagsterRunStatus.STARTED


def replace_run(run: dg.DagsterRun, **tags: str) -> dg.DagsterRun:
    """Return a retry of a run."""
    return dg.DagsterRun(
        job_name=run.job_name,
        tags={**run.tags, **tags},
        status=dg.DagsterRunStatus.STARTED,
        parent_run_id=run.run_id,
        root_run_id=run.run_id,
    )


def test_a_dead_process_of_another_instance_is_left_to_that_instance(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "other").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "other")) as other:
        other.event_log_storage.set_concurrency_slots("gpu", 1)
        run = started_run(other)
        killed_process(lambda: record_process(other, run, tmp_path))
        fail_abandoned_runs(instance, tmp_path, pytest.fail)
        assert status(other, run) == dg.DagsterRunStatus.STARTED
        fail_abandoned_runs(other, tmp_path, pytest.fail)
        assert status(other, run) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("state", "minutes", "ended"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, 11, True),
        (dg.DagsterRunStatus.STARTED, 11, True),
        (dg.DagsterRunStatus.STARTED, 5, False),
        (dg.DagsterRunStatus.STARTING, 11, False),
    ],
)
def test_a_run_killed_before_its_first_step_ends_after_ten_minutes(
    tmp_path: Path, instance: dg.DagsterInstance, state: dg.DagsterRunStatus, minutes: float, ended: bool
) -> None:
    run = started_run(instance, status=state)
    age(instance, run, minutes)
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    assert (status(instance, run) == dg.DagsterRunStatus.FAILURE) == ended


def test_the_run_of_a_dead_command_fails_and_frees_its_pool_slot(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyboardInterrupt), command_lock(instance, tmp_path) as command:
        run = started_run(instance, {COMMAND_TAG: command})
        raise KeyboardInterrupt
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert slots(instance) == []


def test_the_run_of_a_live_command_is_left_alone_and_reported(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    reported: list[str] = []
    with command_lock(instance, tmp_path) as command:
        run = started_run(instance, {COMMAND_TAG: command})
        fail_abandoned_runs(instance, tmp_path, reported.append)
    assert status(instance, run) == dg.DagsterRunStatus.STARTED
    assert slots(instance) == [run.run_id]
    assert reported == [f"run {run.run_id} holds the pool 'gpu': a step of that pool waits until it ends"]


def test_the_run_of_a_dead_command_of_an_earlier_release_fails_too(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(KeyboardInterrupt), command_lock(instance, tmp_path) as command:
        run = started_run(instance, {"jgpt/command": command})
        raise KeyboardInterrupt
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("tags", [{}, {COMMAND_TAG: "of another data root"}], ids=["from the UI", "another root"])
def test_a_run_of_another_origin_is_left_alone(
    tmp_path: Path, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    run = started_run(instance, tags)
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_pool_slot_of_a_finished_run_is_freed(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    run = started_run(instance)
    instance.report_run_failed(run)
    fail_abandoned_runs(instance, tmp_path, pytest.fail)
    assert slots(instance) == []


def test_a_dead_run_that_waited_for_a_slot_is_not_given_one(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    holder, waiting = started_run(instance), started_run(instance)
    instance.report_run_failed(waiting)
    fail_abandoned_runs(instance, tmp_path, lambda _: None)
    pending = instance.event_log_storage.get_concurrency_info("gpu").pending_steps
    assert slots(instance) == [step.run_id for step in pending] == [holder.run_id]


def test_a_command_that_ended_well_leaves_nothing(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with command_lock(instance, tmp_path):
        pass
    assert list((tmp_path / ".locks").iterdir()) == []


@pytest.mark.parametrize("health", [WorkerStatus.FAILED, WorkerStatus.RUNNING])
def test_a_run_that_its_worker_lost_before_it_began_is_ended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, health: WorkerStatus
) -> None:
    launcher = type(instance.run_launcher)
    monkeypatch.setattr(launcher, "supports_check_run_worker_health", True)
    monkeypatch.setattr(launcher, "check_run_worker_health", lambda *_: CheckRunHealthResult(health, "w is gone"))
    run = started_run(instance, status=dg.DagsterRunStatus.STARTING)
    fail_lost_launches(instance)
    ended = status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert ended == (health == WorkerStatus.FAILED)
    assert not ended or reason(instance, run) == "w is gone"


def test_every_run_names_its_process(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    (record,) = (deployment.data / ".locks").glob("process-*.json")
    assert json.loads(record.read_text())["pid"] == os.getpid()


@pytest.mark.long
def test_everything_goes_on_after_dagster_asset_materialize_is_killed(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    deployment.invoke("dumps", "add", DUMP)
    fifo = tmp_path / "mirror" / "miniwiki" / DUMP / "dumpstatus.json"
    fifo.unlink()
    os.mkfifo(fifo)  # the download waits here
    arguments = ("--select", "wikipedia_dump", "--partition", DUMP, "-m", "jgpt_dagster.definitions")
    process = deployment.start("dagster", "asset", "materialize", *arguments)
    wait_until(lambda: list((deployment.data / ".locks").glob("wikipedia_dump__*.json")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.STARTED
        deployment.invoke("status")
        assert status(instance, run) == dg.DagsterRunStatus.FAILURE
