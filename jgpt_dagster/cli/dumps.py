"""`jgpt dumps`: adds, lists and removes dumps."""

import shlex
from typing import TYPE_CHECKING

import click

from jgpt_dagster.cli.deployment import all_dumps, open_deployment
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

_dry_run = click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")


@click.group()
def dumps() -> None:
    """Manage the dump partitions of the Dagster instance and their data."""


@dumps.command("add")
@click.argument("dates", nargs=-1, required=True)
def add(dates: tuple[str, ...]) -> None:
    """Add dump partitions (YYYYMMDD); Dagster's own command line cannot."""
    open_deployment()
    from dagster import DagsterInstance

    from jgpt_dagster.orchestration.partitions import add_dumps

    add_dumps(DagsterInstance.get(), dates)
    say(f"added {' '.join(dates)}")


@dumps.command("list")
def list_dumps() -> None:
    """List the dump partitions and what of each lies on disk."""
    settings = open_deployment()
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.retention import dumps_on_disk
    from jgpt_dagster.orchestration.partitions import known_dumps

    root, instance = settings.root, DagsterInstance.get()
    on_disk = dumps_on_disk(root)
    for date in known_dumps(instance):
        outputs = [root.directory("wikipedia_dump", date), root.directory("release", date, model=settings.model)]
        states = [f"{output.asset} {'whole' if output.manifest() else 'absent'}" for output in outputs]
        if date not in on_disk:
            states.append(f"no data; if nothing fetches it: {_removal_command(date)}")
        say(f"{date}  {'  '.join(states)}")
    for key in _malformed_keys(instance):
        say(f"{key!r}  not a date (YYYYMMDD), so nothing is made of it: {_removal_command(key)}")


@dumps.command("remove")
@click.argument("dates", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Even if a model or a release was made of the dump; it is removed too.")
@_dry_run
def remove(dates: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Remove dumps: their data and partitions. A dump that is in use, or has a model, is not removed.

    A partition whose name is no date is removed by its exact name. Lists what is deleted, then deletes it.
    """
    settings = open_deployment()
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.retention import models_of_dump
    from jgpt_dagster.storage.safe_path import require_form

    root, instance = settings.root, DagsterInstance.get()
    malformed = [date for date in dates if date in _malformed_keys(instance)]
    dates = tuple(date for date in dates if date not in malformed)
    for date in dates:
        require_form("dump", date)
        if date not in all_dumps(root):
            raise JgptError(f"There is no dump of {date}. The dumps are: {' '.join(all_dumps(root)) or 'none'}.")
        if not force and (models := models_of_dump(root, date)):
            raise JgptError(
                f"The dump of {date} is kept for {' and '.join(models)}. Remove them too with:\n"
                f"  {shlex.join(['jgpt', 'dumps', 'remove', '--force', date])}"
            )
    for key in malformed:
        if not dry_run:
            instance.delete_dynamic_partition("dump", key)
        say(f"{key!r}  {'would be removed' if dry_run else 'removed'}, a partition without data")
    for date in dates:
        say(f"{date}  {_remove_dump(settings, date, dry_run)}")


@dumps.command("prune")
@click.option("--keep", required=True, type=click.IntRange(min=1), help="How many of the newest dumps stay.")
@_dry_run
def prune(keep: int, dry_run: bool) -> None:
    """Remove all dumps but the newest few. Dumps with a model or a release, and those in use, are kept too.

    Lists what is deleted, then deletes it.
    """
    settings = open_deployment()
    from jgpt_dagster.catalog.retention import DumpInUseError, reasons_to_keep

    root = settings.root
    dates = all_dumps(root)
    kept = reasons_to_keep(root, dates, keep)
    for date in dates:
        try:
            outcome = f"kept: {kept[date]}" if date in kept else _remove_dump(settings, date, dry_run)
        except DumpInUseError as error:
            outcome = f"kept: {error}"
        say(f"{date}  {outcome}")


def _malformed_keys(instance: "DagsterInstance") -> list[str]:
    """Return the dump partitions whose names are no dates: Dagster itself takes any name."""
    from jgpt_dagster.storage.safe_path import has_form

    return sorted(key for key in instance.get_dynamic_partitions("dump") if not has_form("dump", key))


def _removal_command(key: str) -> str:
    return shlex.join(["jgpt", "dumps", "remove", *(["--"] if key.startswith("-") else []), key])


def _remove_dump(settings: Settings, date: str, dry_run: bool) -> str:
    """List what is on disk of a dump, then remove it and the partition unless `dry_run`; return the outcome in words.

    Raises DumpInUseError, naming the user.
    """
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.retention import DumpInUseError, Removal, exclusive_use
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
    from jgpt_dagster.orchestration.run_history import runs_using_dump

    catalog, scratch, instance = settings.catalog, settings.scratch_directory, DagsterInstance.get()
    fail_abandoned_runs(instance, catalog.root.path, lambda _: None)
    reusing = [asset for corpus in catalog.dated_corpora for asset in corpus.shard_assets]
    if runs := runs_using_dump(instance, date, reusing):
        raise DumpInUseError(f"The dump of {date} is in use by run {', '.join(runs)}. Wait, or terminate it in the UI.")
    with exclusive_use(catalog, scratch, date):
        removal = Removal.of_dump(catalog, scratch, date)
        say("\n".join([f"{date}  to remove:", *removal.lines()]))
        if not dry_run:
            instance.delete_dynamic_partition("dump", date)
            removal.delete()
    return f"{'would be removed' if dry_run else 'removed'}, {removal.size / 1e9:.1f} GB"
