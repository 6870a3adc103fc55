"""`refresh_sensor`: requests what is missing on disk for the newest fetched dump, up to its training set.

A dump whose text failed a check is left to a person, and the one before it is the newest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from jgpt_dagster.catalog.missing_work import WorkItem, work_of_dump
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, text_assets
from jgpt_dagster.orchestration.abandoned_runs import command_of, fail_abandoned_runs
from jgpt_dagster.orchestration.existing_models import report_existing_models
from jgpt_dagster.orchestration.partitions import known_dumps
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.run_history import assets_of, unfinished_runs
from jgpt_dagster.orchestration.sensors.described_sensor import described_sensor
from jgpt_dagster.orchestration.sensors.run_requests import TICK_SECONDS, request_runs, skip, skip_on_error
from jgpt_dagster.settings import Settings


def build_refresh_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor; JGPT_REFRESH decides whether it runs by default."""
    dumps = {corpus.source_asset for corpus in settings.corpora if corpus.dated}
    assets = [asset for asset in text_assets(settings.corpora) if asset not in dumps]

    @described_sensor(
        asset_selection=dg.AssetSelection.assets(*assets),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.refresh == "on" else dg.DefaultSensorStatus.STOPPED,
    )
    def refresh_sensor(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SensorResult | dg.SkipReason:
        """Starts what is missing on disk for the newest fetched dump and can be made, up to its training set."""
        return skip_on_error(lambda: _evaluate(context, store, settings))

    return refresh_sensor


@dataclass(frozen=True)
class UsableDump:
    """The newest dump on disk whose text passed its checks (None: there is none), and why newer ones are left out."""

    date: str | None
    items: Sequence[WorkItem]
    failures: Sequence[str]

    def skip(self, reason: str) -> dg.SkipReason:
        """Return a skip reason that names the newer dumps too."""
        return skip([*(f"{failure}. Nothing is built on it" for failure in self.failures), reason])


def newest_usable_dump(instance: dg.DagsterInstance, store: CorpusStore) -> UsableDump:
    """Return the newest dump on disk of which no check failed, with what is missing of it."""
    failures = list[str]()
    for dump in reversed(known_dumps(instance)):
        if store.directory("wikipedia_dump", dump).manifest():
            work = work_of_dump(store.catalog, dump)
            if not work.failure:
                return UsableDump(dump, work.items, failures)
            failures.append(work.failure)
    return UsableDump(None, [], failures)


def _evaluate(
    context: dg.SensorEvaluationContext, store: CorpusStore, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    usable = newest_usable_dump(context.instance, store)
    dump = usable.date
    if dump is None:
        return usable.skip("No dump is here yet.")
    report_existing_models(context.instance, store.root)
    if not usable.items:
        if store.directory("training_set", dump).manifest():
            return usable.skip(f"The dump of {dump} has its training set.")
        return usable.skip(f"The dump of {dump} has no training set, and nothing that leads to it can be made.")
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    for run in unfinished_runs(context.instance):
        if command_of(run) and not assets_of(run) <= {"wikipedia_dump", *MODEL_ASSETS}:
            return dg.SkipReason(f"A `jgpt run` is in progress (run {run.run_id}): it makes what is missing itself.")
    requests, reasons = request_runs(context, usable.items, settings)
    return dg.SensorResult(run_requests=requests) if requests else skip(reasons)
