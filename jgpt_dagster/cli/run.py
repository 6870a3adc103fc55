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
from jgpt_dagster.cli.terminal import say, say_beside_bars
from jgpt_dagster.orchestration.dump_dates import dump_date, require_obtainable
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.safe_path import require_form

# For the launcher of an interrupted training to end, and for its run to be recorded.
_LAUNCHER_SECONDS = 30.0

# In the scratch directory: it is of this machine, and may be lost.
_HASHES = "hashes.json"


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
        dump = dump_date(settings, dump)
        say(f"{settings.wiki} {dump}, as far as {until}, in {settings.root.location}")
        _warn_of_idle_workers()
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
    from dagster import DagsterInstance

    from jgpt_dagster.assets.look import Looker
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig
    from jgpt_dagster.cli.progress_bars import progress_bars
    from jgpt_dagster.cli.stage_lines import stage_lines
    from jgpt_dagster.definitions import defs, load_definitions
    from jgpt_dagster.orchestration.existing_models import report_existing_models
    from jgpt_dagster.orchestration.local_runner import run_stages, stages_up_to

    training = run_config.get("pretrained_model", {}).get("config", {})
    grace = PretrainingConfig(**training).stop_grace_seconds
    stages = stages_up_to(defs, settings.corpora, dump, settings.model, until)
    if {stage.asset for stage in stages} & {corpus.segmented_asset for corpus in settings.corpora}:
        _require_engine(settings)
    if any(stage.asset == "pretrained_model" for stage in stages):
        _require_start(settings, dump, training)
    instance = DagsterInstance.get()
    report_existing_models(instance, settings.root)
    if any(stage.asset == "wikipedia_dump" for stage in stages):
        require_obtainable(settings, dump)
    record = KeptConfig(settings.catalog)
    for asset in record.assets:
        record.keep(asset, settings.model, run_config.get(asset, {}).get("config", {}))
    started = before = time.monotonic()
    with Looker.opened(load_definitions(), instance, run_config) as looker:
        for result in run_stages(
            stages,
            dump=dump,
            model=settings.model,
            workers=workers,
            run_config={"ops": run_config},
            resume=resume,
            root=settings.root.path,
            load_definitions=load_definitions,
            display=progress_bars,
            report=say_beside_bars,
            grace_seconds={"pretrained_model": grace + _LAUNCHER_SECONDS},
            # What is published elsewhere is downloaded before it is compared, which worker processes do in parallel.
            look=looker.look if settings.root.remote is None else None,
            hashes=settings.scratch_directory / _HASHES,
        ):
            now = time.monotonic()
            for line in stage_lines(result, now - before):
                say_beside_bars(line)
            before = now
    say(f"{'all':<69} {before - started:8.1f} s")
    if until == "release":
        _show_release(settings, dump)


def _require_engine(settings: Settings) -> None:
    """Raise TokenizerMismatchError if the segmenter is not that of the tokenizer, before anything is fetched."""
    from jgpt_dagster.assets.tokenizer import require_tokenizer_engine
    from jgpt_dagster.corpus.segmenters import open_segmenter

    tokenizer = settings.catalog.tokenizer
    if tokenizer.manifest() is not None:
        with open_segmenter(settings.segmenter) as engine:
            require_tokenizer_engine(tokenizer, settings.segmenter, engine.fingerprint)


def _require_start(settings: Settings, dump: str, training: Mapping[str, Any]) -> None:
    """Raise WarmStartError if a training that has not begun must start from a model and has none: before any stage."""
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig, training_config
    from jgpt_dagster.assets.training_run_directory import recorded_inputs
    from jgpt_dagster.assets.warm_start import choose_start
    from jgpt_dagster.orchestration.partitions import ModelKey
    from jgpt_dagster.orchestration.resources import CorpusStore

    kept = KeptConfig(settings.catalog).of("pretrained_model", settings.model)
    fields = {name: value for name, value in kept.items() if name in PretrainingConfig.model_fields}
    config, store, key = (
        PretrainingConfig(**{**training, **fields}),
        CorpusStore.of(settings),
        ModelKey(dump, settings.model),
    )
    target, run = store.model_directory("pretrained_model", *key), store.training_run_path(*key)
    if config.warm_start != "require" or (recorded_inputs(target, run, None) and not config.force):
        return
    # The tokenizer is frozen, so the training set that is still to be made will have it.
    tokenizer = store.directory("tokenizer").manifest()
    choose_start(
        store,
        key,
        training_config(config, key.model),
        tokenizer.data_sha256 if tokenizer else None,
        warm_start=config.warm_start,
        start_from=config.start_from,
    )


def _warn_of_idle_workers() -> None:
    """Say so if the instance has workers on other machines: they take no part in what this command does itself."""
    from dagster import DagsterInstance
    from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

    if not isinstance(DagsterInstance.get().run_launcher, DefaultRunLauncher):
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
    prompt, text = samples[0]["prompt"], samples[0]["text"]
    say(f"\nrelease                     {release.location}")
    compared = f"{counts['documents']:,} documents; bigrams need {counts['bigram_bits_per_character']:.3f}"
    say(f"held-out bits per character {counts['bits_per_character']:.3f} ({compared})")
    say(f"a text that begins with “{prompt}”:\n{text}")
