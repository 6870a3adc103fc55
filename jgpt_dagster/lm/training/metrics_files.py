"""The files of figures that a training run leaves: `metrics.jsonl`, `timing.jsonl` and `result.json`.

`metrics.jsonl` holds nothing volatile, so that a run that was killed and resumed writes the same bytes as one that was
not; speeds go to `timing.jsonl`.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
RESULT = "result.json"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's `metrics.jsonl`, if there is one, without a last line cut off by a kill."""
    return _read_rows(run / METRICS)


def total_throughput(run: Path) -> tuple[float, float] | None:
    """Return the total seconds and the mean tokens/s over all starts of a run; None if it left no timings.

    Steps that were repeated after a kill count again.
    """
    last_rows: list[dict[str, Any]] = []
    for row in _read_rows(run / TIMING):
        if last_rows and _same_start(last_rows[-1], row):
            last_rows[-1] = row
        else:
            last_rows.append(row)
    seconds = sum(row["seconds"] for row in last_rows)
    return (seconds, sum(row["seconds"] * row["tokens_per_second"] for row in last_rows) / seconds) if seconds else None


def read_throughput(run: Path) -> list[tuple[int, float]]:
    """Return the speed between successive rows of timings as (step, tokens/s), without the time of starting."""
    metrics = read_metrics(run)
    if not metrics:
        return []
    tokens_per_step = metrics[-1]["tokens"] / metrics[-1]["step"]
    return [
        (row["step"], (row["step"] - previous["step"]) * tokens_per_step / (row["seconds"] - previous["seconds"]))
        for previous, row in pairwise(_read_rows(run / TIMING))
        if _same_start(previous, row)
    ]


def _same_start(previous: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Return whether two successive timings are of one start: a restart sets seconds or steps back."""
    return bool(row["seconds"] > previous["seconds"] and row["step"] > previous["step"])


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def summarize(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of `result.json`: steps, tokens, first and last loss, last and best validation loss."""
    first, last = metrics[0], metrics[-1]
    evaluated = [row for row in metrics if "validation_loss" in row]
    best = min(evaluated, key=lambda row: row["validation_loss"])
    return {
        "steps": last["step"],
        "tokens": last["tokens"],
        "first_loss": first["loss"],
        "last_loss": last["loss"],
        "last_validation_loss": evaluated[-1]["validation_loss"],
        "best_validation_loss": best["validation_loss"],
        "best_validation_step": best["step"],
    }
