"""What a training run is asked to do, and how it is laid out on a machine: shared by `plan` and `pretrained_model`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from jgpt_dagster.assets.materialize import StageConfig
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.launch.launcher import has_gpu
from jgpt_dagster.lm.planning.hardware import GIB, Hardware, HardwareError, detect_hardware, parse_hardware
from jgpt_dagster.lm.planning.layout_search import fastest_layout
from jgpt_dagster.lm.planning.training_layout import LAYOUT_FIELDS, LayoutConstraints
from jgpt_dagster.lm.planning.training_plan import DEFAULT_MFU, TrainingPlan
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import TrainConfig, validated
from jgpt_dagster.orchestration.resources import TrainingLauncher


class PretrainingConfig(StageConfig):
    """Run config of the training run; what is left out comes from the model preset.

    At most one length may be given; that of a preset is one epoch, and 4,000 steps for `tiny`.
    """

    steps: int | None = Field(default=None, ge=1, description="Length of the run in optimizer steps.")
    tokens: int | None = Field(default=None, ge=1, description="Length of the run in tokens.")
    epochs: float | None = Field(default=None, gt=0, description="Length in passes over the training set.")
    context: int | None = Field(default=None, ge=8, description="Tokens the model looks back at most.")
    document_masking: bool = Field(
        default=False, description="Keep attention within a document where several are packed into a sequence."
    )
    seed: int = Field(default=0, ge=0, description="Decides the first weights and the order of samples.")
    warm_start: bool = Field(
        default=False,
        description="Go on from the model of the newest earlier dump, where there is one, instead of from scratch. The "
        "optimizer begins anew, so the learning rate warms up to its peak again and then falls; a peak of a third or "
        "less of the first run's moves the weights less.",
    )
    global_batch: int | None = Field(default=None, ge=1, description="Sequences a step, over all processes.")
    micro_batch: int | None = Field(default=None, ge=1, description="Sequences a process holds in memory at a time.")
    learning_rate: float | None = Field(default=None, gt=0, description="The peak.")
    warmup_steps: int | None = Field(default=None, ge=0, description="Steps of linear warm-up, then cosine.")
    weight_decay: float = Field(default=0.1, ge=0, description="On matrices only.")
    gradient_clipping: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    dtype: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, fp32 on a CPU.")
    hardware: str = Field(
        default="auto",
        description="What the run is laid out for: auto (what is here), cpu, or COUNTxDEVICE such as 8xa100-80.",
    )
    zero_stage: int | None = Field(default=None, ge=0, le=3, description="DeepSpeed ZeRO stage; default by need.")
    activation_checkpointing: bool | None = Field(
        default=None, description="Less memory for a third more computing; default by need."
    )
    compile: bool | None = Field(
        default=None, description="Compile the model first (minutes), then go faster; default on GPUs up to ZeRO-2."
    )
    peak_tflops: float | None = Field(
        default=None, gt=0, description="Dense TFLOP/s of one device, for one that the table of peaks does not have."
    )
    offload: bool | None = Field(
        default=None, description="Optimizer states lie on disk, in the scratch directory: slow, for little memory."
    )
    mfu: float = Field(default=DEFAULT_MFU, gt=0, le=1, description="Share of the peak FLOP/s that the plan counts on.")
    price: float | None = Field(default=None, ge=0, description="Of a GPU-hour, in any currency, for the plan.")
    early_stop: int | None = Field(
        default=None, ge=1, description="End after this many validation losses in a row that are not below the lowest."
    )
    divergence_steps: int = Field(
        default=500, ge=0, description="Fail after this many steps at a loss one nat above its lowest level; 0: never."
    )
    stall_seconds: float = Field(default=1800, gt=0, description="Fail where no step was made for this long.")
    log_every: int = Field(default=10, ge=1, description="Steps between rows of metrics.")
    evaluate_every: int = Field(default=250, ge=1, description="Steps between validation losses.")
    evaluation_blocks: int = Field(default=64, ge=1, description="Held-out sequences of the validation loss at most.")
    checkpoint_every: int = Field(default=250, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(default=2, ge=1, description="Newest checkpoints that are kept.")
    keep_every: int | None = Field(default=None, ge=1, description="Keep those of steps that this divides as well.")
    wandb_project: str | None = Field(
        default=None, min_length=1, description="Report to this project of Weights & Biases too (extra `wandb`)."
    )
    stop_grace_seconds: float = Field(
        default=300, ge=0, description="Time that a cancelled training has to save a checkpoint before it is killed."
    )


# Drivers and settings (ECC) change the memory of one kind of GPU by some hundredths.
_SAME_MEMORY = 0.95

# What one fits to the hardware at hand: it moves sums by rounding errors, and does not make a finished model stale.
_MACHINE_FIELDS = {
    *LAYOUT_FIELDS,
    "peak_tokens_per_second",
    "planned_mfu",
    "divergence_steps",
    "stall_seconds",
    "log_every",
    "evaluate_every",
    "evaluation_blocks",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "wandb_project",
}
_PATH_FIELDS = {"training_set", "data_root", "output", "initial_model"}

# Fields that are no part of a training configuration: what the asset does, and what the hardware decides.
_ASSET_FIELDS = {"force", "warm_start", "stop_grace_seconds", "hardware", "peak_tflops", "mfu", "price", *LAYOUT_FIELDS}


def training_config(config: PretrainingConfig, model: str, **places: Path | None) -> TrainConfig:
    """Return a run's configuration before it is laid out on a machine; `places` are its directories.

    Raises TrainConfigError for settings that contradict one another.
    """
    nowhere = dict.fromkeys(("training_set", "data_root", "output"), Path())
    given = config.model_dump(exclude=_ASSET_FIELDS, exclude_none=True)
    return validated({**given, **nowhere, **places, "model": model})


def recipe_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide the outcome of a run, whatever the machine."""
    settings: dict[str, Any] = json.loads(config.model_dump_json(exclude=_MACHINE_FIELDS | _PATH_FIELDS))
    return settings


