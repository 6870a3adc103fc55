from typing import Any

import pytest

from jgpt_dagster.lm.training.deepspeed_config import deepspeed_config
from jgpt_dagster.lm.training.train_config import TrainConfig, TrainConfigError, batch_sizes


def settings(*, gpu: bool, world_size: int = 1, **fields: Any) -> dict[str, Any]:
    config = TrainConfig.model_validate(
        {"training_set": "set", "data_root": ".", "output": "run", "model": "xl", **fields}
    )
    return deepspeed_config(config, batch_sizes(config, world_size), gpu=gpu)


def test_a_cpu_computes_in_fp32_and_a_gpu_in_bf16_with_fp32_gradient_sums() -> None:
    assert settings(gpu=False)["bf16"] == {"enabled": False}
    assert "data_types" not in settings(gpu=False)
    assert settings(gpu=True)["bf16"] == {"enabled": True}
    assert settings(gpu=True)["data_types"] == {"grad_accum_dtype": "fp32"}
    assert settings(gpu=True, dtype="fp32")["bf16"] == {"enabled": False}


@pytest.mark.parametrize(("gpu", "dtype"), [(True, "auto"), (True, "bf16"), (False, "bf16")])
def test_bf16_without_zero_is_refused_since_its_gradients_would_be_summed_in_bf16(gpu: bool, dtype: str) -> None:
    with pytest.raises(TrainConfigError, match=r"would sum the gradients of a step in bf16.*zero_stage to 1"):
        settings(gpu=gpu, dtype=dtype, zero_stage=0)
    assert settings(gpu=gpu, dtype="fp32", zero_stage=0)["zero_optimization"]["stage"] == 0


def test_gradients_are_summed_between_gpus_in_fp32_if_that_happens_once_a_step() -> None:
    assert settings(gpu=True, zero_stage=1)["communication_data_type"] == "fp32"
    for stage in (2, 3):
        assert "communication_data_type" not in settings(gpu=True, zero_stage=stage), "in bf16, as DeepSpeed does"
    # In fp32 training DeepSpeed's own choice is fp32.
    assert "communication_data_type" not in settings(gpu=True, dtype="fp32")


def test_the_batch_sizes_multiply_to_the_global_batch() -> None:
    batch = settings(gpu=True, world_size=8)
    sizes = batch["train_micro_batch_size_per_gpu"], batch["gradient_accumulation_steps"]
    assert sizes == (8, 8) and batch["train_batch_size"] == 512


def test_deepspeed_is_never_asked_for_an_optimizer_that_it_would_compile() -> None:
    assert "optimizer" not in settings(gpu=True) and "scheduler" not in settings(gpu=True)
