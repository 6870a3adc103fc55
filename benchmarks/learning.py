"""What a model learned beside a table of bigrams: the curve of a finished run, as a picture.

    python benchmarks/learning.py DATA_ROOT picture.svg

`DATA_ROOT` is a folder that `jgpt run` has filled as far as `evaluation`. The figures and their meaning are in
benchmarks/README.md.
"""

import argparse
import json
import sys
from pathlib import Path

from jgpt_dagster.charts.drawing import Size
from jgpt_dagster.charts.line_chart import Line, line_chart
from jgpt_dagster.lm.evaluation.score_charts import bigram_level
from jgpt_dagster.lm.training.metrics_files import METRICS, read_metrics

SPANS = 60
"""Of the training, the mean loss of each is drawn."""


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
    curves = [
        (name, [(row["tokens"], row[field]) for row in metrics if field in row])
        for name, field in (("training", "loss"), ("held out", "validation_loss"))
    ]
    lines = [Line(f"{name} {points[-1][1]:.2f}", points) for name, points in curves]
    picture = line_chart(
        lines, "tokens seen", "loss, nats per token", levels=[bigram_level(score)], size=Size(360, 260), points=SPANS
    )
    arguments.picture.write_text(picture)
    print({name: round(value, 4) for name, value in score.items() if isinstance(value, float)})


if __name__ == "__main__":
    main()
