"""The learning rate of each step: a linear warm-up to the peak, then a cosine down to a share of it."""

import math
from dataclasses import dataclass

from jgpt_dagster.lm.training.train_config import TrainConfig


@dataclass(frozen=True)
class LearningRateSchedule:
    """The schedule of a run of `steps` steps; `minimum_ratio` is the last step's rate as a share of the peak."""

    steps: int
    warmup_steps: int
    peak: float
    minimum_ratio: float

    @classmethod
    def of(cls, config: TrainConfig, steps: int) -> "LearningRateSchedule":
        """Return the schedule of a run."""
        ratio = config.minimum_learning_rate_ratio
        return cls(steps, warmup_steps(config, steps), config.learning_rate, ratio)

    def rate(self, step: int) -> float:
        """Return the learning rate of step 1 … `steps`."""
        if step <= self.warmup_steps:
            return self.peak * step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
        return self.peak * (self.minimum_ratio + (1 - self.minimum_ratio) * cosine)


def warmup_steps(config: TrainConfig, steps: int) -> int:
    """Return the number of warm-up steps of a run; 700 suits a 1.5B model at 0.5M tokens a step."""
    return min(700, steps // 20) if config.warmup_steps is None else config.warmup_steps
