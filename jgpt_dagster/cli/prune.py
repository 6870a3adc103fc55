"""`jgpt prune`: deletes what nothing refers to."""

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.orchestration.dagster_instance import open_instance


@click.command()
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")
def prune(dry_run: bool) -> None:
    """Delete what nothing refers to: old records of runs that made nothing, checkpoints of finished and of removed
    models, and what downloads and killed processes have left.

    The last materialization of a partition and its run stay, however old. Lists what is deleted, then deletes it.
    """
    settings = open_deployment()
    from jgpt_dagster.catalog.leftovers import find_leftovers
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
    from jgpt_dagster.orchestration.run_retention import expired_runs, size_of

    root, instance = settings.root, open_instance()
    fail_abandoned_runs(instance, root.path, lambda _: None)
    runs = expired_runs(instance, list(defs.resolve_asset_graph().asset_check_keys), settings.keep_runs_days)
    leftovers = find_leftovers(root, settings.scratch_directory)
    run_bytes = sum(size_of(instance, run) for run in runs)
    for leftover in leftovers:
        say(leftover.line())
    if runs:
        say(
            f"  {len(runs)} records of runs that made nothing and are older than {settings.keep_runs_days:g} days "
            f"(JGPT_KEEP_RUNS_DAYS)  {run_bytes / 1e6:.1f} MB"
        )
    if dry_run:
        size = run_bytes + sum(leftover.size for leftover in leftovers)
        say(f"would be removed, {size / 1e6:.1f} MB")
        return
    removed = run_bytes
    for leftover in leftovers:
        if leftover.delete(root):
            removed += leftover.size
        else:
            say(f"  {leftover.path} is kept: a run works on {leftover.output}")
    for run in runs:
        run.delete(instance)
    say(f"removed, {removed / 1e6:.1f} MB")
