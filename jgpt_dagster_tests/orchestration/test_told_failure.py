"""A run that fails shows its cause alone, in the UI, in status and in alerts; a bug keeps its traceback."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import JobFailureData
from dagster_shared.error import SerializableErrorInfo
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.failure_webhook import failure_message
from jgpt_dagster.orchestration.run_history import failure_reason
from jgpt_dagster.orchestration.told_failure import ToldInterrupt, told

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Failing(dg.Config):
    """How the stage fails."""

    how: str = "error"
    share: float = Field(default=0.5, ge=0, le=1)


@pytest.fixture(scope="module")
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture(scope="module")
def job() -> dg.JobDefinition:
    """A job of one stage, which fails as its config says."""

    @stage_asset("tokenizer", group="test", kinds=set(), code_version="1")
    def tokenizer(context: dg.AssetExecutionContext, config: Failing) -> None:
        """Fail."""
        errors: dict[str, BaseException] = {
            "error": JgptError("shard 003 is damaged\nMake it again"),
            "disk": OSError(28, "No space left on device", "/data/shard"),
            "memory": MemoryError(),
            "steering": JgptError("page \x1b[2J"),
            "interrupt": DagsterExecutionInterruptedError(),
            "training": ToldInterrupt("interrupted at step 3, goes on with: jgpt run --dump 20260101"),
            "bug": KeyError("title"),
        }
        raise errors[config.how]

    return dg.Definitions([tokenizer], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()


def failures(job: dg.JobDefinition, instance: dg.DagsterInstance, **config: Any) -> tuple[dg.DagsterRun, list[Any]]:
    """Run the stage; return the run and the errors that Dagster has recorded, of the step and of the run."""
    run_config = {"ops": {"tokenizer": {"config": config}}, **_QUIET}
    result = job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    events = [entry.dagster_event for entry in instance.all_logs(result.run_id)]
    errors = [getattr(event.event_specific_data, "error", None) for event in events if event and event.is_failure]
    assert run and run.status == dg.DagsterRunStatus.FAILURE and len(errors) == 2
    return run, errors


@pytest.mark.parametrize(
    ("config", "told_first"),
    [
        ({"how": "error"}, "shard 003 is damaged"),
        ({"how": "disk"}, "/data/shard: the disk is full. Free some space"),
        ({"how": "memory"}, "out of memory."),
        ({"how": "steering"}, "page \\x1b[2J"),
        ({"how": "interrupt"}, "interrupted; what was finished is kept"),
        ({"how": "training"}, "interrupted at step 3, goes on with: jgpt run --dump 20260101"),
        ({"share": 7.5}, "the run config is wrong: tokenizer: share is 7.5: Input should be less than or equal to 1"),
    ],
    ids=str,
)
def test_the_first_line_of_a_failed_run_is_its_cause_and_there_is_no_traceback(
    job: dg.JobDefinition, instance: dg.DagsterInstance, config: dict[str, Any], told_first: str
) -> None:
    run, errors = failures(job, instance, **config)
    for error in errors:
        assert error.message.startswith(told_first)
        assert not error.stack and error.cause is None and error.context is None
    reason = failure_reason(instance, run.run_id)
    assert reason == errors[0].message.splitlines()[0]
    assert failure_message(instance, run)["error"] == reason


def test_a_bug_keeps_its_traceback(job: dg.JobDefinition, instance: dg.DagsterInstance) -> None:
    run, errors = failures(job, instance, how="bug")
    assert errors[0].cause.stack and "title" in failure_reason(instance, run.run_id)


def test_an_error_of_dagsters_own_database_is_told_from_its_text(instance: dg.DagsterInstance) -> None:
    run = dg.DagsterRun("job")
    instance.add_run(run)
    error = "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full\n[SQL: INSERT …]"
    data = JobFailureData(error=SerializableErrorInfo(error, ["File …"], "OperationalError"))
    instance.report_run_failed(run, "An exception was thrown during execution.", data)
    assert "the disk is full. Free some space" in failure_reason(instance, run.run_id)


def test_what_is_told_once_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure) as error, told(), told():
        (tmp_path / "no" / "file").touch()
    assert str(error.value.description).startswith(f"{tmp_path}/no/file: it is missing.")
