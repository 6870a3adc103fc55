"""Promises of reuse: every page that can be found is found, in one pass, and nothing else is."""

import time
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.row_reuse import PreviousRows, PreviousShard, ReuseStats


def parts_of(keys: list[int], borders: list[int], opened: list[int]) -> list[PreviousShard[str]]:
    """Cut ascending keys at the borders into parts that note when they are opened."""
    cuts = [0, *sorted(border % (len(keys) + 1) for border in borders), len(keys)]
    chunks = [keys[start:end] for start, end in pairwise(cuts) if start < end]

    def part(chunk: list[int]) -> PreviousShard[str]:
        def rows() -> Iterator[tuple[int, str]]:
            opened.append(chunk[0])
            return iter([(key, f"row {key}") for key in chunk])

        return PreviousShard(chunk[0], chunk[-1], rows)

    return [part(chunk) for chunk in chunks]


keys = st.lists(st.integers(0, 60), unique=True).map(sorted)


@given(keys, keys, st.lists(st.integers(0, 100), max_size=5))
def test_every_key_of_the_earlier_output_is_found_and_no_other(
    earlier: list[int], wanted: list[int], borders: list[int]
) -> None:
    rows = PreviousRows(parts_of(earlier, borders, []))
    assert [rows.seek(key) for key in wanted] == [f"row {key}" if key in earlier else None for key in wanted]


def test_parts_without_a_wanted_key_are_not_opened() -> None:
    opened: list[int] = []
    rows = PreviousRows(parts_of(list(range(100)), [20, 40, 60, 80], opened))
    assert rows.seek(45) == "row 45"
    assert rows.seek(59) == "row 59"
    assert opened == [40]


def test_a_key_out_of_order_is_only_not_found() -> None:
    rows = PreviousRows(parts_of([1, 2, 3, 4], [], []))
    assert [rows.seek(key) for key in (3, 1, 4)] == ["row 3", None, "row 4"]


def test_no_more_is_said_to_be_saved_than_a_full_run_took() -> None:
    stats = ReuseStats(previous_rate=0.01, full_seconds=8.0)
    stats.measure(lambda: time.sleep(0.01), rows=1, size=1)
    stats.count_reused(500)
    # One row of unusual cost is no measure for the others.
    assert (stats.rate, stats.saved_seconds) == (0.01, 5.0)
    stats.count_reused(500)
    assert stats.saved_seconds == 8.0


def test_without_a_full_run_to_compare_with_nothing_is_said_to_be_saved() -> None:
    stats = ReuseStats()
    assert stats.saved_seconds == 0.0
    stats.measure(lambda: time.sleep(0.01), rows=1, size=1)
    assert stats.rate is not None and stats.rate >= 0.01
    stats.count_reused(500)
    assert stats.saved_seconds is None
