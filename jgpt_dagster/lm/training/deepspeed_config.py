"""The DeepSpeed configuration of a training run. One path for CPU and GPU: only the values differ."""

from typing import Any

from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster.lm.training.train_config import Geometry, TrainConfig, require_exact_sums, uses_bf16


def deepspeed_config(config: TrainConfig, shape: Geometry, *, gpu: bool) -> dict[str, Any]:
    """Return the dictionary that `deepspeed.initialize` takes.

    It names no optimizer: one that DeepSpeed builds from its configuration is compiled on first use (minutes), and
    decays biases and layer norms too. Raises TrainConfigError for bf16 without ZeRO.
    """
    require_exact_sums(config.zero_stage, config.dtype, gpu=gpu)
    bf16 = uses_bf16(config.dtype, gpu=gpu)
    stage = config.zero_stage
    return {
        "train_batch_size": shape.global_batch,
        "train_micro_batch_size_per_gpu": shape.micro_batch,
        "gradient_accumulation_steps": shape.accumulation,
        "gradient_clipping": 0.0 if clips_itself(config, gpu=gpu) else config.gradient_clipping,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": bf16},
        # Summing many small bf16 gradients loses most of them.
        **({"data_types": {"grad_accum_dtype": "fp32"}} if bf16 else {}),
        # ZeRO-1 sums between processes once a step. ZeRO-2 and 3 do so for every micro batch, whose gradients are in
        # bf16 anyway: what they send would double.
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


def clips_itself(config: TrainConfig, *, gpu: bool) -> bool:
    """Say whether the training loop clips the gradients: without ZeRO, DeepSpeed keeps their norm in fp32 to itself."""
    return not config.zero_stage and not uses_bf16(config.dtype, gpu=gpu)
