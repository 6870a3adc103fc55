"""`task_evaluation`: any causal language model on tasks whose files the user has fetched."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.foreign_evaluation import model_inputs, open_named_model
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.assets.metadata import table
from jgpt_dagster.catalog.evaluated_models import ITEMS, TASK_EVALUATION, TASKS, task_output
from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.span_index import SpanIndex
from jgpt_dagster.lm.data.token_files import TOKEN_DTYPE, TOKENS, map_tokens
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.orchestration.partitions import dump_name_partitions, name_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.provenance.trace_text import SPAN_INDEX, index_label
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.hashing import sha256_file, sha256_value
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import write_json_lines

CODE_VERSION = "3"


class TaskEvaluationConfig(StageConfig):
    """Run config of the evaluation on tasks."""

    tasks: list[str] = Field(default=[], description="Names of the tasks; empty: all whose files are in JGPT_TASKS.")
    max_items: int = Field(
        default=1_000_000, ge=1, le=1_000_000_000, description="Largest number of items of a task, from its beginning."
    )
    batch: int = Field(default=16, ge=1, le=65_536, description="Sequences that are scored at once.")


@stage_asset(
    TASK_EVALUATION,
    group="model",
    kinds={"pytorch", "huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_name_partitions,
    deps=[TRAINING_SET, TOKENIZER],
)
def task_evaluation(
    context: dg.AssetExecutionContext, config: TaskEvaluationConfig, store: CorpusStore
) -> Materialization:
    """Accuracy on minimal pairs and multiple choice: how often the right choice is the likeliest.

    The files of the tasks are those that the user has fetched into the folder of `JGPT_TASKS`.
    """
    from jgpt_dagster.lm.evaluation.task_items import definition_values, find_tasks, read_items
    from jgpt_dagster.lm.evaluation.task_scores import score_task

    dump, name = name_key(context)
    target = task_output(store.root, dump, name)
    if store.tasks is None:
        raise JgptError("JGPT_TASKS names no folder. Put the files of tasks into one, and set it (docs/evaluation.md).")
    found = {definition.task: definition for definition in find_tasks(Path(store.tasks))}
    if unknown := sorted({*config.tasks} - found.keys()):
        raise JgptError(f"{store.tasks} has no task {', '.join(unknown)}. It has: {', '.join(found)}.")
    chosen = [definition for task, definition in found.items() if not config.tasks or task in config.tasks]
    inputs = {
        f"task {definition.task}": sha256_value(
            [definition_values(definition), {path.name: sha256_file(path) for path in definition.files}]
        )
        for definition in chosen
    }
    indexes = _training_indexes(store, dump)
    recipe = Recipe(
        stage=TASK_EVALUATION,
        code_version=CODE_VERSION,
        settings={"max_items": config.max_items},
        inputs={**inputs, **model_inputs(store, dump, name), **_hashes(indexes)},
        libraries=library_versions("torch", "transformers", "tokenizers"),
    )

    def make(target: DirectoryArtifact, recipe: Recipe) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # Before a model is opened, which may take long.
        items = {
            definition.task: [item for _, item in zip(range(config.max_items), read_items(definition), strict=False)]
            for definition in chosen
        }
        bar = progress(context, target, "items", sum(map(len, items.values())))
        with open_named_model(store, dump, name) as model:
            scores = {task: score_task(model, some, config.batch, bar.advance) for task, some in items.items()}
            facts = asdict(model.facts)
        marks = {task: _in_training(store, indexes, [item.text for item in some]) for task, some in items.items()}
        with target.writing(recipe) as out:
            figures = {task: of_task.to_dict() for task, of_task in scores.items()}
            write_json(out.path / TASKS, {"model": facts, "tasks": figures})
            write_json_lines(
                out.path / ITEMS,
                (
                    {"task": task, **row, "in_training": mark}
                    for task, of_task in scores.items()
                    for row, mark in zip(of_task.item_rows(), marks[task], strict=True)
                ),
            )
            out.counts = {f"{task}_accuracy": of_task["accuracy"] for task, of_task in figures.items()}

    return materialize(context, store, target, recipe, make, force=config.force, describe=lambda _: _describe(target))


def _training_indexes(store: CorpusStore, dump: str) -> dict[str, tuple[Path, str]]:
    """Return the indexes of all token files of a training set by label, with their hashes; none if one is missing."""
    training_set = store.directory(TRAINING_SET, dump)
    training_set.verified()
    found = {}
    for file in TrainingSet.open(training_set.path).token_files:
        tokens = parse_label(file.label)
        index, label = index_label(tokens), store.root.directory_by_label(file.label).manifest()
        output = store.root.directory(index.asset, index.dump, index.shard)
        manifest = output.manifest()
        if label is None or manifest is None or manifest.recipe.inputs.get(file.label) != label.data_sha256:
            return {}
        found[output.label] = (output.path, manifest.data_sha256)
    return found


def _hashes(indexes: Mapping[str, tuple[Path, str]]) -> dict[str, str]:
    return {label: sha256 for label, (_, sha256) in indexes.items()}


def _in_training(
    store: CorpusStore, indexes: Mapping[str, tuple[Path, str]], texts: Sequence[str]
) -> list[bool | None]:
    """Return for each text whether it stands verbatim, as tokens, in the token files; None where they have no index."""
    if not indexes:
        return [None] * len(texts)
    from jgpt_dagster.lm.evaluation.text_models import open_own_encoder

    opened = []
    for label, (path, _) in indexes.items():
        file = store.root.directory_by_label(label.replace(SPAN_INDEX, "_tokens", 1))
        size = file.verified().counts["tokens"]
        opened.append(SpanIndex.open(path, map_tokens(file.path / TOKENS, size)))
    with open_own_encoder(store.directory(TOKENIZER).path) as encoder:
        encoded = [ids.astype(TOKEN_DTYPE) for ids in encoder.encode(texts)]
    return [len(ids) > 0 and any(index.count(ids) for index in opened) for ids in encoded]


def _describe(target: DirectoryArtifact) -> Mapping[str, Any]:
    from jgpt_dagster.lm.evaluation.task_scores import TASK_COLUMNS, summary_rows

    return {"tasks": table(TASK_COLUMNS, summary_rows(json.loads((target.path / TASKS).read_text())["tasks"]))}
