"""A picture of what cleaning left out, small enough for Dagster to show inline."""

from collections.abc import Mapping

_WIDTH, _ROW, _LABEL, _MOST = 300, 13, 150, 7
# Grey is legible in the light and in the dark theme of the UI.
_STYLE = "font-size='10' font-family='sans-serif' fill='#888'"


def left_out_svg(characters: Mapping[str, int]) -> str:
    """Return an SVG, of at most 750 characters, with a bar for each of the seven largest reasons."""
    ranked = sorted(((count, reason) for reason, count in characters.items() if count), reverse=True)[:_MOST]
    scale = (_WIDTH - _LABEL) / max((count for count, _ in ranked), default=1)
    lines = [(_ROW * number + 10, count, reason) for number, (count, reason) in enumerate(ranked)]
    bars = "".join(f"M{_LABEL} {y - 3}h{max(count * scale, 1):.0f}" for y, count, _ in lines)
    texts = "".join(f"<text y='{y}'>{reason.replace('_', ' ')} {count:,}</text>" for y, count, reason in lines)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_ROW * len(ranked) + 2}' {_STYLE}>"
        f"<path stroke='#36c' stroke-width='9' d='{bars}'/>{texts}</svg>"
    )
