"""`train_sensor`: requests training, evaluation and release for the newest dump once it has its training set."""

import dagster as dg

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.catalog.missing_work import missing_model_work
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.sensors.described_sensor import described_sensor
from jgpt_dagster.orchestration.sensors.refresh_sensor import newest_usable_dump
from jgpt_dagster.orchestration.sensors.run_requests import TICK_SECONDS, request_runs, skip, skip_on_error
from jgpt_dagster.settings import Settings


def build_train_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor, which is off until somebody switches it on: training is expensive."""

    @described_sensor(
        asset_selection=dg.AssetSelection.assets(*MODEL_ASSETS),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def train_sensor(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SensorResult | dg.SkipReason:
        """Trains, evaluates and releases a model once the newest dump has its training set.

        With `warm_start: true` in the run config of `pretrained_model` (JGPT_RUN_CONFIG), training continues from the
        model of an earlier dump.
        """
        return skip_on_error(lambda: _evaluate(context, store, settings))

    return train_sensor


def _evaluate(
    context: dg.SensorEvaluationContext, store: CorpusStore, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    usable = newest_usable_dump(context.instance, store)
    dump = usable.date
    if dump is None or store.directory("training_set", dump).manifest() is None:
        return usable.skip(f"The training set of {dump or 'a first dump'} is not made yet.")
    required = required_checks(store.corpora)
    for output in (store.catalog.training_set(dump), *store.catalog.model_outputs(dump)):
        manifest = output.manifest()
        judgement = judge(output, manifest, required) if manifest else None
        if judgement and judgement.quality == "failed":
            return dg.SkipReason(f"{output.label}: {judgement.reason}. Nothing is built on it.")
    item = missing_model_work(store.catalog, dump)
    if item is None:
        return usable.skip(f"The dump of {dump} has its release of model {store.model}.")
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    requests, reasons = request_runs(context, [item], settings)
    if not requests:
        return skip(reasons)
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest("model", [store.model])]
    )
