"""Pictures small enough to be shown inline: an SVG that fits into a line of metadata."""

from collections.abc import Sequence

_POINTS = 50
_HEIGHT = 100
# Grey can be read on the light and on the dark theme of the UI.
_FONT = "font-size='11' font-family='sans-serif' fill='#888'"


def loss_curve_svg(points: Sequence[tuple[int, float]], width: int = 300) -> str:
    """Draw the loss over steps as an SVG of at most 750 characters, with the first and last value as text.

    `points` are (step, loss) in order of steps, at least one; 50 of them are kept. `width` is in pixels, at most 400.
    """
    width = min(width, 400)
    kept = _thinned(points)
    first, last = kept[0], kept[-1]
    low, high = min(loss for _, loss in kept), max(loss for _, loss in kept)
    x_scale = width / max(1, last[0] - first[0])
    y_scale = (_HEIGHT - 15) / ((high - low) or 1.0)
    path = " ".join(f"{(step - first[0]) * x_scale:.0f},{(high - loss) * y_scale + 13:.0f}" for step, loss in kept)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{_HEIGHT}'>"
        f"<polyline fill='none' stroke='#36c' points='{path}'/>"
        f"<text x='{width}' y='10' text-anchor='end' {_FONT}>loss {first[1]:.2f} → {last[1]:.2f}, step {last[0]}</text>"
        "</svg>"
    )


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most 50 points, evenly spaced, with the first and the last among them."""
    if len(points) <= _POINTS:
        return list(points)
    step = (len(points) - 1) / (_POINTS - 1)
    return [points[round(index * step)] for index in range(_POINTS)]
