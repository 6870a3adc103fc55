"""Charts of a training run from its files of figures: its losses, and the figures that explain them."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jgpt_dagster.charts.line_chart import Level, Line, line_chart

Draw = Callable[..., str]
"""Draws a chart as SVG; takes `size` and `points` as `line_chart` does."""

_POINTS = 50

Points = Sequence[tuple[float, float]]


def loss_chart(metrics: Sequence[Mapping[str, Any]], levels: Sequence[Level] = ()) -> Draw | None:
    """Return the chart of the training and the held-out loss over steps in nats a token, with their last values.

    `metrics` are rows of `metrics.jsonl`; `levels` are other losses to compare with. None if no row has a finite loss.
    """
    lines = [
        Line(f"{name} {points[-1][1]:.2f}", points)
        for name, points in (("training", _curve(metrics, "loss")), ("held-out", _curve(metrics, "validation_loss")))
        if points
    ]
    return partial(line_chart, lines, "step", "loss, nats per token", levels=levels) if lines else None


def training_charts(
    metrics: Sequence[Mapping[str, Any]], speeds: Sequence[tuple[int, float]], peak_speed: float | None = None
) -> dict[str, Draw]:
    """Return the charts of a run by name: losses, learning rate, gradient norm, tokens/s and, with a peak, MFU.

    `metrics` are rows of `metrics.jsonl`; `speeds` are (step, tokens/s); the MFU is their share of `peak_speed`.
    """
    losses = loss_chart(metrics)
    curves: dict[str, tuple[str, Points]] = {
        "learning_rate_curve": ("learning rate", _curve(metrics, "learning_rate")),
        "gradient_norm_curve": ("gradient norm", _curve(metrics, "gradient_norm")),
        "speed_curve": ("tokens per second", speeds),
        "mfu_curve": ("MFU, %", [(step, 100 * speed / peak_speed) for step, speed in speeds] if peak_speed else []),
    }
    return ({"loss_curve": losses} if losses else {}) | {
        name: partial(line_chart, [Line(f"last {points[-1][1]:,.4g}", points)], "step", title)
        for name, (title, points) in curves.items()
        if points
    }


def subsample(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most 50 points, evenly spaced, with the first and the last among them."""
    if len(points) <= _POINTS:
        return list(points)
    spacing = (len(points) - 1) / (_POINTS - 1)
    return [points[round(index * spacing)] for index in range(_POINTS)]


def _curve(metrics: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in metrics if math.isfinite(row.get(name, math.nan))]
