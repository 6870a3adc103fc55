"""Recorded Dagster runs: what each makes, which are unfinished, and why one failed or was interrupted."""

from collections.abc import Sequence
from typing import Literal

import dagster as dg

from jgpt_dagster.catalog.status import RunSummary
from jgpt_dagster.orchestration.run_facts import (
    PARTITION,
    RANGE_START,
    RECENT,
    first_reason,
    made_assets,
    makes_output,
)
from jgpt_dagster.storage.artifact import Artifact

STARTED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""The states of a run that a process has, or is about to have."""

_ENDS = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}

_UNFINISHED = (*STARTED, dg.DagsterRunStatus.QUEUED)

_STATES: dict[dg.DagsterRunStatus, Literal["failed", "cancelled"]] = {
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "cancelled",
}


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Return the runs that are queued or in progress."""
    return instance.get_runs(filters=dg.RunsFilter(statuses=list(_UNFINISHED)))


def assets_of(run: dg.DagsterRun) -> set[str]:
    """Return the assets that a run makes; a job launched as a whole names none and may make any."""
    return made_assets(_selected(run))


def makes(run: dg.DagsterRun, output: Artifact) -> bool:
    """Return whether an output is among those that a run makes, or was to make."""
    return makes_output(run.tags, _selected(run), output)


def runs_using_dump(instance: dg.DagsterInstance, dump: str, dated_assets: Sequence[str]) -> list[str]:
    """Return the ids of the unfinished runs that make something of a dump, or reuse it for a later one.

    `dated_assets` are the sharded assets that reuse rows of an earlier dump.
    """
    found = []
    for run in unfinished_runs(instance):
        key = run.tags.get(PARTITION) or run.tags.get(RANGE_START, "")
        date = key.partition("|")[0]
        if date == dump or (date > dump and assets_of(run) & set(dated_assets)):
            found.append(run.run_id)
    return found


def recent_runs(instance: dg.DagsterInstance) -> list[RunSummary]:
    """Return the last runs, newest first, and before them the unfinished ones, as `status` needs them."""
    return [_summary(instance, run) for run in (*unfinished_runs(instance), *instance.get_runs(limit=RECENT))]


def failure_reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why a run failed or was cancelled, in one line: the cause of its first failed step, else Dagster's own."""
    failures = instance.all_logs(run_id, of_type=_ENDS)
    return first_reason(entry.dagster_event for entry in failures if entry.dagster_event)


def _selected(run: dg.DagsterRun) -> set[str]:
    return {key.to_user_string() for key in run.asset_selection or ()}


def _summary(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunSummary:
    return RunSummary(
        run.run_id,
        "running" if run.status in _UNFINISHED else _STATES.get(run.status, "ended"),
        lambda output: makes(run, output),
        lambda: failure_reason(instance, run.run_id),
    )
