"""`jgpt status`: what is done, stale, running, failed and missing."""

from functools import cache

import click

from jgpt_dagster.cli.deployment import all_dumps, open_deployment
from jgpt_dagster.cli.terminal import say


@click.command()
@click.option("--dump", "dates", multiple=True, help="A dump to show, YYYYMMDD; default all.")
def status(dates: tuple[str, ...]) -> None:
    """Show what is done, stale, running, failed and missing for each dump, and what to run next."""
    settings = open_deployment()
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.status import DeploymentStatus, next_step
    from jgpt_dagster.definitions import code_versions, defs
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
    from jgpt_dagster.orchestration.run_history import recent_runs
    from jgpt_dagster.storage.safe_path import require_form

    for date in dates:
        require_form("dump", date)
    root, instance = settings.root, DagsterInstance.get()
    fail_abandoned_runs(instance, root.path, lambda _: None)
    deployment = DeploymentStatus(settings.catalog, code_versions(defs), settings.segmenter)
    runs = cache(lambda: recent_runs(instance))
    shared = deployment.status(None, runs)
    say("\n".join(shared.lines()))
    for date in dates or all_dumps(root):
        of_dump = deployment.status(date, runs)
        say("\n".join(["", *of_dump.lines(), f"  next: {next_step(shared, of_dump, settings.model)}"]))
    if not dates and not all_dumps(root):
        say("\nNo dump is here yet. Fetch one with:\n  jgpt run --dump YYYYMMDD --to wikipedia_dump")
