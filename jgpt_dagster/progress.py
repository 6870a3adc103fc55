"""Progress of a long step: how much is done, how fast, and how long it will still take.

A step reports to whoever listens: the Dagster run gets a log line at a calm pace, and `jgpt run` draws bars from the
events that its worker processes send. Knows neither.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

_EVENT_SECONDS = 0.5
_LINE_SECONDS = 15.0


@dataclass(frozen=True)
class ProgressEvent:
    """A step's state: `done` of `total` units (None: unknown), or a line of text that it wants seen."""

    label: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    line: str = ""


T = TypeVar("T")
Listener = Callable[[ProgressEvent], None]
_listeners: list[Listener] = []


def add_listener(listener: Listener) -> None:
    """Send every later event of this process to `listener`."""
    _listeners.append(listener)


def publish(event: ProgressEvent) -> None:
    """Hand an event to all listeners of this process; a line that nobody listens to goes to standard output."""
    for listener in _listeners:
        listener(event)
    if event.line and not _listeners:
        print(event.line, flush=True)


class Progress:
    """Counts the work of one step and reports it: events every half second, lines every 15 s."""

    def __init__(self, label: str, unit: str, total: int | None, report: Callable[[str], None]) -> None:
        self._label, self._unit, self._total, self._report = label, unit, total, report
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._last_event = 0.0

    def advance(self, count: int = 1) -> None:
        """Add finished work."""
        self.at(self._done + count)

    def at(self, done: int, total: int | None = None) -> None:
        """Set how much is finished, and the total where it has become known."""
        self._done, self._total = done, total or self._total
        now = time.monotonic()
        if now - self._last_event >= _EVENT_SECONDS:
            self._last_event = now
            publish(ProgressEvent(self._label, self._done, self._total, self._unit))
        if now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            self._report(self.line(now - self._started))

    def track(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and count each one."""
        for item in items:
            yield item
            self.advance()

    def say(self, text: str) -> None:
        """Report a state in words, at the same calm pace."""
        publish(ProgressEvent(self._label, line=f"{self._label}: {text}"))
        self._report(f"{self._label}: {text}")

    def line(self, seconds: float) -> str:
        """Say what was done in `seconds`, at which rate, and what is left."""
        rate = self._done / seconds if seconds else 0.0
        of_total = f" of {self._total:,}" if self._total else ""
        left = f", {(self._total - self._done) / rate:,.0f} s left" if self._total and rate else ""
        return f"{self._label}: {self._done:,}{of_total} {self._unit}, {rate:,.0f} {self._unit}/s{left}"
