"""Charts of a training run, small enough for Dagster to show inline: SVGs that fit into a metadata value."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_POINTS = 50
_HEIGHT = 100
# Grey is legible in the light and in the dark theme of the UI.
_FONT = "font-size='11' font-family='sans-serif' fill='#888'"


def curve_svg(
    points: Sequence[tuple[int, float]], width: int = 300, *, label: str = "loss", number: str = ".2f"
) -> str:
    """Return an SVG, of at most 750 characters, of a value over steps, labelled with its first and last value.

    `points` are (step, value) in order of steps, at least one; at most 50 are drawn. `width` is in pixels, at most 400.
    The text starts with `label`; `number` is the format of its values.
    """
    width = min(width, 400)
    drawn = subsample(points)
    first, last = drawn[0], drawn[-1]
    low, high = min(value for _, value in drawn), max(value for _, value in drawn)
    x_scale = width / max(1, last[0] - first[0])
    y_scale = (_HEIGHT - 15) / ((high - low) or 1.0)
    path = " ".join(f"{(step - first[0]) * x_scale:.0f},{(high - value) * y_scale + 13:.0f}" for step, value in drawn)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{_HEIGHT}'>"
        f"<polyline fill='none' stroke='#36c' points='{path}'/>"
        f"<text x='{width}' y='10' text-anchor='end' {_FONT}>"
        f"{escape(label)} {first[1]:{number}} → {last[1]:{number}}, step {last[0]}</text>"
        "</svg>"
    )


def training_charts(
    metrics: Sequence[Mapping[str, Any]], speeds: Sequence[tuple[int, float]], peak_speed: float | None = None
) -> dict[str, str]:
    """Return the charts of a run by name: losses, learning rate, gradient norm, tokens/s and, with a peak, MFU.

    `metrics` are rows of `metrics.jsonl`; `speeds` are (step, tokens/s); the MFU is their share of `peak_speed`.
    """
    curves: dict[str, tuple[Sequence[tuple[int, float]], str]] = {
        **{
            name: ([(row["step"], row[name]) for row in metrics if name in row], number)
            for name, number in (
                ("loss", ".2f"),
                ("validation_loss", ".2f"),
                ("learning_rate", ".1e"),
                ("gradient_norm", ".2f"),
            )
        },
        "tokens_per_second": (speeds, ",.0f"),
        "mfu": ([(step, speed / peak_speed) for step, speed in speeds] if peak_speed else [], ".1%"),
    }
    return {
        f"{name}_curve": curve_svg(points, label=name.replace("_", " "), number=number)
        for name, (points, number) in curves.items()
        if points
    }


def subsample(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most 50 points, evenly spaced, with the first and the last among them."""
    if len(points) <= _POINTS:
        return list(points)
    spacing = (len(points) - 1) / (_POINTS - 1)
    return [points[round(index * spacing)] for index in range(_POINTS)]
