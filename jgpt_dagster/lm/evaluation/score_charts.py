"""What the charts of an evaluation show: its scores as bars, and the level of bigrams for a loss curve."""

import math
from collections.abc import Mapping
from typing import Any

from jgpt_dagster.charts.bar_chart import Bar
from jgpt_dagster.charts.line_chart import Level


def score_bars(result: Mapping[str, Any]) -> list[Bar]:
    """Return bits per character of a model with their intervals, of n-grams, and by corpus if there are several.

    `result` is the content of `evaluation.json`.
    """
    total, corpora = result["total"], result["corpora"]
    ngrams = [
        Bar(f"{name} {total[f'{field}_bits_per_character']:.3f}", total[f"{field}_bits_per_character"])
        for name, field in (("bigrams", "bigram"), ("unigrams", "unigram"))
    ]
    by_corpus = [_bar(f"model, {name}", score) for name, score in corpora.items() if len(corpora) > 1]
    return [_bar("model", total), *ngrams, *by_corpus]


def bigram_level(total: Mapping[str, Any]) -> Level:
    """Return the score of bigrams on all held-out documents as nats for each of their tokens, the unit of a loss."""
    nats = total["bigram_bits_per_character"] * math.log(2) * total["characters"] / total["tokens"]
    return Level(f"bigrams {nats:.2f}", nats)


def _bar(name: str, score: Mapping[str, Any]) -> Bar:
    value, low, high = (score[f"bits_per_character{end}"] for end in ("", "_low", "_high"))
    return Bar(f"{name} {value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})"), value, low, high)
