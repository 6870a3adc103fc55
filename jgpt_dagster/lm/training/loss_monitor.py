"""Whether a run's validation loss still falls, and whether its loss has diverged.

Both are decided from the rows of `metrics.jsonl` alone, so that an interrupted run and every process decide alike.
"""

from collections.abc import Mapping
from typing import Any

# In nats: e times the lowest perplexity so far. Spikes that a run recovers from (see Chowdhery et al., "PaLM", 2022,
# section 5.1, on those that it does not) pass within some hundred steps; how long is too long is a setting.
MARGIN = 1.0
# Weight of a row in the running mean of the loss: about the last ten rows count.
_SMOOTHING = 0.1


class LossMonitor:
    """Decides from the rows of metrics so far whether a run should stop early, and whether it has diverged.

    A run stops early after `early_stop` validation losses in a row that are not below the lowest, and has diverged once
    its loss has been more than MARGIN above the lowest running mean for `divergence_steps`. None and 0 disable them.
    """

    def __init__(self, early_stop: int | None, divergence_steps: int) -> None:
        self._early_stop = early_stop
        self._divergence_steps = divergence_steps
        self._smoothed: float | None = None
        self._step = 0
        self._unimproved_validations = 0
        self.lowest_smoothed_loss = float("inf")
        self.best_validation_loss = float("inf")
        self.best_validation_step = 0
        self.diverging_since: int | None = None
        """First step since which the loss has been more than MARGIN above its lowest level; None if it is not."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the next row of metrics."""
        self._step, loss = row["step"], row["loss"]
        if loss <= self.lowest_smoothed_loss + MARGIN:
            self.diverging_since = None
        elif self.diverging_since is None:
            self.diverging_since = self._step
        self._smoothed = loss if self._smoothed is None else self._smoothed + _SMOOTHING * (loss - self._smoothed)
        self.lowest_smoothed_loss = min(self.lowest_smoothed_loss, self._smoothed)
        if "validation_loss" in row:
            self._validate(row["validation_loss"])

    def _validate(self, loss: float) -> None:
        if loss < self.best_validation_loss:
            self.best_validation_loss, self.best_validation_step, self._unimproved_validations = loss, self._step, 0
        else:
            self._unimproved_validations += 1

    @property
    def should_stop_early(self) -> bool:
        """Whether the validation loss has not fallen for `early_stop` validations."""
        return self._early_stop is not None and self._unimproved_validations >= self._early_stop

    @property
    def diverged(self) -> bool:
        """Whether the loss has been too high for `divergence_steps`."""
        if not self._divergence_steps or self.diverging_since is None:
            return False
        return self._step - self.diverging_since >= self._divergence_steps
