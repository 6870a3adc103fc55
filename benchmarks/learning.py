"""What a model learned beside a table of bigrams: the curve of a finished run, as a picture.

    python benchmarks/learning.py DATA_ROOT picture.svg

`DATA_ROOT` is a folder that `jgpt run` has filled as far as `evaluation`. The figures and their meaning are in
benchmarks/README.md.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from jgpt_dagster.lm.training.metrics_files import METRICS, read_metrics

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 50, 130, 15, 40
GREY, BLUE, RED = "#999", "#36c", "#c33"

Points = Sequence[tuple[float, float]]


def nats_a_token(score: dict[str, float], bits_per_character: float) -> float:
    """Return bits per character of the held-out documents as nats for each of their tokens, the unit of a loss."""
    return bits_per_character * math.log(2) * score["characters"] / score["tokens"]


def draw(lines: dict[str, tuple[str, Points]], levels: dict[str, tuple[str, float]], x_label: str, y_label: str) -> str:
    """Draw lines and horizontal levels, each under its name with a colour, as an SVG with axes."""
    every = [point for _, points in lines.values() for point in points]
    right = max(x for x, _ in every)
    low = math.floor(min([*(y for _, y in every), *(level for _, level in levels.values())]))
    high = math.ceil(max(y for _, y in every))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / right * (WIDTH - LEFT - RIGHT),
            TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for number in range(low, high + 1):
        x, y = at(0, number)
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#8883"/>')
        parts.append(_text(x - 8, y + 4, str(number), GREY, "end"))
    for share in (0.25, 0.5, 0.75, 1):
        x, y = at(right * share, low)
        parts.append(_text(x, y + 16, f"{right * share / 1e6:.1f} M", GREY, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, GREY, "middle"))
    parts.append(_text(LEFT + 6, TOP + 4, y_label, GREY, "start"))
    for name, (colour, points) in lines.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        x, y = at(*points[-1])
        parts.append(_text(x + 6, y + 4, f"{name} {points[-1][1]:.2f}", colour, "start"))
    for name, (colour, level) in levels.items():
        x, y = at(right, level)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{x}" stroke="{colour}" stroke-dasharray="6 4"/>')
        parts.append(_text(x + 6, y + 4, f"{name} {level:.2f}", colour, "start"))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, *parts, "</svg>\n"])


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def mean_of_neighbours(points: Points, size: int) -> Points:
    """Return the mean of each `size` points that follow each other."""
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def main() -> None:
    """Draw the run of the only dump and model of a data root, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    found = sorted(arguments.root.glob("evaluation/dump=*/model=*"))
    if len(found) != 1:
        sys.exit(f"{arguments.root}/evaluation holds {len(found)} evaluations, one was expected: jgpt run makes it")
    (evaluation,) = found
    score = json.loads((evaluation / "evaluation.json").read_text())["total"]
    metrics = read_metrics(arguments.root / "pretrained_model" / evaluation.relative_to(evaluation.parents[1]))
    if not any("validation_loss" in row for row in metrics):
        sys.exit(f"no validation loss in {METRICS} of {evaluation.relative_to(evaluation.parents[1])}")
    lines: dict[str, tuple[str, Points]] = {
        name: (colour, [(row["tokens"], row[field]) for row in metrics if field in row])
        for name, field, colour in (("training", "loss", GREY), ("held out", "validation_loss", BLUE))
    }
    colour, losses = lines["training"]
    lines["training"] = (colour, mean_of_neighbours(losses, max(1, len(losses) // 50)))
    levels = {"bigrams": (RED, nats_a_token(score, score["bigram_bits_per_character"]))}
    arguments.picture.write_text(draw(lines, levels, "tokens seen", "nats per token"))
    print({name: round(value, 4) for name, value in score.items() if isinstance(value, float)})


if __name__ == "__main__":
    main()
