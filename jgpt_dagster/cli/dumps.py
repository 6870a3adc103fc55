"""`jgpt dumps`: adds, lists and removes dumps."""

import shlex
from typing import TYPE_CHECKING

import click

from jgpt_dagster.cli.deployment import all_dumps, dump_keys, open_deployment, require_matching_root
from jgpt_dagster.cli.terminal import byte_words, say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.orchestration.dump_dates import require_date
from jgpt_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

# A year of dumps, twice a month.
_SHOWN_DATES = 24

_dry_run = click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")


@click.group()
def dumps() -> None:
    """Manage the dump partitions of the Dagster instance and their data."""


@dumps.command("add")
@click.argument("dates", nargs=-1, required=True)
def add(dates: tuple[str, ...]) -> None:
    """Add dump partitions (YYYYMMDD); Dagster's own command line cannot."""
    for date in dates:
        require_date(date)
    open_deployment()
    from jgpt_dagster.orchestration.partitions import add_dumps

    add_dumps(open_instance(), dates)
    say(f"added {' '.join(dates)}")


@dumps.command("list")
def list_dumps() -> None:
    """List the dumps: what of each lies on disk, and how large that is."""
    settings = open_deployment()
    from jgpt_dagster.catalog.retention import Removal, dumps_on_disk
    from jgpt_dagster.storage.safe_path import has_form

    root, keys = settings.root, dump_keys()
    on_disk = dumps_on_disk(root)
    dates = sorted({*on_disk, *(key for key in keys if has_form("dump", key))})
    for date in dates:
        outputs = [root.directory("wikipedia_dump", date), root.directory("release", date, model=settings.model)]
        states = [f"{output.asset} {'whole' if output.manifest() else 'absent'}" for output in outputs]
        if date in on_disk:
            states.append(byte_words(Removal.of_dump(settings.catalog, settings.scratch_directory, date).size))
        else:
            states.append(f"no data; if nothing fetches it: {_removal_command(date)}")
        say(f"{date}  {'  '.join(states)}")
    malformed = [key for key in keys if not has_form("dump", key)]
    for key in malformed:
        say(f"{key!r}  not a date (YYYYMMDD), so nothing is made of it: {_removal_command(key)}")
    if not dates and not malformed:
        say("No dump is here yet. `jgpt dumps available` lists those of the mirror; begin with:")
        say("  jgpt run --dump latest")


@dumps.command("available")
def available() -> None:
    """List the newest dumps of the mirror: date, state, size, and whether the dump is here."""
    settings = load_settings()
    require_matching_root(settings)
    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

    mirror = DumpMirror(settings.dumps_url, settings.wiki)
    dates = mirror.dates()[-_SHOWN_DATES:]
    for date in dates:
        state, size = _state_at(mirror, date)
        here = "  here" if settings.root.directory("wikipedia_dump", date).manifest() else ""
        say(f"{date}  {state:<12} {size:>10}{here}".rstrip())
    if not dates:
        say(f"{mirror.url}/ lists no dump. Check JGPT_WIKI and JGPT_DUMPS_URL.")


@dumps.command("remove")
@click.argument("dates", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Even if a model or a release was made of the dump; it is removed too.")
@_dry_run
def remove(dates: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Remove dumps: their data and partitions. A dump that is in use, or has a model, is not removed.

    A partition whose name is no date is removed by its exact name. Lists what is deleted, then deletes it.
    """
    settings = open_deployment()
    from jgpt_dagster.catalog.retention import models_of_dump
    from jgpt_dagster.storage.safe_path import require_form

    root, instance = settings.root, open_instance()
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


def _state_at(mirror: "DumpMirror", date: str) -> tuple[str, str]:
    """Return the state of a dump at the mirror, and its size in words if it is finished."""
    from jgpt_dagster.corpus.fetch.dumps_mirror import MirrorError

    try:
        status = mirror.status(date)
        size = sum(file.size for file in mirror.files(date)) if status.done else None
    except MirrorError:
        return "unknown", ""
    return status.status, "" if size is None else byte_words(size)


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
    from jgpt_dagster.catalog.retention import DumpInUseError, Removal, exclusive_use
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
    from jgpt_dagster.orchestration.run_history import runs_using_dump

    catalog, scratch, instance = settings.catalog, settings.scratch_directory, open_instance()
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
