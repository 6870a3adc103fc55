from pathlib import Path

import pytest

from jgpt_dagster.lm.training.learning_rate_schedule import LearningRateSchedule, warmup_steps
from jgpt_dagster.lm.training.train_config import TrainConfig


def config(**fields: int | float) -> TrainConfig:
    places = dict.fromkeys(("training_set", "data_root", "output"), Path())
    return TrainConfig.model_validate({**places, "model": "xl", **fields})


def test_the_learning_rate_rises_linearly_to_its_peak_and_falls_as_a_cosine_to_its_minimum() -> None:
    schedule = LearningRateSchedule.of(config(learning_rate=1.0, warmup_steps=10), 110)
    rates = [schedule.rate(step) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_the_warm_up_is_a_twentieth_of_a_short_run_and_bounded_in_a_long_one() -> None:
    assert warmup_steps(config(), 200) == 10
    assert warmup_steps(config(), 100_000) == 700
    assert warmup_steps(config(warmup_steps=0), 200) == 0


def test_without_warm_up_the_rate_falls_from_the_first_step() -> None:
    schedule = LearningRateSchedule.of(config(learning_rate=1.0, warmup_steps=0), 200)
    assert 0.99 < schedule.rate(1) < 1.0
