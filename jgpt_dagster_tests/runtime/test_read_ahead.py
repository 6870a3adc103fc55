"""Items that are read ahead come in order, one reader ends with its consumer, and its errors are raised there."""

import threading
from collections.abc import Iterator

import pytest

from jgpt_dagster.runtime.read_ahead import read_ahead


def test_all_items_come_in_their_order():
    assert list(read_ahead(range(1000), 3)) == list(range(1000))
    assert list(read_ahead([], 3)) == []


def test_no_more_than_the_depth_is_taken_in_advance():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    reader = read_ahead(items(), 2)
    for number in range(10):
        assert next(reader) == number
        assert len(taken) <= number + 5
    reader.close()


def test_an_error_comes_after_the_items_before_it():
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second one")

    reader = read_ahead(items(), 4)
    assert next(reader) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(reader)


def test_a_consumer_that_stops_ends_the_thread():
    before = threading.active_count()
    reader = read_ahead(range(1_000_000), 2)
    assert next(reader) == 0
    reader.close()
    assert threading.active_count() == before
