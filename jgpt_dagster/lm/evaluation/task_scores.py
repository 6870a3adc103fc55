"""Scores of any model on tasks: which choice is the likeliest, by the log-likelihood of lm-evaluation-harness."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jgpt_dagster.lm.evaluation.bootstrap import Interval
from jgpt_dagster.lm.evaluation.score_charts import accuracy
from jgpt_dagster.lm.evaluation.task_items import TaskItem
from jgpt_dagster.lm.evaluation.text_models import TextModel
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster.runtime.batching import batches

_ITEMS_AT_ONCE = 256
_UNLIMITED_CONTEXT = 2048
# Log-likelihoods that differ by less differ by the order of 32-bit additions.
_EQUAL = 1e-5
# Two-sided 95 % of the normal distribution.
_Z = 1.959964


@dataclass(frozen=True)
class TaskScores:
    """The items of a task with the log-likelihoods (natural logarithm) of their choices under a model."""

    items: Sequence[TaskItem]
    log_likelihoods: Sequence[tuple[float, ...]]

    @property
    def choices(self) -> list[int]:
        """The index of the likeliest choice of each item, the first of equals."""
        return [int(np.argmax(values)) for values in self.log_likelihoods]

    @property
    def right(self) -> np.ndarray:
        """Whether the likeliest choice of each item is right; of equals, the share that is."""
        pairs = zip(self.items, self.log_likelihoods, strict=True)
        return np.array([_right_share(item, np.array(values)) for item, values in pairs])

    @property
    def right_by_character(self) -> np.ndarray:
        """The same by log-likelihood per character of the choice, which favours no short ones."""
        pairs = zip(self.items, self.log_likelihoods, strict=True)
        return np.array([_right_share(item, values / np.array([*map(len, item.choices)])) for item, values in pairs])

    def to_dict(self) -> dict[str, Any]:
        """Return accuracy with its interval, what chance gives, and accuracy by group."""
        answers = np.array([item.answer for item in self.items])
        right = self.right
        groups = np.array([item.group for item in self.items])
        interval = wilson_interval(float(right.sum()), len(right))
        same = len({item.choices for item in self.items}) == 1
        return {
            "items": len(right),
            "accuracy": float(right.mean()),
            "accuracy_low": interval.low,
            "accuracy_high": interval.high,
            "accuracy_by_character": float(self.right_by_character.mean()),
            "chance": float(np.mean([_right_share(item, np.zeros(len(item.choices))) for item in self.items])),
            # Where the choices are labels, the most frequent answer alone reaches this.
            **({"majority": float(np.bincount(answers).max() / len(answers))} if same else {}),
            **(
                {"groups": {str(name): float(right[groups == name].mean()) for name in np.unique(groups)}}
                if len({*groups}) > 1
                else {}
            ),
        }

    def item_rows(self) -> list[dict[str, Any]]:
        """Return a row for each item, without its text: where it is, and what the model made of it."""
        rows = zip(self.items, self.log_likelihoods, self.choices, strict=True)
        return [
            {"item": item.place, "answer": item.answer, "choice": choice, "log_likelihoods": list(values)}
            for item, values, choice in rows
        ]


def score_task(
    model: TextModel, items: Sequence[TaskItem], batch: int, advance: Callable[[int], None] = lambda items: None
) -> TaskScores:
    """Return the log-likelihood of each choice of each item after its context; `batch` sequences at once.

    As in lm-evaluation-harness, spaces at the end of a context belong to the choice, the choice's tokens are those that
    context and choice have beyond the context alone, and a sequence that is too long loses its beginning. A context
    follows what the tokenizer puts before a text; without a context, a choice follows `choice_start`.
    """
    log_likelihoods: list[tuple[float, ...]] = []
    for group in batches(items, max_items=_ITEMS_AT_ONCE):
        pairs = [(item.context, item.delimiter + choice) for item in group for choice in item.choices]
        values = iter(pair_log_likelihoods(model, pairs, batch))
        log_likelihoods += [tuple(next(values) for _ in item.choices) for item in group]
        advance(len(group))
    return TaskScores(items, log_likelihoods)


def pair_log_likelihoods(model: TextModel, pairs: Sequence[tuple[str, str]], batch: int) -> list[float]:
    """Return log p(continuation | context) of each pair of context and continuation."""
    moved = [_with_spaces_moved(*pair) for pair in pairs]
    whole = model.encoder.encode([context + continuation for context, continuation in moved])
    contexts = dict.fromkeys(context for context, _ in moved if context)
    encoded = dict(zip(contexts, model.encoder.encode(list(contexts)), strict=True))
    sequences, lengths = [], []
    for (context, continuation), ids in zip(moved, whole, strict=True):
        if not len(ids):
            raise ModelError(f"the tokenizer has no token for {continuation!r}, so this choice has no probability.")
        kept = len(encoded[context]) if context else 0
        if kept >= len(ids):  # the end of the context and the choice are one token
            kept = _common(ids, encoded[context])
        # The first of all tokens needs one before it to have a probability.
        start = model.prompt_prefix if kept else [model.choice_start]
        sequences.append(np.concatenate((np.array(start, np.int64), ids)))
        lengths.append(len(ids) - kept)
    window = model.facts.context or _UNLIMITED_CONTEXT
    bits = model.continuation_bits(sequences, lengths, window, batch)
    return [-value * math.log(2) for value in bits]


def wilson_interval(successes: float, trials: int) -> Interval:
    """Return the 95 % interval of a proportion (Wilson, "Probable Inference", 1927)."""
    share, square = successes / trials, _Z**2 / trials
    middle = (share + square / 2) / (1 + square)
    reach = _Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def summary_rows(tasks: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each task: items, accuracy with its interval, chance."""
    return [
        [
            name,
            f"{task['items']:,}",
            accuracy(task),
            f"{task['accuracy_by_character']:.1%}",
            f"{task['chance']:.1%}" + (f", most frequent answer {task['majority']:.1%}" if "majority" in task else ""),
        ]
        for name, task in tasks.items()
    ]


TASK_COLUMNS = ("task", "items", "accuracy (95 %)", "by character", "chance")
"""The head of the rows of `summary_rows`."""


def _right_share(item: TaskItem, values: np.ndarray) -> float:
    """Return the share of the likeliest choices that are the right one. A choice may be there twice."""
    likeliest = np.flatnonzero(values >= values.max() - _EQUAL)
    return float(np.mean([item.choices[index] == item.choices[item.answer] for index in likeliest]))


def _with_spaces_moved(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """Return the length of the beginning that two sequences share, at least one less than the first one's."""
    length = min(len(first) - 1, len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
