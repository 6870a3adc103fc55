import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.train_config import TrainConfig, TrainConfigError, batch_sizes, read_config, total_steps

PATHS = {"training_set": "set", "data_root": ".", "output": "run"}


def config(**fields: Any) -> TrainConfig:
    return TrainConfig.model_validate({**PATHS, "model": "xl", **fields})


def test_unset_fields_come_from_the_preset_and_a_run_is_one_epoch_long() -> None:
    defaults = config()
    assert (defaults.context, defaults.global_batch, defaults.learning_rate) == (1024, 512, 2e-4)
    assert (defaults.epochs, defaults.steps, defaults.tokens) == (1.0, None, None)
    assert (config(model="tiny").epochs, config(model="tiny").steps) == (None, 4000)
    assert (config(model="tiny", tokens=5).steps, config(model="tiny", tokens=5).tokens) == (None, 5)


def test_a_field_that_is_null_counts_as_unset() -> None:
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
def test_an_invalid_configuration_is_refused_with_the_file_and_the_field(
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


def test_the_length_of_a_run_is_set_in_steps_tokens_or_epochs() -> None:
    assert total_steps(config(steps=7), blocks=10) == 7
    assert total_steps(config(tokens=512 * 1024 + 1), blocks=10) == 2
    assert total_steps(config(epochs=2), blocks=1024) == 4
    assert total_steps(config(epochs=0.1), blocks=1024) == 1


def test_a_global_batch_is_divided_evenly_or_refused() -> None:
    assert batch_sizes(config(), world_size=8).accumulation_steps == 8
    assert batch_sizes(config(model="tiny"), world_size=2).micro_batch == 4
    with pytest.raises(TrainConfigError, match="make it a multiple of 24"):
        batch_sizes(config(micro_batch=8), world_size=3)
