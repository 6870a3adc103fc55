"""Bars on a real terminal: what is drawn fits its width, goes with its step, and never mixes with lines of text."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from jgpt_dagster.cli.progress_bars import bar_format
from jgpt_dagster.runtime.progress import ProgressEvent

# Two steps at work and a third after them, a line of text in between, and an end as by Ctrl-C.
_PROGRAM = """
import queue, sys, time
from jgpt_dagster.cli.progress_bars import progress_bars
from jgpt_dagster.runtime.progress import ProgressEvent

figures = ("12 min left", "2.1 MB/s", "2,000 sentences/s", "120 documents/s")
first, second, third = (f"wikipedia_segmented 20260101|{shard:03d}" for shard in range(3))
events = queue.Queue()
with progress_bars(events):
    for done in (200, 400):
        events.put(ProgressEvent(first, done, 800, "documents", figures))
        events.put(ProgressEvent(second, done, None, "documents"))
    events.put(ProgressEvent("", line="a line of text"))
    events.put(ProgressEvent(first, ended=True))
    events.put(ProgressEvent(third, 100, 800, "documents", figures))
    while not events.empty():
        time.sleep(0.01)
    raise KeyboardInterrupt
"""


def drawn(columns: int, term: str) -> tuple[list[str], str]:
    """Return all that the program draws on a terminal of that width, piece by piece, and what is left to be seen."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=terminal, stderr=terminal, env=environment | {"TERM": term}
    )
    os.close(terminal)
    written = b""
    try:
        while piece := os.read(master, 65536):
            written += piece
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=240) == -signal.SIGINT
    pieces = re.split(r"[\r\n]|\x1b\[A", written.decode())
    return [piece for piece in pieces if piece.strip()], _screen(written.decode())


def _screen(written: str) -> str:
    """The rows of the terminal at the end: tqdm moves by carriage return, line feed and cursor up alone."""
    rows, row, column = [""], 0, 0
    for sign in re.findall(r"\x1b\[A|[\s\S]", written):
        if sign == "\r":
            column = 0
        elif sign == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif sign == "\x1b[A":
            row -= 1
        else:
            rows[row] = rows[row].ljust(column)[:column] + sign + rows[row][column + 1 :]
            column += 1
    return "\n".join(filter(None, map(str.rstrip, rows)))


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bars_fit_the_terminal_and_leave_nothing_behind(columns: int) -> None:
    pieces, screen = drawn(columns, "xterm")
    before_the_end = pieces[: next(place for place, piece in enumerate(pieces) if "Traceback" in piece)]
    assert max(map(len, before_the_end)) < columns
    assert any("001" in piece for piece in pieces)
    assert any("|002  12%" in piece for piece in pieces)
    if columns >= 80:
        assert any("12 min left, 2.1 MB/s" in piece for piece in pieces)
    assert screen.startswith("a line of text\nTraceback")


def test_a_dumb_terminal_gets_lines_without_bars() -> None:
    _, screen = drawn(80, "dumb")
    assert screen.startswith("a line of text\nTraceback")


def test_the_most_telling_figures_are_kept_if_not_all_fit() -> None:
    figures = ("12 min left", "2.1 MB/s", "120 documents/s")
    event = ProgressEvent("cc100_segmented 001", 1200, 3000, "documents", figures)
    bar = "cc100_segmented 001 {percentage:3.0f}%|{bar}| "
    assert bar_format(event, 100) == bar + "12 min left, 2.1 MB/s, 120 documents/s, 1,200 of 3,000 documents"
    assert bar_format(event, 60) == bar + "12 min left, 2.1 MB/s"
    assert bar_format(event, 20) == bar


def test_a_label_is_text_and_no_format() -> None:
    layout = bar_format(ProgressEvent("{bar.__class__}\x1b[2J {0}", 1, None, "documents"), 80)
    assert layout.format() == "{bar.__class__}\\x1b[2J {0}: 1 documents"
