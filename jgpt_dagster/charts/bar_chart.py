"""Bars: amounts by name, with intervals where they have some, and how often values occur."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jgpt_dagster.charts.axis import Axis, in_words, tick_text
from jgpt_dagster.charts.drawing import (
    COLOURS,
    FAINT,
    FONT,
    LINE,
    SMALL,
    Size,
    frame,
    path,
    shortened,
    text,
    text_width,
)

_BAR = 7
_ROW = LINE + _BAR + 5


class Bar(NamedTuple):
    """An amount of at least 0 under a label that states it; `low` and `high` are the ends of its interval."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def amounts(values: Mapping[str, int], unit: str = "") -> list[Bar]:
    """Return a bar for each amount that is not 0, with the amount and its share of all in the label."""
    total = sum(values.values())
    return [
        Bar(f"{name.replace('_', ' ')} {value:,}{unit and f' {unit}'} ({value / total:.1%})", value)
        for name, value in values.items()
        if value
    ]


def bar_chart(bars: Sequence[Bar], title: str, *, most: int | None = None, width: int = SMALL.width) -> str:
    """Return an SVG with a bar from 0 below each label, and a line with ends over its interval.

    Of more than `most` bars the first ones are drawn, and the number of the others is told.
    """
    drawn = bars[:most]
    rest = len(bars) - len(drawn)
    reach = Axis(0, max([*(bar.value for bar in drawn), *(bar.high or 0 for bar in drawn), 0]) or 1, 0, width - 2)
    lines, intervals, texts = "", "", [text(shortened(title, width), 0, FONT)]
    for number, bar in enumerate(drawn):
        y = LINE + 6 + _ROW * number
        texts.append(text(shortened(bar.label, width), 0, y + FONT - 2))
        middle = y + LINE + _BAR // 2
        lines += f"M0,{middle}H{max(reach.place(bar.value), 1)}"
        if bar.low is not None and bar.high is not None:
            low, high = reach.place(bar.low), reach.place(bar.high)
            intervals += f"M{low},{middle}H{high}M{low},{middle - 4}v8M{high},{middle - 4}v8"
    height = LINE + 6 + _ROW * len(drawn)
    if rest:
        texts.append(text(f"and {rest} more", 0, height + FONT - 2))
        height += LINE
    marks = [path(lines, COLOURS[0], f" opacity='.7' stroke-width='{_BAR}'")]
    if intervals:
        marks.append(path(intervals, COLOURS[1]))
    return frame(Size(width, height), texts, marks)


def histogram(counts: Sequence[tuple[float, int]], x_title: str, y_title: str, *, size: Size = SMALL) -> str:
    """Return an SVG with a column for each (lower edge, count), in order of edges, equally wide whatever the edges.

    Raises ValueError if there is no count.
    """
    if not counts:
        raise ValueError("there is nothing to draw")
    top, bottom = LINE + 8, size.height - 2 * LINE - 7
    heights = Axis(0, max(max(count for _, count in counts), 1), bottom, top, (bottom - top) // 34)
    divisor, unit = in_words(heights.ticks()[-1])
    labels = [(heights.place(y), tick_text(y, divisor)) for y in heights.ticks() if y == int(y)]
    left = round(max(text_width(label) for _, label in labels)) + 5
    column = (size.width - left) // len(counts)
    places = [(left + number * column, edge, count) for number, (edge, count) in enumerate(counts)]
    columns = "".join(
        f"M{x},{bottom}V{min(heights.place(count), bottom - 1)}h{column - 2}V{bottom}z"
        for x, _, count in places
        if count
    )
    every = next(step for step in range(1, 99) if step * column > max(text_width(tick_text(x)) for x, _ in counts) + 6)
    beside = "".join(text(label, left - 4, y + 4) for y, label in labels)
    return frame(
        size,
        [
            text(f"{y_title}{unit}", 0, FONT),
            *(text(tick_text(edge), x, bottom + LINE) for x, edge, _ in places[::every]),
            f"<g text-anchor='end'>{beside}{text(x_title, size.width, size.height - 4)}</g>",
        ],
        [
            path("".join(f"M{left},{y}H{size.width}" for y, _ in labels), FAINT),
            f"<path fill='{COLOURS[0]}' d='{columns}'/>",
        ],
    )


def by_doubling(lengths: np.ndarray, most: int = 12) -> list[tuple[float, int]]:
    """Return how many lengths lie from each power of two to the next, as columns of a histogram, at most `most`.

    `lengths` are integers; the first column also has all that is below it.
    """
    if not len(lengths):
        return []
    # frexp gives the exponent of a number from half a power of two up to it.
    counts = np.bincount(np.frexp(np.maximum(lengths, 1).astype(float))[1] - 1)
    first = max(int(np.flatnonzero(counts)[0]), len(counts) - most)
    counts[first] = counts[: first + 1].sum()
    return [(2.0**edge, int(counts[edge])) for edge in range(first, len(counts))]
