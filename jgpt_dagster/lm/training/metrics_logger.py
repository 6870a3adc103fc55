"""The logger of a training run: rows to its files, lines to the terminal and Dagster, figures to the trackers."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from jgpt_dagster.lm.training.experiment_trackers import open_trackers
from jgpt_dagster.lm.training.metrics_files import METRICS, RESULT, TIMING, read_metrics, summarize
from jgpt_dagster.storage.atomic_write import atomic_file, write_json
from jgpt_dagster.storage.hashing import canonical_json

# Set by Dagster Pipes in the processes that it launches.
_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
# Seconds between two progress lines in Dagster's log.
_COLUMNS = 80
_PIPES_SECONDS = 10.0


class MetricsLogger:
    """Writes the figures of one run. Only the process of rank 0 has one."""

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
        """Continue after step `done` (0 for a new run) of `steps`, dropping rows of later steps from the files.

        `peak_speed` is the tokens/s at an MFU of 1; without it no MFU is logged. Raises TrackerError if W&B is
        requested but unavailable.
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
        """Log a message to the terminal and to Dagster."""
        print(line, flush=True)
        if self._pipes is not None:
            self._pipes.log.info(line)

    def log_step(self, row: Mapping[str, Any]) -> None:
        """Log a row of metrics: step, tokens, loss, learning_rate, gradient_norm and, if taken, validation_loss."""
        now = time.monotonic()
        elapsed = now - self._started
        steps_since_start = row["step"] - self._done
        speed = row["tokens"] / row["step"] * steps_since_start / elapsed
        seconds_left = elapsed / steps_since_start * (self._steps - row["step"])
        _append(self._metrics, row)
        timing = {"step": row["step"], "seconds": round(elapsed, 3), "tokens_per_second": round(speed, 1)}
        mfu_text = ""
        if self._peak_speed is not None:
            timing["mfu"] = round(speed / self._peak_speed, 4)
            planned = "" if self._planned_mfu is None else f" (planned {self._planned_mfu:.0%})"
            mfu_text = f"MFU {speed / self._peak_speed:.1%}{planned}"
        _append(self._timing, timing)
        figures = {name: value for name, value in {**row, **timing}.items() if name not in ("step", "seconds")}
        for tracker in self._trackers:
            tracker.log(row["step"], figures)
        line = _progress_line(row, self._steps, f"{speed:,.0f} tokens/s", mfu_text, seconds_left)
        print(line, flush=True)
        if self._pipes is not None and now >= self._next_pipes_line:
            self._pipes.log.info(line)
            self._next_pipes_line = now + _PIPES_SECONDS

    def flush(self) -> None:
        """Force the rows so far to disk, before a checkpoint that includes them."""
        os.fsync(self._metrics.fileno())

    def finish(self) -> dict[str, Any]:
        """Write `result.json`, report it to Dagster, and return it."""
        result = summarize(read_metrics(self._run))
        write_json(self._run / RESULT, result)
        if self._pipes is not None:
            self._pipes.report_custom_message({"result": result})
        return result

    def close(self) -> None:
        """Close files and connections."""
        for tracker in self._trackers:
            tracker.close()
        self._metrics.close()
        self._timing.close()
        if self._pipes is not None:
            self._pipes.close()


def _append(stream: TextIO, row: Mapping[str, Any]) -> None:
    stream.write(canonical_json(row) + "\n")
    stream.flush()


def _progress_line(row: Mapping[str, Any], steps: int, speed: str, mfu: str, seconds_left: float) -> str:
    """Return the figures of a step on one line of a terminal: gradient norm, learning rate and MFU if there is room."""
    minutes, seconds = divmod(round(seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    figures = {
        "loss": f"loss {row['loss']:.4f}",
        "held out": f"held-out {row['validation_loss']:.4f}" if "validation_loss" in row else "",
        "rate": f"lr {row['learning_rate']:.2e}",
        "norm": f"norm {row['gradient_norm']:.2f}",
        "speed": speed,
        "mfu": mfu,
        "left": f"{hours}:{minutes:02}:{seconds:02} left",
    }
    for dropped in ("", "norm", "rate", "mfu"):
        figures.pop(dropped, None)
        line = "  ".join([f"step {row['step']:,}/{steps:,}", *filter(None, figures.values())])
        if len(line) <= _COLUMNS:
            break
    return line


def _open_pipes() -> Any:
    """Return a connection to the Dagster process that launched this one, or None."""
    if _PIPES_VARIABLE not in os.environ:
        return None
    from dagster_pipes import open_dagster_pipes

    return open_dagster_pipes()
