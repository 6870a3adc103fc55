"""The Dagster instance of a deployment: which DAGSTER_HOME is used, and the `dagster.yaml` of a new one."""

import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.file_creation import make_directory
from jgpt_dagster.storage.file_lock import file_lock, locked

if TYPE_CHECKING:
    from dagster import DagsterInstance

_RUNS = re.compile(
    r"^( *max_concurrent_runs: )(\d+)(?:  # follows JGPT_WORKERS=(\d+); another number here stays)?$", re.MULTILINE
)


def ensure_dagster_home(settings: Settings) -> Path:
    """Return the directory of the Dagster instance; set DAGSTER_HOME and write `dagster.yaml` if they are missing.

    The default is `$JGPT_DATA/.dagster` or, if that is a URL, `$JGPT_SCRATCH/.dagster`. In an existing `dagster.yaml`,
    only the number that follows JGPT_WORKERS changes, and only if nobody else has changed it.

    Raises JgptError if it is no YAML: people edit it.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.home).expanduser().absolute()
    config = home / "dagster.yaml"
    before = _read(config) if config.exists() else None
    text = _written(settings) if before is None else _following(before, settings)
    if text != before:
        make_directory(home, internal=True)
        with atomic_file(config) as stream:
            stream.write(text.encode())
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def open_instance() -> "DagsterInstance":
    """Return the instance in DAGSTER_HOME, its tables made.

    Whoever opens a new one first makes its tables. Of two processes that do so at once, Dagster lets one fail.
    """
    from dagster import DagsterInstance

    home = Path(os.environ["DAGSTER_HOME"])
    # A directory that cannot be written, as that of a container, holds no tables: they are in a database elsewhere.
    with locked(file_lock(home / ".opening.lock")) if os.access(home, os.W_OK) else nullcontext():
        instance = DagsterInstance.get()
        _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage
    return instance


def instance_config(settings: Settings) -> dict[str, object]:
    """Return the `dagster.yaml` of one machine: as many runs at once as workers, and one training run at a time."""
    return {
        "telemetry": {"enabled": False},
        "concurrency": {"runs": {"max_concurrent_runs": settings.workers}, "pools": {"default_limit": 1}},
        "run_monitoring": {"enabled": True, "free_slots_after_run_end_seconds": 60},
    }


def _read(config: Path) -> str:
    try:
        text = config.read_text(encoding="utf-8")
        if not isinstance(yaml.safe_load(text) or {}, dict):
            raise ValueError("expected names with values")
        return text
    except (ValueError, yaml.YAMLError) as error:
        raise JgptError(f"{config} cannot be read as YAML: {error}\nCorrect it, or delete it for a new one.") from error


def _written(settings: Settings) -> str:
    """Return the text of a new `dagster.yaml`; a comment keeps the number that was written beside the number."""
    text = yaml.safe_dump(instance_config(settings), sort_keys=False)
    return _RUNS.sub(lambda match: _runs_line(match[1], settings.workers), text)


def _following(text: str, settings: Settings) -> str:
    """Return the text of an existing `dagster.yaml` with the number of runs that the settings give now."""
    plain = _RUNS.search(text)
    if (
        plain
        and plain[3] is None
        and text
        == yaml.safe_dump(instance_config(settings.model_copy(update={"workers": int(plain[2])})), sort_keys=False)
    ):
        return _written(settings)  # of a release that wrote no comment, and nobody has edited it
    return _RUNS.sub(lambda match: _runs_line(match[1], settings.workers) if match[2] == match[3] else match[0], text)


def _runs_line(before: str, workers: int) -> str:
    return f"{before}{workers}  # follows JGPT_WORKERS={workers}; another number here stays"
