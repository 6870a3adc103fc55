import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.train_config import (
    TrainConfig,
    TrainConfigError,
    geometry,
    learning_rate,
    read_config,
    total_steps,
    warmup_steps,
)

PATHS = {"training_set": "set", "data_root": ".", "output": "run"}


def config(**fields: Any) -> TrainConfig:
    return TrainConfig.model_validate({**PATHS, "model": "xl", **fields})


def test_what_is_left_out_comes_from_the_preset_and_a_run_is_one_epoch_long() -> None:
    defaults = config()
    assert (defaults.context, defaults.global_batch, defaults.learning_rate) == (1024, 512, 2e-4)
    assert (defaults.epochs, defaults.steps, defaults.tokens) == (1.0, None, None)
    assert (config(model="tiny").epochs, config(model="tiny").steps) == (None, 4000)
    assert (config(model="tiny", tokens=5).steps, config(model="tiny", tokens=5).tokens) == (None, 5)


def test_a_field_that_is_null_counts_as_left_out() -> None:
    assert config(context=None, steps=None, micro_batch=None).context == 1024


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"steps": 5, "tokens": 5}, "give one of steps, tokens and epochs, not steps and tokens"),
        ({"sttps": 5}, "sttps: Extra inputs"),
        ({"zero_stage": 4}, "zero_stage: Input should be less than or equal to 3"),
        ({"model": "huge"}, "model: Input should be 'tiny', 'small', 'medium', 'large' or 'xl'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_file_and_the_field(
    tmp_path: Path, fields: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PATHS, "model": "tiny", **fields}))
    with pytest.raises(TrainConfigError) as error:
        read_config(path)
    assert str(path) in str(error.value) and problem in str(error.value)


def test_a_configuration_survives_being_written_as_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(config(steps=3).model_dump_json())
    assert read_config(path) == config(steps=3)


def test_the_length_of_a_run_is_asked_for_in_steps_tokens_or_epochs() -> None:
    assert total_steps(config(steps=7), blocks=10) == 7
    assert total_steps(config(tokens=512 * 1024 + 1), blocks=10) == 2
    assert total_steps(config(epochs=2), blocks=1024) == 4
    assert total_steps(config(epochs=0.1), blocks=1024) == 1


def test_a_global_batch_is_divided_evenly_or_refused() -> None:
    assert geometry(config(), world=8).accumulation == 8
    assert geometry(config(model="tiny"), world=2).micro_batch == 4
    with pytest.raises(TrainConfigError, match="make it a multiple of 24"):
        geometry(config(micro_batch=8), world=3)


def test_the_learning_rate_rises_linearly_to_its_peak_and_falls_as_a_cosine_to_its_minimum() -> None:
    rates = [learning_rate(step, 110, 10, peak=1.0, minimum_ratio=0.1) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_the_warm_up_is_a_twentieth_of_a_short_run_and_bounded_in_a_long_one() -> None:
    assert warmup_steps(config(), 200) == 10
    assert warmup_steps(config(), 100_000) == 700
    assert warmup_steps(config(warmup_steps=0), 200) == 0
    assert learning_rate(1, 200, 0, peak=1.0, minimum_ratio=0.1) < 1.0
