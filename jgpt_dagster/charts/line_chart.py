"""Lines over one axis, such as losses over steps, and levels across it."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from jgpt_dagster.charts.axis import Axis, in_words, tick_text
from jgpt_dagster.charts.drawing import (
    COLOURS,
    FAINT,
    FONT,
    GREY,
    LINE,
    SMALL,
    Size,
    frame,
    legend,
    literal,
    path,
    text,
    text_width,
    through,
)


class Line(NamedTuple):
    """Points (x, y) in order of x, under a name that may state their last value."""

    name: str
    points: Sequence[tuple[float, float]]


class Level(NamedTuple):
    """A value that is drawn as a dashed line from side to side."""

    name: str
    value: float


def line_chart(
    lines: Sequence[Line],
    x_title: str,
    y_title: str,
    *,
    levels: Sequence[Level] = (),
    size: Size = SMALL,
    points: int | None = None,
) -> str:
    """Return an SVG of lines and levels with axes and a legend; titles state what is shown and its unit.

    Of a line with more than `points` points (default: one for two pixels), means of equally long spans are drawn.
    Points that are not finite are left out. Raises ValueError if no point is left.
    """
    curves = [_means(line.points, points or size.width // 2) for line in lines]
    drawn = [point for curve in curves for point in curve]
    if not drawn:
        raise ValueError("there is nothing to draw")
    named = [(line.name, COLOURS[number % len(COLOURS)]) for number, line in enumerate(lines)]
    words = legend([*named, *((level.name, GREY) for level in levels)], size.width, FONT + LINE)
    top, bottom = LINE * (len(words) + 1) + 8, size.height - LINE - 7
    ys = [y for _, y in drawn] + [level.value for level in levels]
    heights = Axis(min(ys), max(ys), bottom, top, (bottom - top) // 34)
    divisor, unit = in_words(max(map(abs, heights.ticks())))
    labels = [(heights.place(y), tick_text(y, divisor)) for y in heights.ticks()]
    left, right = round(max(text_width(label) for _, label in labels)) + 5, size.width - 12
    # From 0, for what is counted from the beginning.
    xs = [x for line in lines for x, _ in line.points if math.isfinite(x)]
    places = Axis(min(0.0, *xs), max(xs), left, right, size.width // 90, ends_with_data=True)
    below = _x_labels(places, x_title, max(xs), size)
    marks = [path("".join(f"M{left},{y}H{right}" for y, _ in labels), FAINT)]
    for (_, colour), curve in zip(named, curves, strict=True):
        if len(curve) > 1:
            marks.append(path(through([(places.place(x), heights.place(y)) for x, y in curve]), colour))
        marks += [
            f"<circle cx='{places.place(x)}' cy='{heights.place(y)}' r='2' fill='{colour}'/>"
            for x, y in (curve if len(curve) == 1 else [])
        ]
    for level in levels:
        marks.append(path(f"M{left},{heights.place(level.value)}H{right}", GREY, " stroke-dasharray='5'"))
    beside = [text(label, left - 4, y + 4) for y, label in labels]
    return frame(
        size,
        [text(f"{y_title}{unit}", 0, FONT), *words, f"<g text-anchor='end'>{''.join([*beside, below])}</g>"],
        marks,
    )


def _x_labels(places: Axis, title: str, last: float, size: Size) -> str:
    """Return the labels below the axis, each by its right end; the title of the axis stands with the last value."""
    divisor, unit = in_words(abs(last))
    y, end = size.height - 5, f"{title}{unit} {tick_text(last, divisor)}"
    ticks = [(x, tick_text(x, divisor)) for x in places.ticks() if x < last]
    labels = [(places.place(x) + round(text_width(label) / 2), label) for x, label in ticks]
    fitting = [(label, x) for x, label in labels if x < size.width - text_width(end) - 4]
    spans = "".join(f"<tspan x='{x}'>{label}</tspan>" for label, x in [*fitting, (literal(end), size.width)])
    return f"<text y='{y}'>{spans}</text>"


def _means(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return the finite points, or the means of at most `most` spans of them."""
    finite = [point for point in points if all(map(math.isfinite, point))]
    spans = groupby(range(len(finite)), key=lambda number: number * most // max(len(finite), most))
    groups = [[finite[number] for number in span] for _, span in spans]
    return [(_mean([x for x, _ in group]), _mean([y for _, y in group])) for group in groups]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
