"""`foreign_evaluation`: any causal language model on the held-out documents of a dump, as raw text."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.evaluation import inference_device
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.assets.metadata import bars, table
from jgpt_dagster.assets.training_set import require_token_files
from jgpt_dagster.assets.warm_start import MODEL
from jgpt_dagster.catalog.corpora import corpus_named
from jgpt_dagster.catalog.evaluated_models import (
    DOCUMENTS,
    FOREIGN_EVALUATION,
    NGRAMS,
    SCORES,
    EvaluatedModels,
    evaluation_output,
    read_entries,
)
from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.evaluation.leaderboard import (
    COLUMNS,
    UNKNOWN_TRAINING_DATA,
    comparable_groups,
    heading,
    leaderboard_bars,
    table_rows,
)
from jgpt_dagster.lm.tokenizer.text_tokenizer import document_text, load_tokenizer
from jgpt_dagster.orchestration.partitions import dump_name_partitions, name_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows

if TYPE_CHECKING:
    from jgpt_dagster.lm.evaluation.text_models import TextModel
    from jgpt_dagster.lm.evaluation.text_scores import HeldOutText, TextScores

CODE_VERSION = "1"

BASELINE_TOKENS = 100_000_000
"""Training tokens that n-gram models are counted from, unless run config says otherwise."""

# The window where the root has no model whose context could give one.
_DEFAULT_WINDOW = 1024
_DOCUMENTS_SCHEMA = pa.schema(
    [("corpus", pa.int32()), *((name, pa.int64()) for name in ("key", "characters", "bytes", "tokens", "lost"))]
).append(pa.field("bits", pa.float64()))


class ForeignEvaluationConfig(StageConfig):
    """Run config of the evaluation of any model."""

    window: int = Field(
        default=0,
        ge=0,
        le=1_048_576,
        description="Tokens of a window, the same for all models; 0: the shortest context of the root's own models of "
        "the dump.",
    )
    max_characters: int = Field(
        default=1_000_000,
        ge=1,
        le=1_000_000_000_000,
        description="Largest number of held-out characters that are scored.",
    )
    baseline_tokens: int = Field(
        default=BASELINE_TOKENS,
        ge=1,
        le=1_000_000_000_000,
        description="Training tokens that the n-gram models are counted from.",
    )
    batch: int = Field(default=8, ge=1, le=65_536, description="Windows that are scored at once.")


@stage_asset(
    FOREIGN_EVALUATION,
    group="model",
    kinds={"pytorch", "huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_name_partitions,
    deps=[TRAINING_SET, TOKENIZER],
)
def foreign_evaluation(
    context: dg.AssetExecutionContext, config: ForeignEvaluationConfig, store: CorpusStore
) -> Materialization:
    """Bits per byte and per character of any causal language model on the held-out documents of a dump.

    Each model gets the same text with its own tokenizer, in windows of the same length, after one start token.
    `jgpt evaluate` gives models their names, `jgpt leaderboard` shows all of them.
    """
    dump, name = name_key(context)
    target = evaluation_output(store.root, dump, name)
    data, tokenizer = store.directory(TRAINING_SET, dump), store.directory(TOKENIZER)
    inputs = {input.recipe_label: input.verified().data_sha256 for input in (data, tokenizer)}
    inputs |= model_inputs(store, dump, name)
    window = config.window or _shortest_context(store.root, dump)
    settings: dict[str, Any] = {"window": window, "max_characters": config.max_characters}
    if name in NGRAMS:
        settings["baseline_tokens"] = config.baseline_tokens
    recipe = Recipe(
        stage=FOREIGN_EVALUATION,
        code_version=CODE_VERSION,
        settings=settings,
        inputs=inputs,
        libraries=library_versions("torch", "transformers", "tokenizers"),
    )

    def make(target: DirectoryArtifact, recipe: Recipe) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from jgpt_dagster.lm.evaluation.text_scores import score_texts, texts_sha256

        require_token_files(store.root, data)
        texts = _held_out_texts(store, data, config.max_characters)
        bar = progress(context, target, "documents", len(texts))
        with open_named_model(store, dump, name, config.baseline_tokens) as model:
            scores = score_texts(model, texts, window=window, batch=config.batch, advance=bar.advance)
            facts = asdict(model.facts)
        with target.writing(recipe) as out:
            _write(out.path, scores, {"model": facts, "window": window, "texts_sha256": texts_sha256(texts)})
            out.counts = scores.to_dict()["total"]

    return materialize(
        context, store, target, recipe, make, force=config.force, describe=lambda _: _describe(store, dump, target)
    )


def _shortest_context(root: DataRoot, dump: str) -> int:
    contexts = [
        json.loads((model.path / MODEL / "config.json").read_text())["n_positions"]
        for name in root.models("pretrained_model", dump)
        for model in [root.directory("pretrained_model", dump, model=name)]
        if model.manifest() is not None and model.verified()
    ]
    return min(contexts, default=_DEFAULT_WINDOW)


def model_inputs(store: CorpusStore, dump: str, name: str) -> dict[str, str]:
    """Return what an evaluated model is made of, for recipes. Raises ModelError if its directory holds no model."""
    if name in NGRAMS:
        outputs = (store.directory(TRAINING_SET, dump), store.directory(TOKENIZER))
        return {output.recipe_label: output.verified().data_sha256 for output in outputs}
    from jgpt_dagster.lm.evaluation.model_directory import directory_fingerprint, require_model_directory

    directory = EvaluatedModels(store.root).directory(name)
    require_model_directory(directory)
    return {"model": directory_fingerprint(directory)}


@contextmanager
def open_named_model(
    store: CorpusStore, dump: str, name: str, baseline_tokens: int = BASELINE_TOKENS
) -> Iterator["TextModel"]:
    """Open the n-gram model or the model directory of a name. Raises ModelError."""
    from jgpt_dagster.lm.evaluation.ngram_baselines import count_baselines
    from jgpt_dagster.lm.evaluation.text_models import ngram_text_model, open_own_encoder, open_text_model

    if name not in NGRAMS:
        with open_text_model(EvaluatedModels(store.root).directory(name), inference_device()) as model:
            yield model
        return
    data, tokenizer = store.directory(TRAINING_SET, dump), store.directory(TOKENIZER)
    require_token_files(store.root, data)
    training_set = TrainingSet.open(data.path)
    baselines = count_baselines(training_set, training_set.open_tokens(store.root.path), baseline_tokens)
    with open_own_encoder(tokenizer.path) as encoder:
        yield ngram_text_model(baselines, name, encoder, training_set.eos_id)


def _held_out_texts(store: CorpusStore, data: DirectoryArtifact, max_characters: int) -> "list[HeldOutText]":
    """Return the scored held-out documents of a training set as raw text."""
    from jgpt_dagster.lm.evaluation.text_scores import held_out_texts

    training_set = TrainingSet.open(data.path)
    tokenizer = load_tokenizer(store.directory(TOKENIZER).path)
    if tokenizer.profile == "clean":
        return held_out_texts(training_set, training_set.open_tokens(store.root.path), tokenizer, max_characters)
    return _texts_of_segmented(store, training_set, max_characters)


def _texts_of_segmented(store: CorpusStore, training_set: TrainingSet, max_characters: int) -> "list[HeldOutText]":
    """Return the same under `seed`, whose tokens do not give the text back, from the segmented documents."""
    from jgpt_dagster.lm.evaluation.text_scores import HeldOutText, TextScoreError, first_documents, require_counted

    documents = training_set.held_out_documents()
    order = first_documents(training_set, documents, max_characters)
    found: dict[int, HeldOutText] = {}
    for shard in np.unique(documents["shard"][order]):
        file = training_set.token_files[shard]
        corpus = corpus_named(store.corpora, file.corpus)
        segmented = store.root.parquet_by_label(file.label.replace(corpus.tokens_asset, corpus.segmented_asset, 1))
        segmented.verified()
        rows = {int(documents["key"][index]): int(index) for index in order if documents["shard"][index] == shard}
        for key, lines in read_rows(segmented.path, [corpus.key_column, "lines"]):
            if key in rows:
                text = document_text(lines, store.profile)
                require_counted(training_set, documents, rows[key], text)
                found[rows[key]] = HeldOutText(file.corpus, key, text)
        if missing := [key for key, index in rows.items() if index not in found]:
            raise TextScoreError(
                f"{segmented.label} does not hold document {missing[0]}, which is held out: it was made again since. "
                "Materialize its tokens and training_set again."
            )
    return [found[int(index)] for index in order]


def _write(directory: Any, scores: "TextScores", facts: Mapping[str, Any]) -> None:
    names = sorted({*scores.corpora})
    write_json(
        directory / SCORES, {**scores.to_dict(), **facts, "corpus_names": names, "most_lost": dict(scores.losses)}
    )
    columns = {name: getattr(scores, name) for name in ("characters", "bytes", "tokens", "lost", "bits")}
    with IntegerTableWriter(directory / DOCUMENTS, _DOCUMENTS_SCHEMA) as table:
        table.append(
            {"corpus": np.array([names.index(name) for name in scores.corpora]), "key": scores.keys, **columns}
        )


def _describe(store: CorpusStore, dump: str, target: DirectoryArtifact) -> Mapping[str, Any]:
    """Return the leaderboard that this evaluation belongs to."""
    groups = comparable_groups(read_entries(store.root, dump))
    own = next(group for group in groups if any(entry.name == target.partition.partition("|")[2] for entry in group))
    return {
        "scored": heading(own),
        "leaderboard_chart": bars("bits per byte", "bits per byte (95 %), lower is better", leaderboard_bars(own)),
        "leaderboard": table(COLUMNS, table_rows(own)),
        "note": f"* from elsewhere. {UNKNOWN_TRAINING_DATA}",
    }
