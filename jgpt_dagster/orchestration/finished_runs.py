"""The finished runs of a Dagster instance as its SQLite files have them, without Dagster: its import takes longer.

The files are those of `instance_glance`. What is not as it should be there is for Dagster itself to read.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from jgpt_dagster.catalog.status import RunSummary
from jgpt_dagster.orchestration.instance_glance import query
from jgpt_dagster.orchestration.run_facts import RECENT, first_reason, makes_output

_STATES: dict[str, Literal["failed", "cancelled"]] = {"FAILURE": "failed", "CANCELED": "cancelled"}
_ENDS = ("STEP_FAILURE", "PIPELINE_FAILURE", "PIPELINE_CANCELED")
_UNREADABLE = (sqlite3.Error, ValueError, LookupError, AttributeError, TypeError)


def finished_runs(home: Path) -> Sequence[RunSummary] | None:
    """Return the last runs of the instance in a directory, all of them finished, newest first; None if unreadable."""
    try:
        rows = query(home / "history" / "runs.db", "SELECT status, run_body FROM runs ORDER BY id DESC LIMIT ?", RECENT)
        return [_summary(home, str(status), _read(str(body))) for status, body in rows]
    except _UNREADABLE:
        return None


def _summary(home: Path, status: str, run: Any) -> RunSummary:
    tags = vars(run.tags)
    selected = vars(run.asset_selection)["__frozenset__"] if run.asset_selection else []
    assets = {"/".join(key.path) for key in selected}
    return RunSummary(
        run.run_id,
        _STATES.get(status, "ended"),
        lambda output: makes_output(tags, assets, output),
        lambda: _reason(home, run.run_id),
    )


def _reason(home: Path, run_id: str) -> str:
    try:
        return first_reason(_ends(home, run_id))
    except _UNREADABLE:
        from jgpt_dagster.orchestration.dagster_instance import open_instance
        from jgpt_dagster.orchestration.run_history import failure_reason

        return failure_reason(open_instance(), run_id)


def _ends(home: Path, run_id: str) -> Iterator[Any]:
    """Yield the events by which a run has ended, in order."""
    found = query(
        home / "history" / "runs" / f"{run_id}.db",
        "SELECT event FROM event_logs WHERE dagster_event_type IN (?, ?, ?) ORDER BY id",
        *_ENDS,
    )
    return (_read(str(event)).dagster_event for (event,) in found)


def _read(text: str) -> Any:
    """Return JSON in which the objects have their entries as attributes, as Dagster's have."""
    return json.loads(text, object_hook=lambda entries: SimpleNamespace(**entries))
