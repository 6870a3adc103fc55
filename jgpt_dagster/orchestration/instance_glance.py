"""What the database of a Dagster instance says at a glance, without Dagster, whose import takes longer than the look.

It is read only where Dagster keeps its records as it does by default, in SQLite below DAGSTER_HOME.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import yaml

_STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage", "local_artifact_storage")
_SUCCESS = "SUCCESS"
_FINISHED = {_SUCCESS, "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class InstanceGlance:
    """The dump partitions of an instance in any order; whether any of its runs is unfinished, and has not succeeded."""

    dump_keys: tuple[str, ...]
    unfinished_runs: bool
    unsuccessful_runs: bool


def glance(home: Path) -> InstanceGlance | None:
    """Return what the instance in a directory has recorded; None if only Dagster can say."""
    try:
        config = yaml.safe_load((home / "dagster.yaml").read_text()) or {}
        if any(name in config for name in _STORAGES):
            return None
        if not (home / "history").exists():  # Dagster makes it on its first use
            return InstanceGlance((), False, False)
        events = query(
            home / "history" / "runs" / "index.db",
            "SELECT partition FROM dynamic_partitions WHERE partitions_def_name = 'dump'",
        )
        runs = {str(status) for (status,) in query(home / "history" / "runs.db", "SELECT DISTINCT status FROM runs")}
    except (OSError, sqlite3.Error, yaml.YAMLError, TypeError):
        return None
    return InstanceGlance(tuple(str(key) for (key,) in events), bool(runs - _FINISHED), bool(runs - {_SUCCESS}))


def query(database: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Return the rows of a query of a database, which is opened for reading alone. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        return connection.execute(statement, values).fetchall()
