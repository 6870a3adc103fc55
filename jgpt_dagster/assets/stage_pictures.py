"""Pictures of what a stage did, by the name under which its page shows them; none where there is nothing to show."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jgpt_dagster.assets.metadata import bars, picture
from jgpt_dagster.charts.bar_chart import Bar, amounts, by_doubling, histogram
from jgpt_dagster.corpus.web.document_selection import DROP_REASONS
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact

Pictures = Mapping[str, Any]

_DUMPS = 6


def page_outcomes(counts: Mapping[str, Any]) -> Pictures:
    """Return what became of the pages of a shard, from the counts of its articles."""
    names = ("articles", "redirects", "other_namespaces", "rejected", "excluded")
    outcomes = {name: counts[name] for name in names if name in counts}
    return _bars("page_outcomes", f"{counts['pages']:,} pages", amounts(outcomes))


def document_outcomes(counts: Mapping[str, Any]) -> Pictures:
    """Return how many documents of a shard are kept, and how many are left out for which reason."""
    reasons = {reason: counts.get(f"dropped_{reason}", 0) for reason in DROP_REASONS}
    ranked = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    excluded = {"excluded": counts["excluded"]} if "excluded" in counts else {}
    outcomes = {"kept": counts["rows"], **ranked, "rejected": counts["rejected"], **excluded}
    return _bars("document_outcomes", f"{sum(outcomes.values()):,} documents", amounts(outcomes))


def left_out(characters: Mapping[str, int]) -> Pictures:
    """Return how many characters cleaning left out for which reason, the largest first."""
    ranked = dict(sorted(characters.items(), key=lambda item: (-item[1], item[0])))
    return _bars("what_cleaning_left_out", "characters left out of articles", amounts(ranked))


def document_lengths(lengths: np.ndarray) -> Pictures:
    """Return how long the documents of a shard are, in tokens."""
    columns = by_doubling(lengths)
    if not columns:
        return {}
    return {"document_lengths": picture("lengths of documents", histogram(columns, "tokens, from", "documents"))}


def mixture(tokens: Mapping[str, float]) -> Pictures:
    """Return the share of each corpus in what is trained on, in tokens of an epoch, its weight included."""
    amount = {name: round(count) for name, count in tokens.items()}
    return _bars("mixture_by_tokens", "tokens of an epoch by corpus", amounts(amount))


def reuse(store: CorpusStore, output: Callable[[str], Artifact], dump: str | None) -> Pictures:
    """Return how many rows of a shard each of the last dumps has taken from the dump before it.

    `output` returns the output of a dump; the first dump, which has taken nothing, is part of the picture.
    """
    if dump is None:
        return {}
    dumps = [earlier for earlier in store.root.dumps(output(dump).asset) if earlier <= dump][-_DUMPS:]
    records = {name: output(name).run_record() for name in dumps}
    rows = {name: (record.get("reused_rows", 0), record.get("made_rows", 0)) for name, record in records.items()}
    if not any(reused for reused, _ in rows.values()):
        return {}
    drawn = [
        Bar(f"{name}: {reused:,} of {reused + made:,} ({reused / (reused + made):.1%})", reused / (reused + made))
        for name, (reused, made) in rows.items()
        if reused + made
    ]
    return _bars("reuse_by_dump", "rows taken from the dump before", drawn)


def _bars(name: str, title: str, drawn: list[Bar]) -> Pictures:
    return {name: bars(name.replace("_", " "), title, drawn)} if drawn else {}
