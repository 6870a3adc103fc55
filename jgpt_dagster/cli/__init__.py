"""The `jgpt` command: what Dagster's own command line cannot do."""

import json
import os
import shlex
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import ensure_dagster_home
from jgpt_dagster.settings import Settings, load_settings
from jgpt_dagster.storage.data_root import DataRoot


class _PlainErrors(click.Group):
    """Shows a JgptError as its message alone; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except JgptError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_PlainErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jgpt-dagster")
def main() -> None:
    """Pretrain a Japanese GPT-2 from raw dumps. Settings are read from JGPT_ variables; the README lists them."""


@main.command()
@click.option("--dump", required=True, help="Date of the Wikipedia dump, YYYYMMDD.")
@click.option("--to", "until", default="release", show_default=True, help="The last asset to bring up to date.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="JGPT_RUN_CONFIG",
    help="Run config in Dagster's YAML form (ops: <asset>: config: ...); default JGPT_RUN_CONFIG.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once; default JGPT_WORKERS.")
def run(dump: str, until: str, config_path: Path | None, workers: int | None) -> None:
    """Bring the assets of one dump up to date, as far as --to. What is whole and current is not made again."""
    settings = _settings()
    _tell_where_runs_go()
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.orchestration import local_runner
    from jgpt_dagster.orchestration.partitions import require_dump_key
    from jgpt_dagster.orchestration.run_config import read_run_config

    require_dump_key(dump)
    run_config = read_run_config(defs, config_path) if config_path else {}
    started = before = time.monotonic()
    for stage in local_runner.run_stages(
        local_runner.plan(defs, dump, until),
        dump=dump,
        workers=workers or settings.workers,
        run_config=run_config,
        resume=shlex.join(["jgpt", *sys.argv[1:]]),
        root=settings.root.path,
    ):
        now = time.monotonic()
        # Through tqdm, which takes its bars away while something is written.
        tqdm.write(
            f"{stage.asset:<20} {len(stage.runs):>3} {'run ' if len(stage.runs) == 1 else 'runs'} {now - before:8.1f} s"
        )
        before = now
    click.echo(f"{'all':<29} {before - started:8.1f} s")
    if until == "release":
        _show_release(settings, dump)


@main.command()
@click.option("--dump", "dates", multiple=True, help="A dump to look at, YYYYMMDD; default all.")
def status(dates: tuple[str, ...]) -> None:
    """Tell what is done, stale, running, failed and missing. For each dump, with what to run next."""
    settings = _settings()
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.status import DeploymentStatus, next_step
    from jgpt_dagster.definitions import code_versions, defs
    from jgpt_dagster.orchestration.partitions import require_dump_key
    from jgpt_dagster.orchestration.resources import CorpusStore
    from jgpt_dagster.orchestration.run_history import failed_checks, recent_runs

    for date in dates:
        require_dump_key(date)
    root, instance = settings.root, DagsterInstance.get()
    root.check_pinned_settings(CorpusStore.of(settings).fixed)
    outputs = DeploymentStatus(settings, code_versions(defs), failed_checks(instance, defs))
    runs = cache(lambda: recent_runs(instance))
    shared = outputs.status(None, runs)
    click.echo("\n".join(shared.lines()))
    for date in dates or _all_dumps(root):
        of_dump = outputs.status(date, runs)
        click.echo("\n".join(["", *of_dump.lines(), f"  next: {next_step(shared, of_dump)}"]))
    if not dates and not _all_dumps(root):
        click.echo("\nNo dump is here yet. Fetch one with:\n  jgpt run --dump YYYYMMDD --to wikipedia_dump")


@main.command("plan")
@click.option("--dump", required=True, help="Date of the dump whose training set is planned for, YYYYMMDD.")
@click.option("--hardware", help="auto, cpu or COUNTxDEVICE such as 8xa100-80; default that of the run config.")
@click.option("--mfu", type=click.FloatRange(0, 1, min_open=True), help="Share of the peak FLOP/s that is expected.")
@click.option("--price", type=click.FloatRange(min=0), help="Price of a GPU-hour, in any currency.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="JGPT_RUN_CONFIG",
    help="Run config, of which that of pretrained_model is planned; default JGPT_RUN_CONFIG.",
)
def plan_command(
    dump: str, hardware: str | None, mfu: float | None, price: float | None, config_path: Path | None
) -> None:
    """Say what training would take: steps, bytes, hours and cost. Trains nothing."""
    settings = load_settings()
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig, plan_training, training_config
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.lm.data.training_set import TrainingSet
    from jgpt_dagster.orchestration.resources import TrainingLauncher
    from jgpt_dagster.orchestration.run_config import read_run_config

    training_set = settings.root.directory("training_set", dump)
    training_set.verified()
    run_config = read_run_config(defs, config_path) if config_path else {"ops": {}}
    options = {"hardware": hardware, "mfu": mfu, "price": price}
    fields = run_config["ops"].get("pretrained_model", {}).get("config", {})
    config = PretrainingConfig(**{**fields, **{name: value for name, value in options.items() if value is not None}})
    launcher, train_config = TrainingLauncher.of(settings), training_config(config, settings.model)
    plan, _ = plan_training(config, launcher, train_config, TrainingSet.open(training_set.path))
    for what, figure in plan.rows():
        click.echo(f"{what:<28} {figure}")


@main.group()
def dumps() -> None:
    """The dump partitions of the Dagster instance."""


@dumps.command("add")
@click.argument("dates", nargs=-1, required=True)
def dumps_add(dates: tuple[str, ...]) -> None:
    """Add dump partitions (YYYYMMDD); Dagster's own command line cannot."""
    _settings()
    from dagster import DagsterInstance

    from jgpt_dagster.orchestration.partitions import add_dumps

    add_dumps(DagsterInstance.get(), dates)
    click.echo(f"added {' '.join(dates)}")


