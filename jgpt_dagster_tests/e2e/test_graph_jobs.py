"""One job brings a dump up to its training set, as `jgpt run` would: recorded runs of what is not current."""

import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.assets.graph_jobs import JOBS
from jgpt_dagster.definitions import defs
from jgpt_dagster.orchestration.dump_dates import LATEST
from jgpt_dagster_tests.support.deployments import DUMP, mini_deployment, write_config

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
        assert repository.get_schedule_def(f"{name}_schedule").default_status.value == "STOPPED"


@pytest.mark.slow
def test_a_job_makes_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    config = write_config(tmp_path / "run.yaml", CONFIG)
    deployment = deployment.with_settings(RUN_CONFIG=str(config))
    asked = {"ops": {f"bring_{JOB}": {"config": {"dump": "latest"}}}}
    command = ("dagster", "job", "execute", "-m", "jgpt_dagster.definitions", "-j", JOB)
    job_config = tmp_path / "job.yaml"
    job_config.write_text(json.dumps(asked))  # JSON is YAML
    deployment.invoke("dumps", "list")  # makes DAGSTER_HOME
    output = deployment.succeed(*command, "-c", job_config)
    assert "training_set: 0 verified, 1 made (it was not there)" in output
    made = deployment.root.directory("training_set", DUMP).verified()
    assert made.recipe.settings["validation_share"] == 0.3
    before = deployment.mtimes()
    again = deployment.succeed(*command, "-c", job_config)
    assert "training_set: 1 verified, 0 made" in again and " 1 made" not in again
    assert deployment.mtimes() == before
    job_config.write_text(json.dumps({"ops": {f"bring_{JOB}": {"config": {"dump": "20261301"}}}}))
    refused = deployment.run(*command, "-c", job_config)
    assert refused.code and "20261301 is not the date of a day" in refused.output