def plan_training(
    config: PretrainingConfig, launcher: TrainingLauncher, train_config: TrainConfig, training_set: TrainingSet
) -> tuple[TrainingPlan, TrainConfig]:
    """Return the plan of a run, and its configuration with what the hardware decides.

    Raises HardwareError, with the arithmetic, where the model does not fit, and TrainConfigError for bf16 without ZeRO.
    """
    if config.hardware == "auto":
        hardware = detect_hardware(launcher.process_count(), launcher.host_count())
    else:
        hardware = parse_hardware(config.hardware)
    if config.peak_tflops is not None:
        hardware = hardware.with_peak(config.peak_tflops * 1e12)
    constraints = LayoutConstraints(**config.model_dump(include=set(LAYOUT_FIELDS)))
    layout = fastest_layout(Workload.of(train_config, training_set.vocab_size), hardware, constraints)
    plan = TrainingPlan(
        train_config,
        hardware,
        layout,
        vocab_size=training_set.vocab_size,
        train_tokens=training_set.counts.train_tokens,
        mfu=config.mfu,
        price=config.price,
    )
    speeds = {"peak_tokens_per_second": plan.peak_tokens_per_second, "planned_mfu": plan.mfu}
    return plan, train_config.model_copy(update={**asdict(layout), **speeds})


def require_hardware(hardware: Hardware, launcher: TrainingLauncher) -> None:
    """Raise HardwareError where a run was laid out for another machine than it will be started on.

    That has another number of processes, no GPU, or GPUs of less memory.
    """
    processes, hosts = launcher.process_count(gpu=hardware.device.gpu), launcher.host_count()
    if hardware.world != processes * hosts:
        raise HardwareError(
            f"hardware {hardware.name} has {hardware.world} processes, but the launcher would start "
            f"{processes * hosts}. Set the launcher's processes and hostfile, or hardware to auto."
        )
    if not hardware.device.gpu:
        return
    if not has_gpu():
        raise HardwareError(f"hardware {hardware.name} names GPUs, but this host has none. Set hardware to auto.")
    found = detect_hardware(processes, hosts).device
    if found.gpu and found.memory < _SAME_MEMORY * hardware.device.memory:
        raise HardwareError(
            f"hardware {hardware.name} has {hardware.device.memory / GIB:.1f} GiB a GPU, but the {found.name} of this "
            f"host has {found.memory / GIB:.1f} GiB. Set hardware to auto, or to the GPUs that are here."
        )
