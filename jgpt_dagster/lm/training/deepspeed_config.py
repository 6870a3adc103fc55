"""The DeepSpeed configuration of a training run; CPU and GPU differ only in values."""

from typing import Any

from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster.lm.training.train_config import (
    BatchSizes,
    TrainConfig,
    require_fp32_gradient_sums,
    uses_bf16,
)


def deepspeed_config(config: TrainConfig, batch: BatchSizes, *, gpu: bool) -> dict[str, Any]:
    """Return the dictionary that `deepspeed.initialize` takes.

    It names no optimizer: DeepSpeed would compile its own on first use (minutes), and apply weight decay to biases and
    layer norms too. Raises TrainConfigError for bf16 without ZeRO.
    """
    require_fp32_gradient_sums(config.zero_stage, config.dtype, gpu=gpu)
    bf16 = uses_bf16(config.dtype, gpu=gpu)
    stage = config.zero_stage
    return {
        "train_batch_size": batch.global_batch,
        "train_micro_batch_size_per_gpu": batch.micro_batch,
        "gradient_accumulation_steps": batch.accumulation_steps,
        "gradient_clipping": 0.0 if trainer_clips_gradients(config, gpu=gpu) else config.gradient_clipping,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": bf16},
        # Sums of many small gradients in bf16 lose most of them.
        **({"data_types": {"grad_accum_dtype": "fp32"}} if bf16 else {}),
        # ZeRO-1 sums between processes once a step. ZeRO-2 and 3 do so for every micro batch, whose gradients are in
        # bf16 anyway: fp32 would double the traffic.
        **({"communication_data_type": "fp32"} if bf16 and stage == 1 else {}),
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": gpu and stage > 0,
            # On a CPU, copying every gradient into a buffer and out again is a fifth of a small model's step.
            "contiguous_gradients": stage == 3 or (gpu and stage > 0),
            **(optimizer_offload.zero_settings(config.output) if config.offload else {}),
        },
        # DeepSpeed's own optimizer for offloaded states would be compiled on first use.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }


def trainer_clips_gradients(config: TrainConfig, *, gpu: bool) -> bool:
    """Return whether the training loop clips gradients: in fp32 without ZeRO, DeepSpeed does not report their norm."""
    return not config.zero_stage and not uses_bf16(config.dtype, gpu=gpu)
