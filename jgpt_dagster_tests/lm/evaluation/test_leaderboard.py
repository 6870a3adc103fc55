import numpy as np
import pytest

from jgpt_dagster.charts.bar_chart import bar_chart
from jgpt_dagster.lm.evaluation.leaderboard import (
    Entry,
    comparable_groups,
    differences,
    leaderboard_bars,
    table_rows,
    to_json,
)
from jgpt_dagster.lm.evaluation.text_scores import TextScores

DOCUMENTS = 40


def entry(name: str, bits: np.ndarray, window: int = 8, own: bool = True) -> Entry:
    sizes = np.full(len(bits), 10)
    lost = np.zeros(len(bits), int)
    scores = TextScores(["wikipedia"] * len(bits), lost, sizes, 3 * sizes, sizes, lost, bits, [])
    facts = {"family": "gpt2", "parameters": 5, "vocabulary": 9, "context": 8}
    total = scores.to_dict()["total"]
    return Entry(name, own, facts, window, "t", total, np.array(scores.corpora), lost, sizes, 3 * sizes, bits)


# Documents differ far more than the models do.
HARD = np.random.default_rng(0).uniform(50, 400, DOCUMENTS)


def test_a_small_difference_on_the_same_documents_is_real_although_the_intervals_overlap() -> None:
    better, worse = entry("better", HARD), entry("worse", HARD * 1.02)
    assert worse.total["bits_per_byte_low"] < better.total["bits_per_byte_high"]
    found = differences(comparable_groups([worse, better])[0])["better", "worse"]
    assert found.value == pytest.approx(0.02 * HARD.sum() / (30 * DOCUMENTS))
    assert found.real and found.interval and found.interval.low > 0


def test_a_difference_that_chance_explains_is_not_real() -> None:
    noise = np.random.default_rng(1).normal(0, 20, DOCUMENTS)
    found = differences([entry("a", HARD), entry("b", HARD + noise)])["a", "b"]
    assert not found.real
    few = differences([entry("a", HARD[:5]), entry("b", HARD[:5] + 100)])["a", "b"]
    assert few.interval is None and not few.real


def test_only_scores_of_the_same_texts_and_windows_stand_in_one_table() -> None:
    groups = comparable_groups([entry("a", HARD + 1), entry("b", HARD, window=16), entry("c", HARD)])
    assert [[one.name for one in group] for group in groups] == [["c", "a"], ["b"]]


def test_tables_say_which_model_is_from_elsewhere_and_charts_show_names_literally() -> None:
    group = [entry("ours", HARD), entry("theirs", HARD * 1.1, own=False)]
    rows = table_rows(group)
    assert [row[0] for row in rows] == ["ours", "theirs *"] and rows[1][5].endswith("real")
    assert [row["trained_here"] for row in to_json(group)["models"]] == [True, False]
    bars = leaderboard_bars([entry("<b>", HARD), *group])
    assert [bar.label.split()[0] for bar in bars] == ["<b>", "ours", "theirs"]
    assert all(bar.low and bar.high and bar.low < bar.value < bar.high for bar in bars)
    svg = bar_chart(bars, "bits per byte")
    assert "&lt;b&gt;" in svg and "<b>" not in svg
