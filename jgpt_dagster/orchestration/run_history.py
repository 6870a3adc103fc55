"""Recorded Dagster runs: what each makes, which are unfinished, and why one failed or was interrupted."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dagster as dg

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, text_assets
from jgpt_dagster.catalog.status import RunSummary
from jgpt_dagster.causes import cause_of_text
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.safe_path import has_form

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

DUMP_TAG = "jgpt/dump"
"""The tag of a run of a job over the whole graph: its dump."""

ASKED_TAG = "jgpt/asked"
"""The tag of a run with the command that asked for it, or that would ask for the same."""

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

# Enough for all shards of a dump several times over; older failures no longer matter.
_RECENT = 2_000


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Return the runs that are queued or in progress."""
    return instance.get_runs(filters=dg.RunsFilter(statuses=list(_UNFINISHED)))


def assets_of(run: dg.DagsterRun) -> set[str]:
    """Return the assets that a run makes; a job launched as a whole names none and may make any."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    return selected or {*text_assets(load_settings().corpora), *MODEL_ASSETS}


def partition_of(tags: Mapping[str, str]) -> str | None:
    """Return the partition that a run's tags name, a range as `first...last`; None for an unpartitioned run."""
    if RANGE_START in tags and tags[RANGE_START] != tags.get(RANGE_END, tags[RANGE_START]):
        return f"{tags[RANGE_START]}...{tags[RANGE_END]}"
    return tags.get(PARTITION) or tags.get(RANGE_START)


def makes(run: dg.DagsterRun, output: Artifact) -> bool:
    """Return whether an output is among those that a run makes, or was to make."""
    start = run.tags.get(RANGE_START) or run.tags.get(PARTITION, "")
    end = run.tags.get(RANGE_END) or start
    date, dump = output.partition.partition("|")[0], run.tags.get(DUMP_TAG)
    if dump and has_form("dump", date) and date != dump:
        return False
    return output.asset in assets_of(run) and (not start or start <= output.partition <= end)


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
    return [_summary(instance, run) for run in (*unfinished_runs(instance), *instance.get_runs(limit=_RECENT))]


def failure_text(data: Any) -> str:
    """Return what the data of a failure event says, without the class names of exceptions; empty if nothing."""
    described = getattr(data, "user_failure_data", None)
    if described and described.description:
        return str(described.description)
    error, message = getattr(data, "error", None), ""
    while error:
        if cause := cause_of_text(error.message):
            return cause
        message = re.sub(rf"^(\w+\.)+{error.cls_name}: ", "", str(error.message).strip())
        error = error.cause
    return message


def failure_reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why a run failed or was cancelled, in one line: the cause of its first failed step, else Dagster's own."""
    failures = instance.all_logs(run_id, of_type=_ENDS)
    for event in (entry.dagster_event for entry in failures if entry.dagster_event):
        text = failure_text(event.event_specific_data) or (event.message or "").strip()
        if text:
            return text.splitlines()[0]
    return "its log does not say why"


def _summary(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunSummary:
    return RunSummary(
        run.run_id,
        "running" if run.status in _UNFINISHED else _STATES.get(run.status, "ended"),
        lambda output: makes(run, output),
        lambda: failure_reason(instance, run.run_id),
    )