@dumps.command("list")
def dumps_list() -> None:
    """List the dump partitions and what of each lies on disk."""
    settings = _settings()
    from dagster import DagsterInstance

    from jgpt_dagster.orchestration.partitions import known_dumps

    root = settings.root
    for date in known_dumps(DagsterInstance.get()):
        outputs = [root.directory("wikipedia_dump", date), root.directory("release", date, model=settings.model)]
        states = [f"{output.asset} {'whole' if output.manifest() else 'absent'}" for output in outputs]
        click.echo(f"{date}  {'  '.join(states)}")


@dumps.command("remove")
@click.argument("dates", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Even where a model or a release was made of the dump; that goes too.")
def dumps_remove(dates: tuple[str, ...], force: bool) -> None:
    """Remove dumps: their data and partitions. One that is in use, or has a model, is not removed."""
    settings = _settings()
    from jgpt_dagster.catalog.retention import models_of_dump
    from jgpt_dagster.orchestration.partitions import require_dump_key

    root = settings.root
    for date in dates:
        require_dump_key(date)
        if date not in _all_dumps(root):
            raise JgptError(f"There is no dump of {date}. The dumps are: {' '.join(_all_dumps(root)) or 'none'}.")
        if not force and (models := models_of_dump(root, date)):
            raise JgptError(
                f"The dump of {date} is kept for {' and '.join(models)}. Remove them too with:\n"
                f"  jgpt dumps remove --force {date}"
            )
    for date in dates:
        click.echo(f"{date}  removed, {_remove_dump(settings, date) / 1e9:.1f} GB")


@dumps.command("prune")
@click.option("--keep", required=True, type=click.IntRange(min=1), help="How many of the newest dumps stay.")
def dumps_prune(keep: int) -> None:
    """Remove all dumps but the last few. Those with a model or a release, and those in use, are kept too."""
    settings = _settings()
    from jgpt_dagster.catalog.retention import DumpInUseError, reasons_to_keep

    root = settings.root
    dates = _all_dumps(root)
    kept = reasons_to_keep(root, dates, keep)
    for date in dates:
        try:
            outcome = f"kept: {kept[date]}" if date in kept else f"removed, {_remove_dump(settings, date) / 1e9:.1f} GB"
        except DumpInUseError as error:
            outcome = f"kept: {error}"
        click.echo(f"{date}  {outcome}")


@main.command()
@click.argument("prompt")
@click.option("--dump", help="Dump whose release is used; default the newest.")
@click.option("--max-new-tokens", default=60, show_default=True, type=click.IntRange(min=1))
@click.option("--temperature", default=0.8, show_default=True, type=click.FloatRange(min=0))
@click.option("--top-p", default=0.95, show_default=True, type=click.FloatRange(min=0, max=1, min_open=True))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def generate(prompt: str, dump: str | None, max_new_tokens: int, temperature: float, top_p: float, seed: int) -> None:
    """Continue PROMPT with a released model. It is segmented as the corpus was; the text comes back natural."""
    settings = load_settings()
    from jgpt_dagster.lm.release.continuation import generate_from_text, newest_release

    release = newest_release(settings.root, settings.model, dump)
    sampling = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    click.echo(generate_from_text(release, release, prompt, **sampling))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
def ui(host: str, port: int) -> None:
    """Open the Dagster UI, and start its daemon. Ends with Ctrl-C."""
    _settings()
    arguments = ["-m", "dagster", "dev", "-m", "jgpt_dagster.definitions", "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])


@main.command()
@click.option(
    "--queue", "queues", multiple=True, required=True, type=click.Choice(["cpu", "gpu"]), help="May be given twice."
)
@click.option("--processes", type=click.IntRange(min=1), help="Runs at once; default JGPT_WORKERS, on `gpu` 1.")
@click.option(
    "--name", help="Name of the worker, different for each on one host; default the queues and the process id."
)
def worker(queues: tuple[str, ...], processes: int | None, name: str | None) -> None:
    """Execute runs from the queues of several machines here. SIGTERM lets it end what it has begun."""
    settings = _settings()
    from dagster import DagsterInstance

    try:
        from jgpt_dagster.orchestration.celery_launcher import worker_app
    except ModuleNotFoundError as error:
        raise JgptError(f"{error}. Install the extra: pip install 'jgpt-dagster[cluster]'") from error
    count = processes or (1 if "gpu" in queues else settings.workers)
    name = name or f"{'-'.join(queues)}-{os.getpid()}"
    worker_app(DagsterInstance.get()).worker_main(
        [
            "worker",
            "--queues",
            ",".join(queues),
            "--concurrency",
            str(count),
            "--hostname",
            f"{name}@%h",
            "--loglevel",
            "INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )


def _settings() -> Settings:
    """Return the settings, with a data root that can be written and DAGSTER_HOME set, and said where it was not."""
    settings = load_settings()
    _require_writable(settings)
    announced = "DAGSTER_HOME" not in os.environ
    home = ensure_dagster_home(settings)
    if announced:
        click.echo(f"export DAGSTER_HOME={shlex.quote(str(home))}", err=True)
    return settings


def _tell_where_runs_go() -> None:
    """Say so where the instance has workers of its own: they have no part in what a command does itself."""
    from dagster import DagsterInstance
    from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

    if not isinstance(DagsterInstance.get().run_launcher, DefaultRunLauncher):
        click.echo(
            "This works on this machine alone. The workers of this deployment take what the UI launches, and what "
            "refresh_sensor and train_sensor start.",
            err=True,
        )


def _all_dumps(root: DataRoot) -> list[str]:
    """Return the dumps that have a partition or anything on disk, oldest first."""
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.retention import dumps_on_disk
    from jgpt_dagster.orchestration.partitions import known_dumps

    return sorted({*known_dumps(DagsterInstance.get()), *dumps_on_disk(root)})


def _remove_dump(settings: Settings, date: str) -> int:
    """Remove the partition and all data of a dump; return the bytes. Raises DumpInUseError, naming who has it."""
    from dagster import DagsterInstance

    from jgpt_dagster.catalog.retention import DumpInUseError, delete_dump_data, exclusive_use
    from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
    from jgpt_dagster.orchestration.sensors import unfinished_runs
    from jgpt_dagster.storage.data_root import shard_names

    root, scratch, instance = settings.root, settings.scratch_directory, DagsterInstance.get()
    fail_abandoned_runs(instance, root.path, lambda _: None)
    if runs := unfinished_runs(instance, date):
        raise DumpInUseError(f"The dump of {date} is in use by run {', '.join(runs)}. Wait, or terminate it in the UI.")
    with exclusive_use(root, scratch, shard_names(settings.shards), date):
        instance.delete_dynamic_partition("dump", date)
        return delete_dump_data(root, scratch, date)


def _require_writable(settings: Settings) -> None:
    data, name = settings.root.path, "JGPT_DATA" if settings.root.remote is None else "JGPT_SCRATCH"
    try:
        data.mkdir(parents=True, exist_ok=True)
        writable = os.access(data, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise JgptError(f"{name}={data} cannot be written. Make it writable, or point {name} at another directory.")


def _show_release(settings: Settings, dump: str) -> None:
    root = settings.root
    release = root.directory("release", dump, model=settings.model)
    evaluation = root.directory("evaluation", dump, model=settings.model)
    counts = evaluation.verified().counts
    samples = json.loads((evaluation.path / "samples.json").read_text())
    prompt, text = samples[0]["prompt"], samples[0]["text"]
    click.echo(f"\nrelease                     {release.location}")
    beside = f"{counts['documents']:,} documents; bigrams need {counts['bigram_bits_per_character']:.3f}"
    click.echo(f"held-out bits per character {counts['bits_per_character']:.3f} ({beside})")
    click.echo(f"a text that begins with “{prompt}”:\n{text}")
