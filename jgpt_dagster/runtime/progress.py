"""Progress of a long step: how much is done, how fast, and how much time is left.

A step publishes events to listeners: the Dagster run logs a line every now and then, and `jgpt run` draws bars from the
events that its worker processes send. This module depends on neither.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from jgpt_dagster.literal_text import visible

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_EVENT_SECONDS = 0.5
_LINE_SECONDS = 15.0


@dataclass(frozen=True)
class ProgressEvent:
    """The state of a step: `done` of `total` units (None: unknown), or its end, or a line to show."""

    label: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    figures: tuple[str, ...] = ()
    """The time left and the rates, most informative first."""
    line: str = ""
    ended: bool = False


T = TypeVar("T")
Listener = Callable[[ProgressEvent], None]
ProgressQueue: TypeAlias = "Queue[ProgressEvent | None]"
"""Events from other processes; None ends them."""

_listeners: list[Listener] = []


def add_listener(listener: Listener) -> None:
    """Send every further event of this process to `listener`."""
    _listeners.append(listener)


def publish(event: ProgressEvent) -> None:
    """Pass an event to all listeners of this process; without listeners, its line goes to standard output."""
    for listener in _listeners:
        listener(event)
    if event.line and not _listeners:
        print(visible(event.line), flush=True)


@contextmanager
def consumed(events: ProgressQueue, consume: Callable[[Iterator[ProgressEvent]], None]) -> Iterator[None]:
    """Let `consume` have the events of a queue, in a thread of its own, until the block ends."""
    reader = threading.Thread(target=lambda: consume(_until_none(events)), daemon=True)
    reader.start()
    try:
        yield
    finally:
        events.put(None)
        reader.join(timeout=5)


def _until_none(events: ProgressQueue) -> Iterator[ProgressEvent]:
    while True:
        # Not for ever: a thread that waits in the queue's lock would keep the process from ending.
        try:
            event = events.get(timeout=1)
        except queue.Empty:
            continue
        if event is None:
            return
        yield event


def step_label(asset: str, partitions: Sequence[str]) -> str:
    """Return the name of a step in messages: its asset and its partition, or the first and last of several."""
    return f"{asset} {partitions[0]}…{partitions[-1]}" if len(partitions) > 1 else " ".join([asset, *partitions])


class Progress:
    """The work counter of one step, which publishes events every half second and reports lines every 15 s.

    If the `total` is not known in advance, it is estimated from the `size` of the input in bytes and the fraction of it
    that has been read (see `count_input_bytes`).
    """

    def __init__(
        self, label: str, unit: str, total: int | None, report: Callable[[str], None], size: int | None = None
    ) -> None:
        self._label, self._unit, self._total, self._report, self._size = label, unit, total, report, size
        self._done = self._read = 0
        self._others: dict[str, int] = {}
        self._started = self._last_line = self._last_event = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Add finished work."""
        self.update(self._done + count)

    def update(self, done: int, total: int | None = None) -> None:
        """Set how much is finished, and the total if it has become known."""
        self._done, self._total = done, total or self._total
        now = time.monotonic()
        if now - self._last_event >= _EVENT_SECONDS:
            self._last_event = now
            figures = tuple(reversed(self._figures(now - self._started)))
            publish(ProgressEvent(self._label, self._done, self._expected(), self._unit, figures))
        if now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            self._report(self.summary(now - self._started))

    def count_input_bytes(self, size: int) -> None:
        """Count bytes read of the input."""
        self._read += size

    def count_secondary(self, unit: str, count: int) -> None:
        """Count another unit, whose rate is shown as well."""
        self._others[unit] = self._others.get(unit, 0) + count

    def track(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and count each one."""
        for item in items:
            yield item
            self.advance()

    def message(self, text: str) -> None:
        """Report a state in words."""
        publish(ProgressEvent(self._label, line=f"{self._label}: {text}"))
        self._report(f"{self._label}: {text}")

    def summary(self, seconds: float) -> str:
        """Return a line with what was done in `seconds`, the rates, and the time left."""
        total = self._expected()
        of_total = f" of {'' if self._total else 'about '}{total:,}" if total else ""
        parts = [f"{self._done:,}{of_total} {self._unit}", *self._figures(seconds)]
        return f"{self._label}: {', '.join(parts)}"

    def _expected(self) -> int | None:
        """Return the total or, if unknown, its estimate by the fraction of the input that was read."""
        if self._total or not (self._size and self._read):
            return self._total
        return max(self._done, round(self._done * self._size / self._read))

    def _figures(self, seconds: float) -> list[str]:
        """Return the rates after `seconds`, and the time left."""
        if not seconds:
            return []
        rate = self._done / seconds
        figures = [_rate(rate, self._unit), *(_rate(count / seconds, unit) for unit, count in self._others.items())]
        if self._read:
            figures.append(f"{self._read / seconds / 1e6:,.1f} MB/s")
        if rate and (total := self._expected()):
            figures.append(f"{_duration((total - self._done) / rate)} left")
        return figures


def _rate(rate: float, unit: str) -> str:
    return f"{rate / 1e6:,.1f} MB/s" if unit == "B" else f"{rate:,.0f} {unit}/s"


def _duration(seconds: float) -> str:
    """Return seconds in readable units: `45 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes > 99 else f"{minutes} min"
