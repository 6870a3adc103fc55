"""What an earlier dump has of a page, found while the rows of a later dump are made.

Dumps are in order of page id, so that one pass over both finds every page, whatever shard it is in now and was in then.
A page out of order is not found and made anew: reuse may cost time, never change a result.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class PreviousShard(Generic[T]):
    """A part of an earlier output: its least and greatest key, and the way to its (key, value) rows, ascending.

    `rate` is what making it cost, as in ReuseStats, where that is known.
    """

    first: int
    last: int
    open: Callable[[], Iterator[tuple[int, T]]]
    rate: float | None = None


class PreviousRows(Generic[T]):
    """The rows of an earlier output, asked for by ascending key; opens the parts that it needs, one at a time."""

    def __init__(self, parts: Iterable[PreviousShard[T]]) -> None:
        self._parts = sorted(parts, key=lambda part: part.first, reverse=True)
        rates = [part.rate for part in self._parts if part.rate is not None]
        self.rate = sum(rates) / len(rates) if rates else None
        self._rows: Iterator[tuple[int, T]] = iter(())
        self._head: tuple[int, T] | None = None

    def seek(self, key: int) -> T | None:
        """Return the value of a key, or None where the earlier output has none at this place."""
        while self._head is None or self._head[0] < key:
            self._head = next(self._rows, None)
            if self._head is None and not self._open_part(key):
                return None
        return self._head[1] if self._head[0] == key else None

    def _open_part(self, key: int) -> bool:
        """Open the part that may hold a key; parts before it are passed over unread."""
        while self._parts and self._parts[-1].last < key:
            self._parts.pop()
        if not self._parts or self._parts[-1].first > key:
            return False
        self._rows = self._parts.pop().open()
        return True


@dataclass
class ReuseStats:
    """How much was reused and how much was made, and how long the making took (seconds of this process).

    `size` is in whatever unit the work is proportional to, such as characters; `previous_rate` (seconds a unit) is what
    making cost in the earlier dump, for a run that makes nothing itself.
    """

    previous_rate: float | None = None
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
        """Make `rows` rows, and count them and the time it takes."""
        started = time.perf_counter()
        try:
            return make()
        finally:
            self.making_seconds += time.perf_counter() - started
            self.made += rows
            self.made_size += size

    @property
    def rate(self) -> float | None:
        """Seconds that making a unit of size takes: as measured in this run, else in the earlier dump's."""
        return self.making_seconds / self.made_size if self.made_size else self.previous_rate

    @property
    def saved_seconds(self) -> float | None:
        """What making the reused rows would have cost; None where nothing was made in this run nor the earlier one."""
        return None if self.rate is None else self.reused_size * self.rate
