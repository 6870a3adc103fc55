"""Checks of the model, its evaluation and its release."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import dagster as dg

from jgpt_dagster.assets.checks.blocking_check import blocking_check
from jgpt_dagster.assets.checks.check_result import result, warning
from jgpt_dagster.catalog.comparison import difference_to_last
from jgpt_dagster.catalog.evaluated_models import (
    FOREIGN_EVALUATION,
    TASK_EVALUATION,
    evaluation_output,
    task_output,
)
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.release_directory import check_release
from jgpt_dagster.orchestration.partitions import dump_model_partitions, dump_name_partitions, model_key, name_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact


class Outcome(NamedTuple):
    """What a check finds in the counts of a manifest."""

    passed: bool
    description: str


def loss_outcome(counts: Mapping[str, Any]) -> Outcome:
    """Return whether the loss of a training run fell."""
    first, last = counts["first_loss"], counts["last_loss"]
    must_fall = not counts["warm_start"] and counts["steps"] > counts["warmup_steps"]
    passed = math.isfinite(first) and math.isfinite(last) and (last < first or not must_fall)
    return Outcome(passed, f"loss {first:.4f} at first, {last:.4f} at last")


def scores_outcome(counts: Mapping[str, Any]) -> Outcome:
    """Return whether an evaluation has a score."""
    value = counts["bits_per_character"]
    return Outcome(math.isfinite(value) and counts["tokens"] > 0, f"{value:.4f} bits per character")


def _model_output(asset: str) -> Callable[[dg.AssetCheckExecutionContext, CorpusStore], list[Artifact]]:
    return lambda context, store: [store.model_directory(asset, *model_key(context))]


@blocking_check("pretrained_model", _model_output("pretrained_model"), partitions=dump_model_partitions)
def loss_fell(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """The loss is finite and, in a run that started from scratch and finished its warm-up, lower at the end."""
    counts = store.model_directory("pretrained_model", *model_key(context)).verified().counts
    return result(*loss_outcome(counts), first_loss=counts["first_loss"], last_loss=counts["last_loss"])


@blocking_check("evaluation", _model_output("evaluation"), partitions=dump_model_partitions)
def scores_are_finite(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Held-out documents were scored, and the score is finite."""
    return result(*scores_outcome(store.model_directory("evaluation", *model_key(context)).verified().counts))


@blocking_check(
    FOREIGN_EVALUATION,
    lambda context, store: [evaluation_output(store.root, *name_key(context))],
    partitions=dump_name_partitions,
)
def bits_are_finite(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Held-out documents were scored, and the score is finite."""
    return result(*scores_outcome(evaluation_output(store.root, *name_key(context)).verified().counts))


@dg.asset_check(asset=FOREIGN_EVALUATION, partitions_def=dump_name_partitions)
def not_worse_than_last(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """A refreshed model is no worse than that of the dump before on the same documents. `jgpt compare` scores both."""
    margin = difference_to_last(store.root, *name_key(context))
    if margin is None:
        return warning(True, "no model of an earlier dump was evaluated on these documents")
    interval = (
        "too few documents for an interval"
        if margin.interval is None
        else f"95 % interval {margin.interval.low:+.4f} to {margin.interval.high:+.4f}"
    )
    description = f"{margin.value:+.4f} bits per byte against the model of the dump before; {interval}"
    return warning(not (margin.real and margin.value > 0), description)


@blocking_check(
    TASK_EVALUATION,
    lambda context, store: [task_output(store.root, *name_key(context))],
    partitions=dump_name_partitions,
)
def tasks_are_scored(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Every task has an accuracy between 0 and 1."""
    accuracies = task_output(store.root, *name_key(context)).verified().counts
    passed = bool(accuracies) and all(0 <= value <= 1 for value in accuracies.values())
    return result(passed, f"{len(accuracies)} tasks")


@dg.asset_check(asset="evaluation", partitions_def=dump_model_partitions)
def better_than_bigrams(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """The model needs fewer bits than a bigram model. Only warns: a short trial run may not get there."""
    counts = store.model_directory("evaluation", *model_key(context)).verified().counts
    model, bigrams = counts["bits_per_character"], counts["bigram_bits_per_character"]
    low, high = counts["bigram_margin_low"], counts["bigram_margin_high"]
    interval = (
        "too few documents for an interval" if low is None else f"95 % interval of the margin {low:.4f} to {high:.4f}"
    )
    return warning(model < bigrams, f"{model:.4f} bits per character, bigrams {bigrams:.4f}; {interval}")


@blocking_check("release", _model_output("release"), partitions=dump_model_partitions)
def opens_offline(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """`AutoTokenizer` and `AutoModelForCausalLM` open the directory, and all its vocabularies are the same."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    release = store.model_directory("release", *model_key(context))
    release.verified()
    try:
        check_release(release.path)
    except JgptError as error:
        return result(False, str(error))
    tokenizer = AutoTokenizer.from_pretrained(release.path, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(release.path, local_files_only=True)
    parameters = model.num_parameters()
    passed = len(tokenizer) == model.config.vocab_size
    return result(passed, f"{len(tokenizer):,} tokens, {parameters:,} parameters", parameters=parameters)


MODEL_CHECKS = [
    loss_fell,
    scores_are_finite,
    bits_are_finite,
    not_worse_than_last,
    tasks_are_scored,
    better_than_bigrams,
    opens_offline,
]
