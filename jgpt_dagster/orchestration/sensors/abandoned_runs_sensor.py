"""`abandoned_runs_sensor`: ends the runs whose process was killed, wherever Dagster's daemon runs."""

import dagster as dg

from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs, fail_lost_launches
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.sensors.described_sensor import described_sensor
from jgpt_dagster.orchestration.sensors.run_requests import skip_on_error

_INTERVAL_SECONDS = 30


def build_abandoned_runs_sensor() -> dg.SensorDefinition:
    """Return the sensor, which is on by default: a run that nothing makes any more keeps others waiting."""

    @described_sensor(minimum_interval_seconds=_INTERVAL_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
    def abandoned_runs_sensor(
        context: dg.SensorEvaluationContext, store: CorpusStore
    ) -> dg.SensorResult | dg.SkipReason:
        """Ends the runs whose process was killed and frees what they held. Starts nothing."""
        return skip_on_error(lambda: _evaluate(context, store))

    return abandoned_runs_sensor


def _evaluate(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SkipReason:
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    fail_lost_launches(context.instance)
    return dg.SkipReason("Every unfinished run that can be judged here has a live process.")
