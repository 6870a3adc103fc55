"""Progress of a long step: events for bars, lines at a calm pace, rates and the time that is left."""

from collections.abc import Iterator

import pytest

from jgpt_dagster.runtime import progress as progress_module
from jgpt_dagster.runtime.progress import Progress, ProgressEvent, add_listener


class Clock:
    """A clock that is set by hand, in the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ProgressEvent]]:
    events: list[ProgressEvent] = []
    monkeypatch.setattr(progress_module, "_listeners", [])
    add_listener(events.append)
    yield events


def test_a_line_tells_what_is_done_how_fast_and_how_long_the_rest_takes(clock: Clock) -> None:
    bar = Progress("shard 003", "documents", 4000, print)
    bar.advance(1000)
    bar.count_secondary("sentences", 20_000)
    bar.count_input_bytes(5_000_000)
    assert bar.summary(10) == (
        "shard 003: 1,000 of 4,000 documents, 100 documents/s, 2,000 sentences/s, 0.5 MB/s, 30 s left"
    )


def test_where_the_total_is_unknown_the_share_of_the_input_that_was_read_tells_the_time_left(clock: Clock) -> None:
    bar = Progress("shard 003", "articles", None, print, size=8_000_000)
    assert bar.summary(0) == "shard 003: 0 articles"
    bar.count_input_bytes(2_000_000)
    bar.advance(500)
    assert bar.summary(10) == "shard 003: 500 of about 2,000 articles, 50 articles/s, 0.2 MB/s, 30 s left"


def test_without_total_and_size_no_time_is_promised(clock: Clock) -> None:
    bar = Progress("archive", "B", None, print)
    bar.update(300)
    assert bar.summary(3) == "archive: 300 B, 0.0 MB/s"
    bar.update(300, 600)
    assert bar.summary(3) == "archive: 300 of 600 B, 0.0 MB/s, 3 s left"
    assert bar.summary(3000) == "archive: 300 of 600 B, 0.0 MB/s, 50 min left"
    assert bar.summary(30_000) == "archive: 300 of 600 B, 0.0 MB/s, 8 h 20 min left"


def test_bars_move_twice_a_second_and_lines_come_every_fifteen(clock: Clock, events: list[ProgressEvent]) -> None:
    lines: list[str] = []
    bar = Progress("shard 003", "articles", None, lines.append, size=6000)
    for _ in bar.track(range(600)):
        clock.now += 0.1
        bar.count_input_bytes(10)
    assert 100 <= len(events) <= 121
    assert len(lines) == 3
    assert all("of about 600 articles, 10 articles/s" in line for line in lines)
    assert events[-1].total == 600
    assert events[-1].figures == ("0 s left", "0.0 MB/s", "10 articles/s")
