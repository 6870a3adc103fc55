"""What commands share: the settings, checked against the data root, DAGSTER_HOME, and the option `--config`."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import click

from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import ensure_dagster_home, open_instance
from jgpt_dagster.orchestration.instance_glance import InstanceGlance, glance
from jgpt_dagster.settings import Settings, load_settings
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.file_creation import make_root


def open_deployment() -> Settings:
    """Return the settings, with a writable data root and DAGSTER_HOME set; print the line to export if it was not.

    Raises JgptError if the data root or the scratch directory cannot be written, and RootMismatchError if the root was
    made with other settings.
    """
    settings = load_settings()
    _require_writable(settings)
    require_matching_root(settings)
    announced = "DAGSTER_HOME" not in os.environ
    home = ensure_dagster_home(settings)
    if announced:
        say(f"export DAGSTER_HOME={shlex.quote(str(home))}", err=True)
    return settings


def require_matching_root(settings: Settings) -> None:
    """Raise RootMismatchError if the data root was made with other settings."""
    settings.root.check_pinned_settings(settings.fixed)


def all_dumps(root: DataRoot) -> list[str]:
    """Return the dumps that have a partition or anything on disk, oldest first."""
    from jgpt_dagster.catalog.retention import dumps_on_disk
    from jgpt_dagster.storage.safe_path import has_form

    return sorted({*(key for key in dump_keys() if has_form("dump", key)), *dumps_on_disk(root)})


def dump_keys() -> list[str]:
    """Return the keys of all dump partitions of the Dagster instance, malformed ones too, sorted."""
    glanced = glance_at_instance()
    if glanced is not None:
        return sorted(glanced.dump_keys)
    return sorted(open_instance().get_dynamic_partitions("dump"))


def glance_at_instance() -> InstanceGlance | None:
    """Return what the Dagster instance in DAGSTER_HOME has recorded, as far as that shows without Dagster."""
    return glance(Path(os.environ["DAGSTER_HOME"]))


def config_option(help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option `--config FILE`, whose default is JGPT_RUN_CONFIG."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="JGPT_RUN_CONFIG",
        help=help_text,
    )


def _require_writable(settings: Settings) -> None:
    places = {"JGPT_DATA" if settings.root.remote is None else "JGPT_SCRATCH": settings.root.path}
    if settings.scratch is not None:
        places["JGPT_SCRATCH"] = settings.scratch
    for name, place in places.items():
        try:
            make_root(place)
            writable = os.access(place, os.W_OK | os.X_OK)
        except OSError:
            writable = False
        if not writable:
            raise JgptError(
                f"{name}={place} cannot be written. Make it writable, or point {name} at another directory."
            )
