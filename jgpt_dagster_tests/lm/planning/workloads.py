"""Workloads and machines that the tests of planning share."""

from typing import Any

from jgpt_dagster.lm.planning.hardware import DEVICES
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import TrainConfig

MACHINES = ["cpu", *(f"{count}x{name}" for name in DEVICES for count in (1, 4, 8)), "2x8xa100-80", "4x8xh100-80"]


def train_config(model: str, **settings: Any) -> TrainConfig:
    """Return the configuration of a run of a preset."""
    return TrainConfig.model_validate(
        {"training_set": "s", "data_root": ".", "output": "o", "model": model, **settings}
    )


def workload_of(model: str, **settings: Any) -> Workload:
    """Return the workload of a preset with a vocabulary of 32,000."""
    return Workload.of(train_config(model, **settings), 32_000)


XL = workload_of("xl")
