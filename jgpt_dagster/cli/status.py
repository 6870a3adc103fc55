"""`jgpt status`: what is done, stale, running, failed and missing."""

import os
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jgpt_dagster.cli.deployment import all_dumps, glance_at_instance, open_deployment
from jgpt_dagster.cli.terminal import say, say_states
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.orchestration.dump_dates import require_date
from jgpt_dagster.settings import Settings

if TYPE_CHECKING:
    from jgpt_dagster.catalog.status import RunSummary


@click.command()
@click.option("--dump", "dates", multiple=True, help="A dump to show, YYYYMMDD; default all.")
def status(dates: tuple[str, ...]) -> None:
    """Show what is done, stale, running, failed and missing for each dump, and what to run next."""
    settings = open_deployment()
    from jgpt_dagster.catalog.status import DeploymentStatus, next_step
    from jgpt_dagster.cli.code_versions import installed_code_versions

    for date in dates:
        require_date(date)
    root = settings.root
    glanced = glance_at_instance()
    if glanced is None or glanced.unfinished_runs:
        _end_abandoned_runs(settings)
    deployment = DeploymentStatus(settings.catalog, installed_code_versions(settings.corpora), settings.segmenter)
    # Runs that succeeded explain nothing.
    explaining = glanced is None or glanced.unsuccessful_runs
    finished = glanced is not None and not glanced.unfinished_runs
    runs = cache(partial(_recent_runs, finished=finished)) if explaining else lambda: ()
    shared = deployment.status(None, runs)
    say_states(shared.lines())
    for date in dates or all_dumps(root):
        of_dump = deployment.status(date, runs)
        say_states(["", *of_dump.lines(), f"  next: {next_step(shared, of_dump, settings.model)}"])
    if not dates and not all_dumps(root):
        say("\nNo dump is here yet. Fetch one with:\n  jgpt run --dump latest --to wikipedia_dump")


def _end_abandoned_runs(settings: Settings) -> None:
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs

    fail_abandoned_runs(open_instance(), settings.root.path, lambda _: None)


def _recent_runs(*, finished: bool) -> "Sequence[RunSummary]":
    """Return the last runs; of `finished` ones, to ask Dagster takes longer than all the rest."""
    from jgpt_dagster.orchestration.finished_runs import finished_runs

    read = finished_runs(Path(os.environ["DAGSTER_HOME"])) if finished else None
    if read is not None:
        return read
    from jgpt_dagster.orchestration.run_history import recent_runs

    return recent_runs(open_instance())
