"""What a training run leaves for its readers: metrics, timings, and lines of progress for a terminal and for
Dagster; trackers get the same figures.

`metrics.jsonl` holds nothing volatile, so that a run that was killed and resumed writes the same bytes as one that was
not; speed goes to `timing.jsonl`.
"""

import json
import os
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from jgpt_dagster.lm.training.experiment_trackers import open_trackers
from jgpt_dagster.storage.atomic_write import atomic_file, write_json
from jgpt_dagster.storage.hashing import canonical_json

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
RESULT = "result.json"

_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
_PIPES_SECONDS = 10.0


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's `metrics.jsonl`, empty where there is none; a line cut off by a kill is left out."""
    return _read_rows(run / METRICS)


def total_throughput(run: Path) -> tuple[float, float] | None:
    """Return the seconds of all starts of a run together and the tokens/s over them; None where it left no timings.

    What was done again after a kill counts again.
    """
    starts: list[dict[str, Any]] = []
    for row in _read_rows(run / TIMING):
        if starts and _goes_on(starts[-1], row):
            starts[-1] = row
        else:
            starts.append(row)
    seconds = sum(row["seconds"] for row in starts)
    return (seconds, sum(row["seconds"] * row["tokens_per_second"] for row in starts) / seconds) if seconds else None


def read_throughput(run: Path) -> list[tuple[int, float]]:
    """Return the speed between one report and the next as (step, tokens/s), without what a run's starts took."""
    metrics = read_metrics(run)
    if not metrics:
        return []
    tokens_per_step = metrics[-1]["tokens"] / metrics[-1]["step"]
    return [
        (row["step"], (row["step"] - before["step"]) * tokens_per_step / (row["seconds"] - before["seconds"]))
        for before, row in pairwise(_read_rows(run / TIMING))
        if _goes_on(before, row)
    ]


def _goes_on(before: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Say whether two timings are of one start: seconds or steps go back where a run was started again."""
    return bool(row["seconds"] > before["seconds"] and row["step"] > before["step"])


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
    """Return the result of a run: steps, tokens, first and last loss, last and best validation loss with its step."""
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


class MetricsLogger:
    """Writes the files of one run and tells how it goes. Only the process of rank 0 has one."""

    def __init__(
        self,
        run: Path,
        *,
        done: int,
        steps: int,
        peak_speed: float | None = None,
        planned_mfu: float | None = None,
        wandb_project: str | None = None,
    ) -> None:
        """Go on after step `done` (0 for a new run) of `steps`; what the files say of later steps is dropped.

        `peak_speed` is the tokens/s at an MFU of 1; without it no MFU is reported. Raises TrackerError where W&B is
        asked for and cannot be had.
        """
        self._run = run
        self._done = done
        self._steps = steps
        self._peak_speed = peak_speed
        self._planned_mfu = planned_mfu
        self._started = time.monotonic()
        kept = [row for row in read_metrics(run) if row["step"] <= done]
        with atomic_file(run / METRICS) as stream:
            stream.write("".join(canonical_json(row) + "\n" for row in kept).encode())
        self._metrics = open(run / METRICS, "a")  # noqa: SIM115
        self._timing = open(run / TIMING, "a")  # noqa: SIM115
        self._trackers = open_trackers(run, done, wandb_project)
        self._pipes = _open_pipes()
        self._next_pipes_line = 0.0

    def announce(self, line: str) -> None:
        """Tell the reader something that happens once."""
        print(line, flush=True)
        if self._pipes is not None:
            self._pipes.log.info(line)

    def log_step(self, row: Mapping[str, Any]) -> None:
        """Record a row of metrics: step, tokens, loss, learning_rate, gradient_norm and, if taken, validation_loss."""
        now = time.monotonic()
        elapsed = now - self._started
        fresh = row["step"] - self._done
        speed = row["tokens"] / row["step"] * fresh / elapsed
        left = elapsed / fresh * (self._steps - row["step"])
        _append(self._metrics, row)
        timing = {"step": row["step"], "seconds": round(elapsed, 3), "tokens_per_second": round(speed, 1)}
        shown = f"{speed:,.0f} tokens/s"
        if self._peak_speed is not None:
            timing["mfu"] = round(speed / self._peak_speed, 4)
            shown += f"  MFU {speed / self._peak_speed:.1%}"
            shown += "" if self._planned_mfu is None else f" (planned {self._planned_mfu:.0%})"
        _append(self._timing, timing)
        figures = {name: value for name, value in {**row, **timing}.items() if name not in ("step", "seconds")}
        for tracker in self._trackers:
            tracker.log(row["step"], figures)
        line = _progress_line(row, self._steps, shown, left)
        print(line, flush=True)
        if self._pipes is not None and now >= self._next_pipes_line:
            self._pipes.log.info(line)
            self._next_pipes_line = now + _PIPES_SECONDS

    def flush(self) -> None:
        """Bring the rows so far to the disk; a checkpoint that is whole has its rows there."""
        os.fsync(self._metrics.fileno())

    def finish(self) -> dict[str, Any]:
        """Write `result.json`, hand it to Dagster, and return it."""
        result = summarize(read_metrics(self._run))
        write_json(self._run / RESULT, result)
        if self._pipes is not None:
            self._pipes.report_custom_message({"result": result})
        return result

    def close(self) -> None:
        """Release files and connections."""
        for tracker in self._trackers:
            tracker.close()
        self._metrics.close()
        self._timing.close()
        if self._pipes is not None:
            self._pipes.close()


def _append(stream: TextIO, row: Mapping[str, Any]) -> None:
    stream.write(canonical_json(row) + "\n")
    stream.flush()


def _progress_line(row: Mapping[str, Any], steps: int, speed: str, left: float) -> str:
    validation = f"  validation loss {row['validation_loss']:.4f}" if "validation_loss" in row else ""
    minutes, seconds = divmod(round(left), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"step {row['step']:,}/{steps:,}  loss {row['loss']:.4f}{validation}  "
        f"learning rate {row['learning_rate']:.2e}  gradient norm {row['gradient_norm']:.2f}  "
        f"{speed}  {hours}:{minutes:02}:{seconds:02} left"
    )


def _open_pipes() -> Any:
    """Connect to the Dagster process that launched this one, if one did."""
    if _PIPES_VARIABLE not in os.environ:
        return None
    from dagster_pipes import open_dagster_pipes

    return open_dagster_pipes()
