"""One table of any models on the same held-out texts: figures with intervals, and which differences are real."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any, NamedTuple

import numpy as np

from jgpt_dagster.charts.bar_chart import Bar
from jgpt_dagster.lm.evaluation.bootstrap import Interval, bootstrap_interval
from jgpt_dagster.lm.evaluation.score_charts import bar, with_ends

UNKNOWN_TRAINING_DATA = (
    "Whether a held-out document was in the training data of a model from elsewhere cannot be known; if it was, the "
    "figures of that model are too good."
)


@dataclass(frozen=True)
class Entry:
    """The evaluation of a model: its facts, its total figures, and a row per document.

    `texts` identifies the texts that were scored, in windows of `window` tokens. `own` says that the model was trained
    by this data root, so that the documents were held out of its training.
    """

    name: str
    own: bool
    model: Mapping[str, Any]
    window: int
    texts: str
    total: Mapping[str, Any]
    corpora: np.ndarray
    keys: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray
    bits: np.ndarray


class Difference(NamedTuple):
    """By how many bits per byte one model needs more than another, with its interval; None for too few documents."""

    value: float
    interval: Interval | None

    @property
    def real(self) -> bool:
        """Whether the interval excludes that the models are equally good."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


def paired_difference(worse: np.ndarray, better: np.ndarray, bytes: np.ndarray) -> Difference:
    """Return the difference of two models in bits per byte, from their bits on the same documents.

    Documents are resampled for both at once, so what makes a document hard for both does not widen the interval.
    """
    margin = worse - better
    return Difference(float(margin.sum() / bytes.sum()), bootstrap_interval(margin, bytes))


def comparable_groups(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries with the same texts and windows, the best first; the largest group first."""
    ordered = sorted(entries, key=lambda entry: (entry.texts, entry.window, entry.total["bits_per_byte"], entry.name))
    groups = [list(group) for _, group in groupby(ordered, key=lambda entry: (entry.texts, entry.window))]
    return sorted(groups, key=len, reverse=True)


def differences(group: Sequence[Entry]) -> dict[tuple[str, str], Difference]:
    """Return, for each pair of comparable entries in order, by how much the second is worse than the first."""
    return {
        (better.name, worse.name): paired_difference(worse.bits, better.bits, better.bytes)
        for better, worse in combinations(group, 2)
    }


COLUMNS = ("model", "family", "parameters", "bits/byte (95 %)", "bits/character (95 %)", "worse than above by", "lost")
"""The head of the table of a group."""


def table_rows(group: Sequence[Entry]) -> list[list[str]]:
    """Return the rows of a group's table, as text."""
    rows = []
    for place, entry in enumerate(group):
        above = group[place - 1] if place else None
        margin = paired_difference(entry.bits, above.bits, entry.bytes) if above else None
        parameters = entry.model["parameters"]
        rows.append(
            [
                entry.name if entry.own else f"{entry.name} *",
                entry.model["family"],
                "" if parameters is None else f"{parameters:,}",
                with_ends(entry.total, "bits_per_byte"),
                with_ends(entry.total, "bits_per_character"),
                _margin(margin) if margin else "",
                f"{entry.total['lost_share']:.2%}",
            ]
        )
    return rows


def heading(group: Sequence[Entry]) -> str:
    """Return what was scored, for the line above a table."""
    total = group[0].total
    return (
        f"{total['documents']:,} held-out documents, {total['characters']:,} characters, windows of "
        f"{group[0].window:,} tokens"
    )


def to_json(group: Sequence[Entry]) -> dict[str, Any]:
    """Return a group as JSON: its rows, and every difference with its interval."""
    return {
        "window": group[0].window,
        "texts_sha256": group[0].texts,
        "models": [{"name": entry.name, "trained_here": entry.own, **entry.model, **entry.total} for entry in group],
        "differences": [
            {
                "better": better,
                "worse": worse,
                "bits_per_byte": found.value,
                "low": found.interval.low if found.interval else None,
                "high": found.interval.high if found.interval else None,
                "real": found.real,
            }
            for (better, worse), found in differences(group).items()
        ],
    }


def _margin(margin: Difference) -> str:
    if margin.interval is None:
        return f"{margin.value:.4f} (too few documents)"
    verdict = "real" if margin.real else "not real"
    return f"{margin.value:.4f} ({margin.interval.low:.4f} to {margin.interval.high:.4f}), {verdict}"


def leaderboard_bars(group: Sequence[Entry]) -> list[Bar]:
    """Return the bits per byte of each model with their intervals."""
    return [bar(entry.name, entry.total, "bits_per_byte") for entry in group]
