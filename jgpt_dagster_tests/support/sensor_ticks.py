"""What a sensor's tick is given in a test, and the runs that its requests lead to."""

import uuid
from dataclasses import dataclass
from typing import Any

import dagster as dg

from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import Deployment


@dataclass(frozen=True)
class Desk:
    """What a sensor's tick is given: a deployment's settings and a Dagster instance."""

    deployment: Deployment
    instance: dg.DagsterInstance

    def tick(self, sensor: str, cursor: str | None = None) -> Any:
        values: dict[str, Any] = {name.lower(): value for name, value in self.deployment.settings.items()}
        definitions = build_definitions(Settings(data=self.deployment.data, scratch=None, **values))
        repository = definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            instance_ref=self.instance.get_ref(),
            cursor=cursor,
            repository_def=repository,
            resources=repository.get_top_level_resources(),
        )
        return repository.get_sensor_def(sensor).evaluate_tick(context)

    def asked(self, sensor: str) -> list[tuple[list[str], str | None]]:
        """Return assets and partition of each run that a tick asks for."""
        return [(assets(request), request.partition_key) for request in self.tick(sensor).run_requests or ()]

    def reason(self, sensor: str, cursor: str | None = None) -> str:
        """Return why a tick asks for nothing."""
        result = self.tick(sensor, cursor)
        assert not result.run_requests and not result.dynamic_partitions_requests
        assert result.cursor == cursor
        assert isinstance(result.skip_message, str)
        return result.skip_message

    def record(self, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str) -> str:
        """Record the run that a request leads to, in a state."""
        run = dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id=str(uuid.uuid4()),
            asset_selection=frozenset(request.asset_selection or ()),
            tags={**request.tags, **tags},
        )
        self.instance.add_run(run)
        if status == dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
        elif status == dg.DagsterRunStatus.CANCELED:
            self.instance.report_run_canceled(run)
        else:
            assert status == dg.DagsterRunStatus.NOT_STARTED
        return run.run_id


def assets(request: dg.RunRequest) -> list[str]:
    return [key.to_user_string() for key in request.asset_selection or ()]
