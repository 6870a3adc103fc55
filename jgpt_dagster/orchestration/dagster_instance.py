"""The Dagster instance of a deployment: which DAGSTER_HOME is used, and the `dagster.yaml` of a new one."""

import os
from pathlib import Path

import yaml

from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.file_creation import make_directory


def ensure_dagster_home(settings: Settings) -> Path:
    """Return the directory of the Dagster instance; set DAGSTER_HOME and write `dagster.yaml` if they are missing.

    The default is `$JGPT_DATA/.dagster` or, if that is a URL, `$JGPT_SCRATCH/.dagster`. An existing `dagster.yaml` is
    not changed.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.home).expanduser().absolute()
    config = home / "dagster.yaml"
    if not config.exists():
        make_directory(home, internal=True)
        with atomic_file(config) as stream:
            stream.write(yaml.safe_dump(instance_config(settings), sort_keys=False).encode())
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def instance_config(settings: Settings) -> dict[str, object]:
    """Return the `dagster.yaml` of one machine: as many runs at once as workers, and one training run at a time."""
    return {
        "telemetry": {"enabled": False},
        "concurrency": {"runs": {"max_concurrent_runs": settings.workers}, "pools": {"default_limit": 1}},
        "run_monitoring": {"enabled": True, "free_slots_after_run_end_seconds": 60},
    }
