"""What commands print. Text of a corpus, a server or a path cannot steer the terminal: its controls are shown."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from unicodedata import east_asian_width

import click

from jgpt_dagster.literal_text import visible

_COLOURS = {"failed": "red", "stale": "yellow", "unchecked": "yellow", "running": "cyan"}
# Of the lines of a status, those of assets: the state is what follows the name.
_ASSET_LINE = re.compile(r"(  [a-z]\w* +)(.*)")
_STATE = re.compile(rf"\b({'|'.join(_COLOURS)})\b")


def say(text: str, *, err: bool = False, end: bool = True) -> None:
    """Print text, on standard error if `err`, and the end of its line if `end`."""
    click.echo(visible(text), err=err, nl=end)


def say_marked(mark: str, colour: str, text: str) -> None:
    """Print text behind a mark of four characters, which has a colour on a terminal."""
    padded = f"{mark:<4}"
    click.echo(f"{click.style(padded, fg=colour) if coloured() else padded} {visible(text)}")


def say_beside_bars(text: str) -> None:
    """Print text while progress bars are drawn: tqdm hides them as it is written."""
    from tqdm import tqdm

    tqdm.write(visible(text))


def say_states(lines: Iterable[str]) -> None:
    """Print the lines of a status; on a terminal, states that ask for attention have a colour."""
    for line in lines:
        shown = visible(line)
        if coloured() and (match := _ASSET_LINE.fullmatch(shown)):
            shown = match[1] + _STATE.sub(lambda state: click.style(state[0], fg=_COLOURS[state[0]]), match[2])
        click.echo(shown)


def coloured(*, err: bool = False) -> bool:
    """Return whether what is printed may have colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: Japanese characters take two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text with blanks after it, or before it if `right`, up to a number of columns."""
    blanks = " " * (width - columns_of(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table. Columns that a terminal has no room for follow below, beside the first one again."""
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size((sys.maxsize, 0)).columns
    parts = [[0]]
    for index in range(1, len(widths)):
        if len(parts[-1]) > 1 and sum(widths[each] + 2 for each in parts[-1]) + widths[index] > room:
            parts.append([0])
        parts[-1].append(index)
    tables = [
        ["  ".join(padded(row[index], widths[index]) for index in part).rstrip() for row in rows] for part in parts
    ]
    return [line for number, table in enumerate(tables) for line in ([""] if number else []) + table]


def byte_words(size: int) -> str:
    """Return a number of bytes in three or four digits, such as `1.2 GB` or `15.9 GB`."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
