"""The course of a training run: whether its validation loss still falls, and whether its loss has left its level.

A course is judged by the rows of `metrics.jsonl` and nothing else: a run that was interrupted judges as one that was
not, and every process judges alike.
"""

from collections.abc import Mapping
from typing import Any

# Perplexity e times that of the best level so far. What recovers, the spikes that Chowdhery et al. ("PaLM", 2022,
# section 5.1) restarted from before, is over within some hundred steps; how long is too long is a setting.
MARGIN = 1.0
# Weight of a row in the running level of the loss: about the last ten rows count.
_WEIGHT = 0.1


class LossMonitor:
    """What the rows of a run so far say of it.

    `early_stop` is the number of validation losses in a row, none below the lowest before, after which the run is to
    end; `divergence_steps` the number of steps over which each recorded loss lies by MARGIN above the lowest running
    level before the run counts as diverged. None and 0 switch them off.
    """

    def __init__(self, early_stop: int | None, divergence_steps: int) -> None:
        self._early_stop = early_stop
        self._divergence_steps = divergence_steps
        self._level: float | None = None
        self._step = 0
        self._unimproved = 0
        self.lowest_smoothed_loss = float("inf")
        self.best_validation_loss = float("inf")
        self.best_validation_step = 0
        self.diverging_since: int | None = None
        """First step of a loss that has been above the level ever since; None while the loss keeps to its level."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the next row of metrics."""
        self._step, loss = row["step"], row["loss"]
        if loss <= self.lowest_smoothed_loss + MARGIN:
            self.diverging_since = None
        elif self.diverging_since is None:
            self.diverging_since = self._step
        self._level = loss if self._level is None else self._level + _WEIGHT * (loss - self._level)
        self.lowest_smoothed_loss = min(self.lowest_smoothed_loss, self._level)
        if "validation_loss" in row:
            self._validate(row["validation_loss"])

    def _validate(self, loss: float) -> None:
        if loss < self.best_validation_loss:
            self.best_validation_loss, self.best_validation_step, self._unimproved = loss, self._step, 0
        else:
            self._unimproved += 1

    @property
    def should_stop_early(self) -> bool:
        """Whether the validation loss has not fallen for too long."""
        return self._early_stop is not None and self._unimproved >= self._early_stop

    @property
    def diverged(self) -> bool:
        """Whether the loss has been off its level for too long."""
        if not self._divergence_steps or self.diverging_since is None:
            return False
        return self._step - self.diverging_since >= self._divergence_steps
