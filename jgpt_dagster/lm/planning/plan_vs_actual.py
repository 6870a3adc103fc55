"""How a finished training run compares with its plan."""

import json
from pathlib import Path

from jgpt_dagster.lm.planning.hardware import GB
from jgpt_dagster.lm.planning.training_plan import TrainingPlan
from jgpt_dagster.lm.training.metrics_files import RESULT, total_throughput


def plan_vs_actual_rows(plan: TrainingPlan, run: Path) -> list[tuple[str, str, str]]:
    """Return rows of quantity, planned and actual figure; no rows if the run directory has no timings.

    Hours and speed are over all starts of the run.
    """
    throughput = total_throughput(run)
    if throughput is None:
        return []
    seconds, tokens_per_second = throughput
    result = json.loads((run / RESULT).read_text())
    checkpoint_bytes = sum(file.stat().st_size for file in (run / "checkpoints").rglob("*") if file.is_file())
    peak = plan.peak_tokens_per_second
    return [
        ("tokens", f"{plan.tokens:,}", f"{result['tokens']:,}"),
        ("steps", f"{plan.steps:,}", f"{result['steps']:,}"),
        ("tokens/s", _format(plan.tokens_per_second, ",.0f"), f"{tokens_per_second:,.0f}"),
        *([] if peak is None else [("MFU", f"{plan.mfu:.1%}", f"{tokens_per_second / peak:.1%}")]),
        ("hours", _format(plan.hours, ",.2f"), f"{seconds / 3600:,.2f}"),
        ("checkpoints, GB", f"{plan.checkpoint_bytes / GB:.2f}", f"{checkpoint_bytes / GB:.2f}"),
    ]


def actual_throughput(plan: TrainingPlan, run: Path) -> dict[str, float]:
    """Return tokens_per_second over all starts of a run and, if the peak is known, mfu; empty without timings."""
    throughput, peak = total_throughput(run), plan.peak_tokens_per_second
    if throughput is None:
        return {}
    _, tokens_per_second = throughput
    figures = {"tokens_per_second": round(tokens_per_second, 1)}
    return figures if peak is None else {**figures, "mfu": round(tokens_per_second / peak, 4)}


def _format(value: float | None, format_spec: str) -> str:
    return "–" if value is None else format(value, format_spec)
