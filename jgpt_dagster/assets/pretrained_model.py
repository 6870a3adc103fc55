"""`pretrained_model`: the training run, from a training set to finished weights."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.finished_models import model_recipe
from jgpt_dagster.assets.live_training import LiveTraining
from jgpt_dagster.assets.materialize import Materialization, materialize, tell
from jgpt_dagster.assets.metadata import curve, picture, table
from jgpt_dagster.assets.pretraining_config import (
    PretrainingConfig,
    plan_training,
    recipe_settings,
    require_hardware,
    resolved_values,
    training_config,
)
from jgpt_dagster.assets.remembered_config import given_fields, keep_config, remembered
from jgpt_dagster.assets.training_run_directory import (
    final_checkpoint,
    prepare_run_directory,
    recorded_inputs,
    recorded_words,
    require_same_training_set,
    root_run_id,
)
from jgpt_dagster.assets.training_set import require_token_files
from jgpt_dagster.assets.warm_start import MODEL, TOKENIZER_RECORD, choose_start, recorded_start
from jgpt_dagster.catalog.training_data_links import keep_training_data
from jgpt_dagster.charts.drawing import LARGE
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import LaunchError, LaunchInterruptedError, ReportedError, run_process_group
from jgpt_dagster.lm.planning.plan_vs_actual import actual_throughput, plan_vs_actual_rows
from jgpt_dagster.lm.planning.training_plan import TrainingPlan
from jgpt_dagster.lm.training.checkpoint_trust import require_own_scratch
from jgpt_dagster.lm.training.learning_rate_schedule import warmup_steps
from jgpt_dagster.lm.training.metrics_files import METRICS, RESULT, read_metrics, read_throughput
from jgpt_dagster.lm.training.run_progress import interruption
from jgpt_dagster.lm.training.train_config import TrainConfig
from jgpt_dagster.lm.training.training_charts import subsample, training_charts
from jgpt_dagster.orchestration.interrupted_training import resume_command
from jgpt_dagster.orchestration.partitions import dump_model_partitions, model_key
from jgpt_dagster.orchestration.resources import CorpusStore, TrainingLauncher
from jgpt_dagster.orchestration.told_failure import INTERRUPTS, ToldInterrupt
from jgpt_dagster.runtime.progress import ProgressEvent, publish
from jgpt_dagster.storage.atomic_write import link_or_copy, write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions

CODE_VERSION = "1"


@stage_asset(
    "pretrained_model",
    group="model",
    kinds={"pytorch", "huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_model_partitions,
    deps=["training_set"],
)
def pretrained_model(
    context: dg.AssetExecutionContext, config: PretrainingConfig, store: CorpusStore, launcher: TrainingLauncher
) -> Materialization:
    """The model that a DeepSpeed run trained on the training set, with its loss curve.

    Checkpoints lie in the scratch directory; an interrupted run resumes from the newest valid one.
    """
    key = model_key(context)
    target = store.model_directory("pretrained_model", *key)
    run = store.training_run_path(*key)
    with remembered(context, store, config, "pretrained_model", key.model) as config:
        data = store.directory("training_set", key.dump)
        data_manifest = data.verified()
        forced_by = root_run_id(context.run) if config.force else None
        tokenizer = data_manifest.recipe.inputs["tokenizer"]
        train_config = training_config(config, key.model, training_set=data.path, data_root=store.root.path, output=run)
        recorded = recorded_inputs(target, run, forced_by)
        finished = target.manifest() is not None and not config.force
        if finished or recorded.get(data.recipe_label) == data_manifest.data_sha256:
            required = config.warm_start == "require" and not finished
            start = recorded_start(store, key, recorded, required=required)
        else:
            if not config.force:
                require_same_training_set(run, target, data.recipe_label, data_manifest.data_sha256)
            start = choose_start(
                store, key, train_config, tokenizer, warm_start=config.warm_start, start_from=config.start_from
            )
        initial = start.model
        if initial:
            train_config = train_config.model_copy(update={"initial_model": initial.artifact.path / MODEL})
        recipe = Recipe(
            stage="pretrained_model",
            code_version=CODE_VERSION,
            settings=recipe_settings(train_config),
            inputs={
                data.recipe_label: data_manifest.data_sha256,
                **({initial.input_label(key.model): initial.sha256} if initial else {}),
            },
            libraries=library_versions("torch", "deepspeed", "transformers"),
        )
        current = recipe
        if not config.force:
            recipe = model_recipe(context, target, recipe, given_fields(context))
        if recipe.inputs[data.recipe_label] == data_manifest.data_sha256 and target.manifest():
            _keep_training_data(context, store, data)  # of a model that an earlier version has trained
        stale = {"stale": "; ".join(recipe.changes(current))} if recipe != current else {}

        def make(target: DirectoryArtifact, recipe: Recipe) -> Mapping[str, Any]:
            require_token_files(store.root, data)
            _keep_training_data(context, store, data)
            if initial:
                initial.require_unchanged()
            plan, laid_out_config = plan_training(config, launcher, train_config, TrainingSet.open(data.path))
            require_hardware(plan.hardware, launcher)
            require_own_scratch(run)
            prepare_run_directory(run, recipe, forced_by, start.words)
            # From here on the run can be resumed, which another config would not do.
            keep_config(store, "pretrained_model", resolved_values(config, train_config), key.model)
            if initial or config.warm_start != "off":
                tell(context, target, f"{target.label}: training starts {recorded_words(run) or start.words}")
            command = resume_command(key.dump, key.model, store.model, retrain=config.force)
            with _telling_how_to_go_on(run, command):
                _train(context, launcher, laid_out_config, config.stop_grace_seconds, gpu=plan.hardware.device.gpu)
            with target.writing(recipe) as out:
                shutil.copytree(run / MODEL, out.path / MODEL, copy_function=link_or_copy)
                for name in (METRICS, RESULT):
                    shutil.copyfile(run / name, out.path / name)
                result = json.loads((run / RESULT).read_text())
                out.counts = result | {
                    "parameters": _parameters(run / MODEL / "model.safetensors"),
                    "warmup_steps": warmup_steps(train_config, result["steps"]),
                    "warm_start": train_config.initial_model is not None,
                    **final_checkpoint(run, result["steps"]),
                }
            return {**_run_facts(plan, run), "start": recorded_words(run) or start.words, TOKENIZER_RECORD: tokenizer}

        return materialize(
            context,
            store,
            target,
            recipe,
            make,
            force=config.force,
            describe=lambda _: {**stale, **_describe_run(target)},
        )


def _keep_training_data(context: dg.AssetExecutionContext, store: CorpusStore, data: DirectoryArtifact) -> None:
    """Link what a model is trained on; the log says if that cannot be."""
    try:
        keep_training_data(store.root, data)
    except OSError as error:
        context.log.warning(
            f"No hard links to {data.label} could be made ({error.strerror or type(error).__name__}): the model cannot "
            "be evaluated once its training set is made again."
        )


@contextmanager
def _telling_how_to_go_on(run: Path, command: str) -> Iterator[None]:
    """Say of a training that ends early at which step that was, and which command goes on from there."""
    try:
        yield
    except INTERRUPTS:
        raise ToldInterrupt(interruption(run, command)) from None
    except LaunchInterruptedError as error:
        raise LaunchInterruptedError(interruption(run, command)) from error
    except ReportedError:
        raise
    except LaunchError as error:
        words = interruption(run, command)
        if not words:  # its training has finished, or never begun
            raise
        # On the first line, which status and alerts show.
        first, line_end, rest = str(error).partition("\n")
        raise LaunchError(f"{first} The training was {words}{line_end}{rest}") from error


def _train(
    context: dg.AssetExecutionContext,
    launcher: TrainingLauncher,
    config: TrainConfig,
    stop_grace_seconds: float,
    *,
    gpu: bool,
) -> None:
    """Run the training program under the launcher and stream its messages into the Dagster run."""
    path, label = config.output / "config.json", f"pretrained_model {context.partition_key}"
    write_json(path, json.loads(config.model_dump_json()))
    processes = launcher.process_count(gpu=gpu)
    command = launch_command(launcher.kind(), processes, path, launcher.hostfile_path())
    # No temporary files: the first process may run on another host, which shares only the run directory.
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesEnvContextInjector(),
        message_reader=dg.PipesFileMessageReader(str(config.output / "messages")),
    ) as session:
        environment = {**training_environment(processes, on_cpu=not gpu), **session.get_bootstrap_env_vars()}
        live = LiveTraining(context, config.output)

        def on_line(line: str) -> None:
            publish(ProgressEvent(label, line=line))
            live.look()

        run_process_group(
            command,
            environment,
            on_line=on_line,
            stop_grace_seconds=stop_grace_seconds,
        )


def _run_facts(plan: TrainingPlan, run: Path) -> Mapping[str, Any]:
    """Return facts about the machine that a run used, and how the run compares with its plan."""
    return {
        "hardware": plan.hardware.name,
        "layout": asdict(plan.layout),
        "plan_and_actual": plan_vs_actual_rows(plan, run),
        "peak_tokens_per_second": plan.peak_tokens_per_second,
        "speeds": subsample(read_throughput(run)),
        **actual_throughput(plan, run),
    }


def _describe_run(target: DirectoryArtifact) -> Mapping[str, Any]:
    record = target.run_record()
    rows, start = record.get("plan_and_actual"), record.get("start")
    charts = training_charts(
        read_metrics(target.path), record.get("speeds", []), peak_speed=record.get("peak_tokens_per_second")
    )
    curves = {name: curve(name.replace("_", " "), draw) for name, draw in charts.items()}
    if losses := charts.get("loss_curve"):
        curves = {
            "loss_curve": curves["loss_curve"],
            "loss_at_full_size": picture("loss", losses(size=LARGE)),
            **curves,
        }
    return {
        **curves,
        **({"start": start} if start else {}),
        **({"plan_and_actual": table(["what", "plan", "actual"], rows)} if rows else {}),
    }


def _parameters(weights: Path) -> int:
    """Return the number of parameters in a safetensors file, from its header."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
