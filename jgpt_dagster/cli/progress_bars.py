"""The progress bars of `jgpt run`, drawn from the events that its worker processes send.

Each running step has a bar, which disappears when the step ends. Bars are drawn only if standard error is a terminal
that can move its cursor; lines of text are printed everywhere.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm

from jgpt_dagster.cli.terminal import say_beside_bars
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.runtime.progress import ProgressEvent, ProgressQueue, consumed

_SHORTEST_BAR = 6


def progress_bars(events: ProgressQueue) -> AbstractContextManager[None]:
    """Return the context in which the events that arrive are drawn."""
    return consumed(events, _draw)


def bar_format(event: ProgressEvent, columns: int) -> str:
    """Return tqdm's format of a bar `columns` wide, with as many of the event's figures as leave room for the bar."""
    figures = [*event.figures, f"{event.done:,}{f' of {event.total:,}' if event.total else ''} {event.unit}"]
    room = columns - len(f"{event.label} 100%|| ") - _SHORTEST_BAR if event.total else columns - len(f"{event.label}: ")
    while figures and len(", ".join(figures)) > room:
        figures.pop()
    bar = " {percentage:3.0f}%|{bar}| " if event.total else ": "
    label, shown = (_as_format(text) for text in (event.label, ", ".join(figures)))
    return f"{label}{bar}{shown}"


def _as_format(text: str) -> str:
    """Return a format that gives `text` itself, on one line."""
    return one_line(text).replace("{", "{{").replace("}", "}}")


def _draw(events: Iterator[ProgressEvent]) -> None:
    drawn = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    shown: dict[str, tqdm[Any]] = {}
    for event in events:
        if event.line:
            say_beside_bars(event.line)
        elif event.ended:
            if bar := shown.pop(event.label, None):
                bar.close()
        elif drawn:
            columns = shutil.get_terminal_size().columns - 1  # a full line would wrap
            layout = bar_format(event, columns)
            bar = shown.get(event.label)
            if bar is None:
                bar = shown[event.label] = tqdm(total=event.total, bar_format=layout, dynamic_ncols=True, leave=False)
            bar.n, bar.total, bar.bar_format = event.done, event.total, layout
            bar.refresh()
    for bar in shown.values():
        bar.close()
