"""`jgpt run`: brings the assets of one dump up to date."""

import json
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.cli.config import change
from jgpt_dagster.cli.deployment import config_option, open_deployment
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.cli.stage_lines import stage_lines
from jgpt_dagster.cli.terminal import say, say_beside_bars
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.orchestration.dump_dates import dump_date
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.safe_path import require_form


@click.command()
@click.option("--dump", required=True, help="Date of the Wikipedia dump, YYYYMMDD, or `latest`.")
@click.option("--to", "until", default="release", show_default=True, help="The last asset to bring up to date.")
@config_option("Run config in Dagster's YAML form (ops: <asset>: config: ...); default JGPT_RUN_CONFIG.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once; default JGPT_WORKERS.")
@click.option(
    "--warm-start",
    type=click.Choice(["auto", "require", "off"]),
    help="Start from a finished model: `require` is refused if none is fit, `auto` then starts from scratch.",
)
@click.option("--start-from", metavar="NAME", help="The model that a warm start begins with.")
@click.option("--retrain", is_flag=True, help="Train the model again, in place of a finished one.")
@click.option("--unchecked", is_flag=True, help="Release a model whose checks failed; its card says so.")
@click.option("--yes", is_flag=True, help="Change the run config that the data root keeps without asking.")
@click.pass_context
def run(
    context: click.Context,
    dump: str,
    until: str,
    config_path: Path | None,
    workers: int | None,
    warm_start: str | None,
    start_from: str | None,
    retrain: bool,
    unchecked: bool,
    yes: bool,
) -> None:
    """Bring the assets of one dump up to date, as far as --to. What is complete and current is not made again.

    A finished model of the name in JGPT_MODEL is kept, even if it is stale; --retrain replaces it. What --config gives
    is kept with the data root, and may be left out the next time.
    """
    resume = shlex.join(["jgpt", *sys.argv[1:]])
    with exit_on_interrupt(f"Interrupted. What was finished is kept. Resume with:\n  {resume}"):
        settings = open_deployment()
        _warn_of_idle_workers()
        dump = dump_date(settings, dump)
        say(f"{settings.wiki} {dump}, as far as {until}, in {settings.root.location}")
        if start_from is not None:
            require_form("model", start_from)
        given = context.get_parameter_source("config_path") is click.core.ParameterSource.COMMANDLINE
        run_config = _run_config(settings, config_path, given, yes)
        options = (
            ("pretrained_model", "force", retrain),
            ("pretrained_model", "warm_start", warm_start),
            ("pretrained_model", "start_from", start_from),
            ("release", "unchecked", unchecked),
        )
        for asset, field, value in options:
            if value:
                run_config.setdefault(asset, {"config": {}})["config"][field] = value
        _run(settings, dump, until, workers or settings.workers, run_config, resume)


def _run_config(settings: Settings, path: Path | None, given: bool, yes: bool) -> dict[str, Any]:
    """Return the run config in a file by asset; what differs from the kept one is changed if the file was given."""
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.orchestration.run_config import read_run_config

    if path is None:
        return {}
    graph, record = defs.resolve_asset_graph(), KeptConfig(settings.catalog)
    ops: dict[str, Any] = read_run_config(graph, path)["ops"]
    if not given:
        return record.without_kept(ops, settings.model)
    change(settings, graph, record.differing(ops, settings.model), yes)
    return ops


def _run(settings: Settings, dump: str, until: str, workers: int, run_config: Mapping[str, Any], resume: str) -> None:
    from jgpt_dagster.assets.bring_up import bring_up
    from jgpt_dagster.cli.progress_bars import progress_bars
    from jgpt_dagster.definitions import load_definitions

    started = before = time.monotonic()
    for result in bring_up(
        settings,
        load_definitions,
        dump=dump,
        until=until,
        workers=workers,
        ops=run_config,
        resume=resume,
        display=progress_bars,
        report=say_beside_bars,
    ):
        now = time.monotonic()
        for line in stage_lines(result, now - before):
            say_beside_bars(line)
        before = now
    say(f"{'all':<69} {before - started:8.1f} s")
    if until == "release":
        _show_release(settings, dump)


def _warn_of_idle_workers() -> None:
    """Say so if the instance has workers on other machines: they take no part in what this command does itself."""
    from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

    if not isinstance(open_instance().run_launcher, DefaultRunLauncher):
        say(
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
    say(f"\nrelease                     {release.location}")
    compared = f"{counts['documents']:,} documents; bigrams need {counts['bigram_bits_per_character']:.3f}"
    say(f"held-out bits per character {counts['bits_per_character']:.3f} ({compared})")
    for sample in samples[:1]:  # none, if the evaluation was asked for none
        say(f"a text that begins with “{sample['prompt']}”:\n{sample['text']}")
