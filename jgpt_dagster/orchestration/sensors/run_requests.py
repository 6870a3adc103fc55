"""Run requests of the sensors, and their retry policy.

A run that failed is requested again after 5 and after 10 minutes, then left to a person. A run that a person terminated
is not requested again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.catalog.missing_work import WorkItem
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.run_config import read_run_config
from jgpt_dagster.orchestration.run_facts import RANGE_END, RANGE_START
from jgpt_dagster.orchestration.run_history import makes, unfinished_runs
from jgpt_dagster.settings import Settings

WORK_TAG = "jgpt/work"
"""The run tag that names the work item a run was requested for, so that its attempts can be counted."""

TICK_SECONDS = 10

_MAX_ATTEMPTS = 3
_FIRST_RETRY_SECONDS = 300.0
_REASONS_SHOWN = 4


def request_runs(
    context: dg.SensorEvaluationContext, items: Sequence[WorkItem], settings: Settings
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return a request for each work item that is due, and for each of the others the reason why it is not."""
    instance = context.instance
    running, attempts = unfinished_runs(instance), _previous_attempts(instance, items)
    config = _run_config(context, settings)
    requests, reasons = list[dg.RunRequest](), list[str]()
    for item in items:
        previous = attempts.get(item.key, [])
        if reason := _already_running(item, running) or _waiting_reason(item, previous):
            reasons.append(reason)
            continue
        partitions = item.partitions
        range_tags = {RANGE_START: partitions[0], RANGE_END: partitions[-1]} if len(partitions) > 1 else {}
        requests.append(
            dg.RunRequest(
                run_key=f"{item.key}, again {len(previous)}" if previous else item.key,
                asset_selection=[dg.AssetKey(asset) for asset in item.assets],
                partition_key=partitions[0] if len(partitions) == 1 else None,
                run_config={"ops": {asset: config[asset] for asset in item.assets if asset in config}},
                tags={WORK_TAG: item.key, **range_tags},
            )
        )
    return requests, reasons


def given_up(instance: dg.DagsterInstance, items: Sequence[WorkItem]) -> dict[WorkItem, str]:
    """Return the work items that failed too often, so that they are left to a person, with the reason in words."""
    attempts = _previous_attempts(instance, items) if items else {}
    running = unfinished_runs(instance) if attempts else []
    return {
        item: reason
        for item in items
        if (reason := _failed_too_often(item, attempts.get(item.key, []))) and not _already_running(item, running)
    }


def skip(reasons: Sequence[str]) -> dg.SkipReason:
    """Return a skip reason of the first few reasons and the number of the others."""
    more = len(reasons) - _REASONS_SHOWN
    return dg.SkipReason("; ".join(reasons[:_REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else ""))


def skip_on_error(tick: Callable[[], dg.SensorResult | dg.SkipReason]) -> dg.SensorResult | dg.SkipReason:
    """Return what a tick decides, or the error that keeps it from deciding: a mirror that is down is no failure."""
    try:
        return tick()
    except (JgptError, OSError) as error:
        return dg.SkipReason(str(error))


def _run_config(context: dg.SensorEvaluationContext, settings: Settings) -> Mapping[str, Any]:
    """Return the run config, by op, of the runs that sensors start. Raises JgptError as `read_run_config` does."""
    if settings.run_config is None or context.repository_def is None:
        return {}
    ops: Mapping[str, Any] = read_run_config(context.repository_def.asset_graph, settings.run_config)["ops"]
    return KeptConfig(settings.catalog).without_kept(ops, settings.model)


def _previous_attempts(instance: dg.DagsterInstance, items: Sequence[WorkItem]) -> dict[str, list[dg.RunRecord]]:
    """Return the finished runs that were started for each work item, by its key, newest first."""
    found: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(filters=dg.RunsFilter(tags={WORK_TAG: [item.key for item in items]})):
        if record.dagster_run.is_finished:
            found.setdefault(record.dagster_run.tags[WORK_TAG], []).append(record)
    return found


def _already_running(item: WorkItem, runs: Sequence[dg.DagsterRun]) -> str | None:
    """Return which unfinished run makes an output of a work item; None if none does."""
    for run in runs:
        if any(makes(run, output) for output in item.outputs):
            return f"{item.name}: run {run.run_id} is {run.status.value.lower().replace('_', ' ')}"
    return None


def _waiting_reason(item: WorkItem, previous: Sequence[dg.RunRecord]) -> str | None:
    """Return why a work item is not tried again now; None if it is due.

    A run that succeeded counts as an attempt too: its output may have been deleted since.
    """
    if not previous:
        return None
    last = previous[0]
    if last.dagster_run.status == dg.DagsterRunStatus.CANCELED:
        return f"{item.name}: run {last.dagster_run.run_id} was terminated; materialize it by hand to continue"
    if reason := _failed_too_often(item, previous):
        return reason
    wait = (last.end_time or 0) + _FIRST_RETRY_SECONDS * 2 ** (len(previous) - 1) - time.time()
    return f"{item.name}: run {last.dagster_run.run_id} failed; retry in {wait:.0f} s" if wait > 0 else None


def _failed_too_often(item: WorkItem, previous: Sequence[dg.RunRecord]) -> str | None:
    if len(previous) < _MAX_ATTEMPTS or previous[0].dagster_run.status == dg.DagsterRunStatus.CANCELED:
        return None
    return (
        f"{item.name}: {len(previous)} runs did not produce it, the last is {previous[0].dagster_run.run_id}; fix what "
        "its log names, then materialize it by hand"
    )
