from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.checkpoint import Checkpoint, CheckpointError, require_same_training
from jgpt_dagster.lm.training.checkpoint_compatibility import needs_conversion


@pytest.mark.parametrize(
    ("field", "value"),
    [("zero_stage", 3), ("training_set", "b"), ("tokenizer", "b"), ("layers", 5), ("learning_rate", 2.0)],
)
def test_a_change_of_what_decides_the_weights_is_refused_with_both_values(field: str, value: Any) -> None:
    present = {"zero_stage": 1, "training_set": "a", "tokenizer": "a", "layers": 4, "learning_rate": 1.0}
    division = {"processes": 2, "micro_batch": 4}
    checkpoint = Checkpoint(Path("checkpoints/step=00000003"), 3, 24, {**present, **division})
    require_same_training(checkpoint, {**present, "processes": 1, "micro_batch": 8, "zero_stage": 2})
    with pytest.raises(CheckpointError, match=f"{field} is {value}, but the checkpoint has {present[field]}"):
        require_same_training(checkpoint, {**present, **division, field: value})


def test_a_checkpoint_that_does_not_say_its_initialization_had_that_of_gpt2() -> None:
    checkpoint = Checkpoint(Path("checkpoints/step=00000003"), 3, 24, {"layers": 4})
    require_same_training(checkpoint, {"layers": 4, "initializer_range": 0.02})
    with pytest.raises(CheckpointError, match=r"initializer_range is 0.1, but the checkpoint has 0.02"):
        require_same_training(checkpoint, {"layers": 4, "initializer_range": 0.1})


def test_offloaded_states_resume_only_with_the_same_number_of_processes() -> None:
    present = {"zero_stage": 3, "offload": True, "processes": 2}
    checkpoint = Checkpoint(Path("checkpoints/step=00000003"), 3, 24, present)
    require_same_training(checkpoint, present)
    with pytest.raises(CheckpointError, match="processes is 1, but the checkpoint has 2"):
        require_same_training(checkpoint, {**present, "processes": 1})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"micro_batch": 8}, False),
        ({"processes": 1}, True),
        ({"zero_stage": 2}, True),
        ({"processes": 1, "zero_stage": 0}, False),
    ],
)
def test_only_another_division_of_optimizer_states_needs_a_conversion(change: dict[str, int], expected: bool) -> None:
    present = {"zero_stage": 1, "processes": 2, "micro_batch": 4}
    assert needs_conversion({**present, **change}, present) is expected
