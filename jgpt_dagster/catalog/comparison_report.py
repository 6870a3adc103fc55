"""A comparison as a page: Markdown, with the learning curves of both in one picture."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from jgpt_dagster.literal_text import markdown_cell, markdown_text
from jgpt_dagster.lm.training.training_charts import subsample

CURVES = "curves.svg"

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 320, 50, 30
_COLORS = ("#36c", "#c63")
_FONT = "font-size='11' font-family='sans-serif' fill='#888'"


def to_markdown(found: Mapping[str, Any]) -> str:
    """Return the report of `comparison.compare`; it links to a picture at `CURVES` if there are curves."""
    before, after = found["before"], found["after"]
    parts = [f"# {markdown_text(before)} and {markdown_text(after)}"]
    if "pages" in found:
        rows = [(corpus, *counts.values()) for corpus, counts in found["pages"].items()]
        head = ("", "pages before", "after", "added", "removed", "edited", "of these with the same text")
        parts += ["## Pages", _table(head, rows)]
    if "data" in found:
        rows = [
            (corpus, *(_change(found["data"], corpus, unit) for unit in _UNITS))
            for corpus in sorted({corpus for counts in found["data"].values() for corpus in counts})
        ]
        parts += ["## Documents, characters, tokens", _table(("corpus", *_UNITS), rows)]
    if "recipes" in found:
        lines = [f"* {asset}: {markdown_text(text)}" for asset, texts in found["recipes"].items() for text in texts]
        parts += ["## Settings and versions that differ", "\n".join(lines) or "None."]
    if any(found.get("curves", {}).values()):
        parts += [
            "## Learning curves",
            f"![loss by step]({CURVES})",
            f"Blue: {markdown_text(before)}. Orange: {markdown_text(after)}. Thin: training; thick: held out.",
        ]
    if "held_out" in found:
        parts += ["## Held-out bits per byte", _held_out(found["held_out"], before, after)]
    if "tasks" in found:
        rows = [
            (task, *(_accuracy(both[side]) for side in ("before", "after")), f"{both['after']['chance']:.1%}")
            for task, both in sorted(found["tasks"].items())
        ]
        parts += ["## Tasks", _table(("accuracy (95 %)", before, after, "chance"), rows)]
    return "\n\n".join(parts) + "\n"


def curves_svg(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> str:
    """Return an SVG of the losses by step of each side in its color: training thin, held-out thick, with both axes."""
    lines = [
        (side, number, name, points)
        for number, (side, of_side) in enumerate(curves.items())
        for name, points in of_side.items()
        if points
    ]
    steps = [step for *_, points in lines for step, _ in points]
    values = [value for *_, points in lines for _, value in points]
    low, high, last = min(values), max(values), max(steps)
    x_scale = (_WIDTH - _LEFT - 10) / (last or 1)
    y_scale = (_HEIGHT - _TOP - 40) / ((high - low) or 1)
    drawn = ""
    for side, number, name, points in lines:
        path = " ".join(
            f"{_LEFT + step * x_scale:.1f},{_TOP + (high - value) * y_scale:.1f}"
            for step, value in subsample([(int(step), value) for step, value in points])
        )
        thick = name == "validation_loss"
        drawn += (
            f"<polyline fill='none' stroke='{_COLORS[number]}' stroke-width='{3 if thick else 1}' points='{path}'/>"
        )
        if thick:
            text = f"{escape(side)}: held out {points[-1][1]:.3f}"
            drawn += f"<text x='{_LEFT + 300 * number}' y='16' {_FONT} style='fill:{_COLORS[number]}'>{text}</text>"
    bottom = _HEIGHT - 40
    axes = (
        f"<path stroke='#888' fill='none' d='M{_LEFT} {_TOP}V{bottom}H{_WIDTH - 10}'/>"
        f"<text x='5' y='{_TOP + 8}' {_FONT}>{high:.2f}</text><text x='5' y='{bottom}' {_FONT}>{low:.2f}</text>"
        f"<text x='{_LEFT}' y='{bottom + 16}' {_FONT}>0</text>"
        f"<text x='{_WIDTH - 10}' y='{bottom + 16}' text-anchor='end' {_FONT}>step {last:,.0f}</text>"
        f"<text x='{_LEFT}' y='{bottom + 32}' {_FONT}>loss in nats: thin training, thick held out</text>"
    )
    return f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}'>{axes}{drawn}</svg>"


_UNITS = ("documents", "characters", "tokens")


def _change(data: Mapping[str, Any], corpus: str, unit: str) -> str:
    old, new = (data[side].get(corpus, {}).get(unit, 0) for side in ("before", "after"))
    return f"{old:,} → {new:,} ({new - old:+,})"


def _held_out(groups: Mapping[str, Mapping[str, Any]], before: str, after: str) -> str:
    if not groups:
        return "The two were scored on other texts or in other windows, so their bits cannot be compared."
    rows = []
    for name, figures in groups.items():
        interval = "too few documents"
        if figures["low"] is not None:
            verdict = "real" if figures["real"] else "not real"
            interval = f"{figures['low']:+.4f} to {figures['high']:+.4f}, {verdict}"
        values = (f"{figures[side]:.4f}" for side in ("before", "after"))
        count = f"{figures['documents']:,} of {figures['characters']:,} characters"
        rows.append((name, count, *values, f"{figures['difference']:+.4f} ({interval})"))
    return _table(("documents", "", before, after, "difference (paired, 95 %)"), rows)


def _accuracy(figures: Mapping[str, Any]) -> str:
    return f"{figures['accuracy']:.1%} ({figures['accuracy_low']:.1%} to {figures['accuracy_high']:.1%})"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [
        [markdown_cell(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row] for row in (head, *rows)
    ]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])
