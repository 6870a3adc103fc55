"""Scores with their intervals, in words and as bars, and the level of bigrams for a loss curve."""

import math
from collections.abc import Mapping
from typing import Any

from jgpt_dagster.charts.bar_chart import Bar
from jgpt_dagster.charts.line_chart import Level

_FIGURE = "bits_per_character"


def score_bars(result: Mapping[str, Any]) -> list[Bar]:
    """Return bits per character of a model with their intervals, of n-grams, and by corpus if there are several.

    `result` is the content of `evaluation.json`.
    """
    total, corpora = result["total"], result["corpora"]
    ngrams = [
        Bar(f"{name} {total[f'{field}_bits_per_character']:.3f}", total[f"{field}_bits_per_character"])
        for name, field in (("bigrams", "bigram"), ("unigrams", "unigram"))
    ]
    by_corpus = [bar(f"model, {name}", score, _FIGURE) for name, score in corpora.items() if len(corpora) > 1]
    return [bar("model", total, _FIGURE), *ngrams, *by_corpus]


def bigram_level(total: Mapping[str, Any]) -> Level:
    """Return the score of bigrams on all held-out documents as nats for each of their tokens, the unit of a loss."""
    nats = total["bigram_bits_per_character"] * math.log(2) * total["characters"] / total["tokens"]
    return Level(f"bigrams {nats:.2f}", nats)


def with_ends(score: Mapping[str, Any], figure: str, places: int = 4) -> str:
    """Return a figure of a score with its 95 % interval, if it has one."""
    value, low, high = _ends(score, figure)
    return f"{value:.{places}f}" + ("" if low is None else f" ({low:.{places}f} to {high:.{places}f})")


def accuracy(task: Mapping[str, Any]) -> str:
    """Return the accuracy of a task with its 95 % interval."""
    return f"{task['accuracy']:.1%} ({task['accuracy_low']:.1%} to {task['accuracy_high']:.1%})"


def bar(name: str, score: Mapping[str, Any], figure: str) -> Bar:
    """Return a figure of a score as a bar with its interval, if it has one."""
    return Bar(f"{name} {with_ends(score, figure, places=3)}", *_ends(score, figure))


def _ends(score: Mapping[str, Any], figure: str) -> list[Any]:
    return [score[f"{figure}{end}"] for end in ("", "_low", "_high")]
