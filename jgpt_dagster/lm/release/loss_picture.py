"""The loss curve of a training run as a picture for a model card: an SVG with axes, for light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 15, 30, 40
# At most one point a pixel and more would be drawn over each other.
_POINTS = _WIDTH // 2
# Grey reads on white and on black.
_FONT = "font-size='12' font-family='sans-serif' fill='#888'"
_CURVES = (("loss", "training", "#36c"), ("validation_loss", "held-out", "#c60"))


def loss_picture(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of the training and the held-out loss, in nats a token, over steps.

    `metrics` are rows of `metrics.jsonl`; of many, the mean of each of at most 320 spans is drawn. Raises ValueError if
    no row has a finite loss.
    """
    curves = [(title, colour, _points(metrics, name)) for name, title, colour in _CURVES]
    drawn = [point for _, _, points in curves for point in points]
    if not drawn:
        raise ValueError("there is no loss to draw")
    steps = _Axis(0, max(step for step, _ in drawn), _LEFT, _WIDTH - _RIGHT)
    losses = _Axis(min(loss for _, loss in drawn), max(loss for _, loss in drawn), _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(steps, losses)]
    for number, (title, colour, points) in enumerate(curves):
        if points:
            path = " ".join(f"{steps.place(step):.1f},{losses.place(loss):.1f}" for step, loss in points)
            dots = "".join(
                f"<circle cx='{steps.place(step):.1f}' cy='{losses.place(loss):.1f}' r='2.5' fill='{colour}'/>"
                for step, loss in (points if len(points) < 30 else points[-1:])
            )
            parts.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.5' points='{path}'/>{dots}")
            parts.append(
                f"<text x='{_LEFT + 180 * number}' y='18' {_FONT.replace('#888', colour)}>"
                f"{escape(title)} loss, last {points[-1][1]:.3f}</text>"
            )
    parts.append(f"<text x='{_WIDTH - _RIGHT}' y='{_HEIGHT - 6}' text-anchor='end' {_FONT}>step</text>")
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}'>\n{body}\n</svg>\n"
    )


class _Axis:
    """A linear scale from values to pixels, with round values for its lines."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._high = low, high if high > low else low + 1
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        return self._first + (value - self._low) / (self._high - self._low) * (self._last - self._first)

    def lines(self) -> list[float]:
        """Return about five round values within the axis."""
        rough = (self._high - self._low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        spacing = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first = math.ceil(self._low / spacing)
        return [number * spacing for number in range(first, math.floor(self._high / spacing) + 1)]


def _grid(steps: _Axis, losses: _Axis) -> list[str]:
    def line(x1: float, x2: float, y1: float, y2: float) -> str:
        return f"<line x1='{x1:.1f}' x2='{x2:.1f}' y1='{y1:.1f}' y2='{y2:.1f}' stroke='#888' stroke-opacity='0.3'/>"

    def label(x: float, y: float, anchor: str, text: str) -> str:
        return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {_FONT}>{text}</text>"

    heights = [(losses.place(loss), f"{loss:g}") for loss in losses.lines()]
    places = [(steps.place(step), f"{step:,.0f}") for step in steps.lines()]
    bottom = _HEIGHT - _BOTTOM
    return [
        *(line(_LEFT, _WIDTH - _RIGHT, y, y) + label(_LEFT - 6, y + 4, "end", text) for y, text in heights),
        *(line(x, x, _TOP, bottom) + label(x, bottom + 16, "middle", text) for x, text in places),
    ]


def _points(metrics: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """Return (step, value) of the rows that have a finite value; of many, the means of equally many rows each."""
    points = [(row["step"], row[name]) for row in metrics if math.isfinite(row.get(name, math.nan))]
    size = max(1, math.ceil(len(points) / _POINTS))
    spans = groupby(enumerate(points), key=lambda numbered: numbered[0] // size)
    return [_mean([point for _, point in span]) for _, span in spans]


def _mean(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    return sum(step for step, _ in points) / len(points), sum(value for _, value in points) / len(points)
