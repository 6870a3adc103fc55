"""What the runs that a Dagster instance has recorded make, which of them are at work, and why those that failed did."""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from jgpt_dagster.catalog.missing_work import MODEL_ASSETS, text_assets
from jgpt_dagster.catalog.status import Run
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.artifact import Artifact

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

# Enough for all shards of a dump several times over; what failed before that many runs is no news.
_RECENT = 2_000


def unfinished(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Return the runs that are queued or at work."""
    return instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))


def assets_of(run: dg.DagsterRun) -> set[str]:
    """Return the assets that a run makes; a job that was launched as a whole names none, and may make any."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    if selected:
        return selected
    texts = (asset for corpus in load_settings().corpora for asset in text_assets(corpus))
    return {"wikipedia_dump", *texts, "tokenizer", "training_set", *MODEL_ASSETS}


def partition_of(tags: Mapping[str, str]) -> str | None:
    """Return the partition that a run's tags name, a range as `first...last`; None for what has no partitions."""
    if RANGE_START in tags and tags[RANGE_START] != tags.get(RANGE_END, tags[RANGE_START]):
        return f"{tags[RANGE_START]}...{tags[RANGE_END]}"
    return tags.get(PARTITION) or tags.get(RANGE_START)


def makes(run: dg.DagsterRun, output: Artifact) -> bool:
    """Say whether an output is among those that a run is, or was, to make."""
    start = run.tags.get(RANGE_START) or run.tags.get(PARTITION, "")
    end = run.tags.get(RANGE_END) or start
    return output.asset in assets_of(run) and (not start or start <= output.partition <= end)


def recent_runs(instance: dg.DagsterInstance) -> list[Run]:
    """Return the last runs, newest first, in the terms of `status`."""
    return [_told(instance, run) for run in instance.get_runs(limit=_RECENT)]


def failure_reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why a run failed, in one line: what its first failed step said or, where none ran, what Dagster says."""
    failures = instance.all_logs(run_id, of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE})
    for entry in failures:
        data = entry.dagster_event.event_specific_data if entry.dagster_event else None
        described = getattr(data, "user_failure_data", None)
        if described and described.description:
            return str(described.description).splitlines()[0]
        error = getattr(data, "error", None)
        while error and error.cause:
            error = error.cause
        text = error.message if error else entry.dagster_event.message if entry.dagster_event else ""
        if text and text.strip():
            return str(text).strip().splitlines()[0]
    return "its log tells nothing"


def failed_checks(instance: dg.DagsterInstance, definitions: dg.Definitions) -> Callable[[Artifact], str]:
    """Return a function that says why an output is no good, by the last evaluations of its blocking checks."""
    keys = list(definitions.resolve_asset_graph().asset_check_keys)
    found: dict[tuple[str, str | None], str] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys):
        if info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED and info.is_current:
            record = instance.event_log_storage.get_asset_check_execution_history(
                info.check_key, limit=1, partition_filter=PartitionKeyFilter(key=info.partition_key)
            )[0]
            event = record.event.dagster_event if record.event else None
            evaluation = event.asset_check_evaluation_data if event else None
            if evaluation and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                of = (info.check_key.asset_key.to_user_string(), info.partition_key)
                found[of] = (
                    f"check {info.check_key.name} failed: {evaluation.description or info.latest_planned_run_id}"
                )
    return lambda output: found.get((output.asset, output.partition)) or found.get((output.asset, None), "")


def _told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Run:
    failed = run.status == dg.DagsterRunStatus.FAILURE
    return Run(
        run.run_id,
        "running" if run.status in _UNFINISHED else "failed" if failed else "ended",
        lambda output: makes(run, output),
        lambda: failure_reason(instance, run.run_id),
    )
