"""The sensors of a deployment: what Dagster's daemon starts without a person.

`new_dump_sensor` asks the mirror for a new dump, `refresh_sensor` starts what is missing up to its training set, and
`train_sensor` starts training where somebody switches it on. None of them does the work of a stage. `run_requests`
holds the retry policy that they share. `abandoned_runs_sensor` ends the runs of killed processes.
"""

import dagster as dg

from jgpt_dagster.orchestration.sensors.abandoned_runs_sensor import build_abandoned_runs_sensor
from jgpt_dagster.orchestration.sensors.new_dump_sensor import build_new_dump_sensor
from jgpt_dagster.orchestration.sensors.refresh_sensor import build_refresh_sensor
from jgpt_dagster.orchestration.sensors.train_sensor import build_train_sensor
from jgpt_dagster.settings import Settings


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensors of a deployment; JGPT_REFRESH decides whether the two that refresh run by default."""
    return [
        build_new_dump_sensor(settings),
        build_refresh_sensor(settings),
        build_train_sensor(settings),
        build_abandoned_runs_sensor(),
    ]
