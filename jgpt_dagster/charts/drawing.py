"""What all charts share: sizes, colours, text, and the frame of an SVG."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple
from unicodedata import east_asian_width

from jgpt_dagster.literal_text import one_line


class Size(NamedTuple):
    """Width and height of a chart in pixels."""

    width: int
    height: int


SMALL = Size(272, 170)
"""Fits the column of values on an asset's page where the browser is 1,280 pixels wide."""

LARGE = Size(720, 360)
"""Fits a page of a document."""

GREY = "gray"
"""Of all that is no data."""

FAINT = "#8883"
"""Of the lines of a grid."""

COLOURS = ("steelblue", "chocolate", "seagreen", "orchid")
"""Of lines and bars. Names cost less than numbers in an address, where `#` must be escaped."""

FONT = 11
"""Height of all text in pixels."""

LINE = 14
"""Pixels from one line of text to the next."""

_GAP = "\u2003"  # between two entries of a legend: a wide space that XML keeps

# Not characters of XML, whatever stands around them; `one_line` shows other controls as escapes.
_NO_XML = re.compile("[\ufffe\uffff]")


def frame(size: Size, texts: Iterable[str], marks: Iterable[str]) -> str:
    """Return a whole SVG around its texts and marks; a large one scales with the page."""
    width, height = size
    scales = f" viewBox='0,0,{width},{height}'" if width > SMALL.width else ""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'{scales} "
        f"style='font:{FONT}px sans-serif;fill:none'><g fill='{GREY}'>{''.join(texts)}</g>{''.join(marks)}</svg>"
    )


def text(content: str, x: int, y: int, attributes: str = "") -> str:
    """Return a line of text with its baseline at `y`; `content` is shown literally."""
    place = f" x='{x}'" if x else ""
    return f"<text{place} y='{y}'{attributes}>{literal(content)}</text>"


def literal(content: str) -> str:
    """Return text as content of an element in which nothing is markup."""
    return escape(_NO_XML.sub("\ufffd", one_line(content)), quote=False)


def text_width(content: str) -> float:
    """Return about how many pixels a line of text takes, rather too many than too few."""
    return sum(
        FONT if east_asian_width(character) in "WFA" or character == _GAP else FONT * 0.58 for character in content
    )


def shortened(content: str, width: float) -> str:
    """Return text cut to a number of pixels."""
    if text_width(content) <= width:
        return content
    while content and text_width(content + "…") > width:
        content = content[:-1]
    return content + "…"


def legend(entries: Sequence[tuple[str, str]], width: int, y: int) -> list[str]:
    """Return lines of text with names in their colours, as many lines as `width` requires.

    `entries` are (name, colour); the first line has its baseline at `y`.
    """
    lines = list[list[tuple[str, str]]]()
    room = 0.0
    for entry in entries:
        needed = text_width(entry[0] + _GAP)
        if needed > room:
            lines.append([])
            room = width + text_width(_GAP)
        room -= needed
        lines[-1].append(entry)
    return [f"<text y='{y + LINE * number}'>{_GAP.join(map(_entry, line))}</text>" for number, line in enumerate(lines)]


def _entry(entry: tuple[str, str]) -> str:
    name, colour = entry
    return literal(name) if colour == GREY else f"<tspan fill='{colour}'>{literal(name)}</tspan>"


def path(data: str, colour: str, attributes: str = "") -> str:
    """Return a line along a path."""
    return f"<path stroke='{colour}'{attributes} d='{data}'/>"


def through(points: Sequence[tuple[int, int]]) -> str:
    """Return the path through points, each relative to the one before it, in as few characters as there can be."""
    (x, y), *others = points
    data, start = f"M{x},{y}", "l"
    for next_x, next_y in others:
        across, down = next_x - x, next_y - y
        # A sign separates numbers as a comma does.
        data += f"{start}{across}{'' if down < 0 else ','}{down}"
        x, y, start = next_x, next_y, "" if next_x < x else ","
    return data
