"""Runs that are made outside a code location belong to it all the same: Dagster's timeline shows no others."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData

from jgpt_dagster.orchestration.code_location import runs_of_code_location


@dg.asset
def text() -> None:
    pass


@pytest.mark.parametrize(
    ("loaded_as", "expected"),
    [([], "jgpt_dagster.definitions"), (["jgpt_dagster"], "jgpt_dagster"), (["x"] * 2, "x")],
    ids=["by no daemon yet", "under the name of a workspace.yaml", "with two sensors"],
)
def test_a_run_belongs_to_the_code_location_that_the_daemon_has_loaded(
    tmp_path: Path, loaded_as: list[str], expected: str
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for number, location in enumerate(loaded_as):
            repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
            origin, data = RemoteInstigatorOrigin(repository, f"sensor_{number}"), SensorInstigatorData(min_interval=30)
            state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, data)
            instance.add_instigator_state(state)
        job = dg.Definitions([text]).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=runs_of_code_location(instance, job.name))
        run = instance.get_run_by_id(result.run_id)
    assert run is not None and run.remote_job_origin is not None
    assert (run.remote_job_origin.location_name, run.remote_job_origin.job_name) == (expected, run.job_name)
