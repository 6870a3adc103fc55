"""`jgpt run`: brings the assets of one dump up to date."""

import json
import shlex
import sys
import time
from pathlib import Path

import click
from tqdm import tqdm

from jgpt_dagster.cli.deployment import all_dumps, config_option, open_deployment
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.settings import Settings

# For the launcher of an interrupted training to end, and for its run to be recorded.
_LAUNCHER_SECONDS = 30.0


@click.command()
@click.option("--dump", required=True, help="Date of the Wikipedia dump, YYYYMMDD.")
@click.option("--to", "until", default="release", show_default=True, help="The last asset to bring up to date.")
@config_option("Run config in Dagster's YAML form (ops: <asset>: config: ...); default JGPT_RUN_CONFIG.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once; default JGPT_WORKERS.")
@click.option("--retrain", is_flag=True, help="Train the model again, in place of a finished one.")
def run(dump: str, until: str, config_path: Path | None, workers: int | None, retrain: bool) -> None:
    """Bring the assets of one dump up to date, as far as --to. What is complete and current is not made again.

    A finished model of the name in JGPT_MODEL is kept, even if it is stale; --retrain replaces it.
    """
    resume = shlex.join(["jgpt", *sys.argv[1:]])
    with exit_on_interrupt(f"Interrupted. What was finished is kept. Resume with:\n  {resume}"):
        _run(dump, until, config_path, workers, retrain, resume)


def _run(dump: str, until: str, config_path: Path | None, workers: int | None, retrain: bool, resume: str) -> None:
    settings = open_deployment()
    _warn_of_idle_workers()
    from dagster import DagsterInstance

    from jgpt_dagster.assets.pretraining_config import PretrainingConfig
    from jgpt_dagster.cli.progress_bars import progress_bars
    from jgpt_dagster.definitions import defs, load_definitions
    from jgpt_dagster.orchestration.existing_models import report_existing_models
    from jgpt_dagster.orchestration.local_runner import run_stages, stages_up_to
    from jgpt_dagster.orchestration.run_config import read_run_config
    from jgpt_dagster.storage.safe_path import require_form

    require_form("dump", dump)
    report_existing_models(DagsterInstance.get(), settings.root)
    run_config = read_run_config(defs.resolve_asset_graph(), config_path) if config_path else {"ops": {}}
    if retrain:
        run_config["ops"].setdefault("pretrained_model", {"config": {}})["config"]["force"] = True
    training = run_config["ops"].get("pretrained_model", {}).get("config", {})
    grace = PretrainingConfig(**training).stop_grace_seconds
    stages = stages_up_to(defs, settings.corpora, dump, settings.model, until)
    if any(stage.asset == "wikipedia_dump" for stage in stages):
        _require_dump(settings, dump)
    started = before = time.monotonic()
    for stage in run_stages(
        stages,
        dump=dump,
        model=settings.model,
        workers=workers or settings.workers,
        run_config=run_config,
        resume=resume,
        root=settings.root.path,
        load_definitions=load_definitions,
        display=progress_bars,
        report=tqdm.write,
        grace_seconds={"pretrained_model": grace + _LAUNCHER_SECONDS},
    ):
        now = time.monotonic()
        # Through tqdm, which hides its bars while a line is written.
        tqdm.write(
            f"{stage.asset:<20} {len(stage.runs):>3} {'run ' if len(stage.runs) == 1 else 'runs'} {now - before:8.1f} s"
        )
        before = now
    click.echo(f"{'all':<29} {before - started:8.1f} s")
    if until == "release":
        _show_release(settings, dump)


def _require_dump(settings: Settings, dump: str) -> None:
    """Raise MirrorError if a dump that is new here is not at the mirror: nothing is recorded of a mistyped date."""
    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

    if dump not in all_dumps(settings.root):
        DumpMirror(settings.dumps_url, settings.wiki).files(dump)


def _warn_of_idle_workers() -> None:
    """Say so if the instance has workers on other machines: they take no part in what this command does itself."""
    from dagster import DagsterInstance
    from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

    if not isinstance(DagsterInstance.get().run_launcher, DefaultRunLauncher):
        click.echo(
            "This command works on this machine alone. The workers of this deployment execute what the UI launches, "
            "and what refresh_sensor and train_sensor start.",
            err=True,
        )


def _show_release(settings: Settings, dump: str) -> None:
    root = settings.root
    release = root.directory("release", dump, model=settings.model)
    evaluation = root.directory("evaluation", dump, model=settings.model)
    counts = evaluation.verified().counts
    samples = json.loads((evaluation.path / "samples.json").read_text())
    prompt, text = samples[0]["prompt"], samples[0]["text"]
    click.echo(f"\nrelease                     {release.location}")
    compared = f"{counts['documents']:,} documents; bigrams need {counts['bigram_bits_per_character']:.3f}"
    click.echo(f"held-out bits per character {counts['bits_per_character']:.3f} ({compared})")
    click.echo(f"a text that begins with “{prompt}”:\n{text}")
