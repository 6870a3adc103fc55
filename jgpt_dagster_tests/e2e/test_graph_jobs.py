"""One job brings a dump up to its training set, as `jgpt run` would: recorded runs of what is not current."""

import json
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.assets.graph_jobs import JOBS
from jgpt_dagster.definitions import defs
from jgpt_dagster.orchestration.dump_dates import LATEST
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment, write_config
from jgpt_dagster_tests.support.waiting import wait_until

JOB = "dump_to_training_set"
CONFIG: dict[str, dict[str, Any]] = {
    "tokenizer": {"vocab_size": 600, "limit_alphabet": 300},
    "training_set": {"validation_share": 0.3},
}


def test_the_jobs_ask_for_a_dump_and_a_model_and_their_schedules_are_off() -> None:
    repository = defs.get_repository_def()
    for name, until in JOBS.items():
        job = repository.get_job(name)
        (op,) = job.nodes
        schema: Any = op.definition.config_schema
        default = schema.as_field().config_type.fields
        assert {field: default[field].default_value for field in ("dump", "to")} == {"dump": LATEST, "to": until}
        schedule = repository.get_schedule_def(f"{name}_schedule")
        assert schedule.default_status.value == "STOPPED"
        tick = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC)))
        (request,) = tick.run_requests or ()
        assert dg.validate_run_config(repository.get_job(name), request.run_config)


@pytest.mark.slow
def test_a_job_that_is_terminated_cancels_its_runs_and_goes_on_makes_what_is_missing_and_nothing_twice(
    tmp_path: Path,
) -> None:
    deployment = mini_deployment(tmp_path)
    config = write_config(tmp_path / "run.yaml", CONFIG)
    deployment = deployment.with_settings(RUN_CONFIG=str(config))
    asked = {"ops": {f"bring_{JOB}": {"config": {"dump": "latest"}}}}
    command = ("dagster", "job", "execute", "-m", "jgpt_dagster.definitions", "-j", JOB)
    job_config = tmp_path / "job.yaml"
    job_config.write_text(json.dumps(asked))  # JSON is YAML
    deployment.invoke("dumps", "list")  # makes DAGSTER_HOME
    assert terminated(deployment, command) == {dg.DagsterRunStatus.CANCELED}
    # As a schedule fires it, which gives no config.
    output = deployment.succeed(*command)
    assert "training_set: 0 verified, 1 made (it was not there)" in output
    made = deployment.root.directory("training_set", DUMP).verified()
    assert made.recipe.settings["validation_share"] == 0.3
    before = deployment.mtimes()
    again = deployment.succeed(*command, "-c", job_config)
    assert "training_set: 1 verified, 0 made" in again and " 1 made" not in again
    assert deployment.mtimes() == before
    job_config.write_text(json.dumps({"ops": {f"bring_{JOB}": {"config": {"dump": 20261301}}}}))  # unquoted
    refused = deployment.run(*command, "-c", job_config)
    assert refused.code and "20261301 is not the date of a day" in refused.output


def terminated(deployment: Deployment, command: Sequence[str]) -> set[dg.DagsterRunStatus]:
    """Start the job, do what Dagster does to terminate it once it makes something, and return how its runs ended."""
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        assert not started(instance)  # makes Dagster's tables: two processes that do so at once disturb one another
        job = deployment.start(*command)
        try:
            wait_until(lambda: any(run.asset_selection for run in started(instance)))
            (own,) = (run for run in started(instance) if run.job_name == JOB)
            instance.report_run_canceling(own)
            os.kill(job.pid, signal.SIGINT)
            job.wait(120)
            return {run.status for run in instance.get_runs() if not run.is_success}
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)


def started(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
