"""Reuse of rows: an earlier dump's result for a page, looked up while the rows of a later dump are made.

Dumps are in order of page id, so one pass over both finds every page, whichever shards hold it. A page out of order is
not found and made anew: reuse may cost time, but never changes a result.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class PreviousShard(Generic[T]):
    """A shard of an earlier output: its first and last key, and a function that opens its (key, value) rows, ascending.

    `rate` is what making it cost, in the unit of ReuseStats, if known.
    """

    first: int
    last: int
    open: Callable[[], Iterator[tuple[int, T]]]
    rate: float | None = None


class PreviousRows(Generic[T]):
    """The rows of an earlier output, looked up by ascending key; opens the shards that are needed, one at a time."""

    def __init__(self, shards: Iterable[PreviousShard[T]], full_seconds: float | None = None) -> None:
        """`full_seconds` is how long a full run of the shard that is made now took in an earlier dump, if known."""
        self.full_seconds = full_seconds
        self._shards = sorted(shards, key=lambda shard: shard.first, reverse=True)
        rates = [shard.rate for shard in self._shards if shard.rate is not None]
        self.rate = sum(rates) / len(rates) if rates else None
        self._rows: Iterator[tuple[int, T]] = iter(())
        self._head: tuple[int, T] | None = None

    def seek(self, key: int) -> T | None:
        """Advance to a key and return its value, or None if the earlier output has none at this place."""
        while self._head is None or self._head[0] < key:
            self._head = next(self._rows, None)
            if self._head is None and not self._open_shard(key):
                return None
        return self._head[1] if self._head[0] == key else None

    def _open_shard(self, key: int) -> bool:
        """Open the shard that may hold a key; skip earlier ones unread."""
        while self._shards and self._shards[-1].last < key:
            self._shards.pop()
        if not self._shards or self._shards[-1].first > key:
            return False
        self._rows = self._shards.pop().open()
        return True


@dataclass
class ReuseStats:
    """How many rows were reused and made, and how long making took (seconds of this process).

    `size` is in a unit that the work is proportional to, such as characters. `previous_rate` (seconds a unit) and
    `full_seconds` are what an earlier dump's run of the shard cost that reused nothing.
    """

    previous_rate: float | None = None
    full_seconds: float | None = None
    reused: int = 0
    made: int = 0
    reused_size: int = 0
    made_size: int = 0
    making_seconds: float = 0.0

    def count_reused(self, size: int) -> None:
        """Count one reused row."""
        self.reused += 1
        self.reused_size += size

    def measure(self, make: Callable[[], T], rows: int, size: int) -> T:
        """Call `make`, which makes `rows` rows; count them and the time."""
        started = time.perf_counter()
        try:
            return make()
        finally:
            self.making_seconds += time.perf_counter() - started
            self.made += rows
            self.made_size += size

    @property
    def rate(self) -> float | None:
        """Seconds that making a unit of size takes, as measured where most was made: in the earlier dump if anything is
        reused from it, because the few rows that are made now may be unlike the others.
        """
        measured = self.making_seconds / self.made_size if self.made_size else None
        first, second = (self.previous_rate, measured) if self.reused else (measured, self.previous_rate)
        return second if first is None else first

    @property
    def saved_seconds(self) -> float | None:
        """What making the reused rows would have cost, and no more than a full run took; None if that is not known."""
        if not self.reused:
            return 0.0
        if self.rate is None or self.full_seconds is None:
            return None
        return min(self.reused_size * self.rate, self.full_seconds)
