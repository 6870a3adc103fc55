"""A comparison as a page: Markdown, with the learning curves of both in one picture."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jgpt_dagster.charts.drawing import LARGE
from jgpt_dagster.charts.line_chart import Line, line_chart
from jgpt_dagster.literal_text import markdown_cell, markdown_text
from jgpt_dagster.lm.evaluation.leaderboard import UNKNOWN_TRAINING_DATA
from jgpt_dagster.lm.evaluation.score_charts import accuracy

CURVES = "curves.svg"


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
            f"Before is {markdown_text(before)}, after is {markdown_text(after)}.",
        ]
    if "held_out" in found:
        parts += ["## Held-out bits per byte", _held_out(found["held_out"], before, after)]
        parts += [UNKNOWN_TRAINING_DATA] if found["from_elsewhere"] else []
    if found["without_release"]:
        missing = " and ".join(map(markdown_text, found["without_release"]))
        parts += ["## Held-out bits per byte", f"Nothing is scored: {missing} has no released model."]
    if "tasks" in found:
        rows = [
            (task, *(accuracy(both[side]) for side in ("before", "after")), f"{both['after']['chance']:.1%}")
            for task, both in sorted(found["tasks"].items())
        ]
        parts += ["## Tasks", _table(("accuracy (95 %)", before, after, "chance"), rows)]
    return "\n\n".join(parts) + "\n"


def curves_svg(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> str:
    """Return an SVG of the losses by step of each side, with axes."""
    lines = [
        Line(f"{side}, {words} {points[-1][1]:.3f}", [(step, loss) for step, loss in points])
        for side, losses in curves.items()
        for name, words in (("loss", "training"), ("validation_loss", "held out"))
        if (points := losses.get(name))
    ]
    return line_chart(lines, "step", "loss, nats per token", size=LARGE)


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


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; the head and the first column are text from outside, all other cells figures."""
    cells = [[*map(markdown_cell, head)]]
    for first, *figures in rows:
        shown = (f"{figure:,}" if isinstance(figure, int) else str(figure) for figure in figures)
        cells.append([markdown_cell(str(first)), *shown])
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])
