"""The loss of a training that is running, on the page of its asset: observations, ever more rarely as it goes on."""

import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from jgpt_dagster.assets.metadata import curve
from jgpt_dagster.lm.training.metrics_files import read_metrics, read_throughput
from jgpt_dagster.lm.training.training_charts import loss_chart

_FIRST_SECONDS = 15.0
_SECONDS = 30.0
# Of the time since the start. A run of ten days leaves some 300 observations of a kilobyte.
_SHARE = 0.03


class LiveTraining:
    """Reports the losses of a run so far as observations of its asset, which the UI shows while the run goes on."""

    def __init__(
        self, context: dg.AssetExecutionContext, run: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`run` is the run directory, whose files of figures are read; `clock` returns seconds."""
        self._context, self._run, self._clock = context, run, clock
        self._started = clock()
        self._next = self._started + _FIRST_SECONDS

    def look(self) -> None:
        """Report the figures if it is time to. Never raises: a picture must not end a training."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + max(_SECONDS, _SHARE * (now - self._started))
        try:
            self._report()
        except Exception as error:  # whatever the database or a half-written file brings
            self._context.log.warning(f"The loss so far could not be shown: {error}")

    def _report(self) -> None:
        metrics = read_metrics(self._run)
        losses = loss_chart(metrics)
        if losses is None:
            return
        last, speeds = metrics[-1], read_throughput(self._run)
        held_out = [row["validation_loss"] for row in metrics if "validation_loss" in row][-1:]
        self._context.log_event(
            dg.AssetObservation(
                asset_key=self._context.asset_key,
                partition=self._context.partition_key,
                description="Training goes on.",
                metadata={
                    "loss_so_far": curve("loss so far", losses),
                    "step": last["step"],
                    "loss": round(last["loss"], 4),
                    **({"validation_loss": round(held_out[0], 4)} if held_out else {}),
                    **({"tokens_per_second": round(speeds[-1][1], 1)} if speeds else {}),
                },
            )
        )
