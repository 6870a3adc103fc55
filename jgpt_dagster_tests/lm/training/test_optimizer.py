from pathlib import Path

import pytest
import torch

from jgpt_dagster.lm.training.optimizer import adamw
from jgpt_dagster.lm.training.train_config import validate_config


@pytest.mark.parametrize(("offload", "fused"), [(False, True), (True, False)])
def test_the_optimizer_is_fused_unless_its_states_are_on_disk_and_only_matrices_decay(
    offload: bool, fused: bool
) -> None:
    places = dict.fromkeys(("training_set", "data_root", "output"), Path())
    config = validate_config({**places, "model": "tiny", "offload": offload, "zero_stage": 3, "weight_decay": 0.5})
    optimizer = adamw(torch.nn.Linear(2, 3), config)
    assert [group["fused"] for group in optimizer.param_groups] == [fused, fused]
    decays = {
        tuple(parameter.shape): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays == {(3, 2): 0.5, (3,): 0.0}
