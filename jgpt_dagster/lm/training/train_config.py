"""The settings of a training run: `TrainConfig`, the configuration file of `jgpt_dagster.lm.train`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import PRESETS, PresetName

Dtype = Literal["auto", "fp32", "bf16"]


class TrainConfigError(JgptError):
    """A training configuration that cannot be read or is contradictory."""


class TrainConfig(BaseModel):
    """One training run, as JSON.

    `context`, `global_batch`, `learning_rate`, `initializer_range` and the length of the run come from the model's
    preset unless set. The run config of `pretrained_model` is built from these fields, and the tables of settings from
    their descriptions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    training_set: Path = Field(description="Directory of the training set.")
    data_root: Path = Field(description="Directory that the training set's paths of token files are relative to.")
    output: Path = Field(description="Run directory, on a disk that all processes share.")
    model: PresetName = Field(description="Model preset.")
    initial_model: Path | None = Field(None, description="Saved model whose weights the run starts from.")
    context: int = Field(
        ge=1, le=1_048_576, description="Tokens of a training sequence, the most that the model looks back."
    )
    document_masking: bool = Field(
        False,
        description="Keep attention within a document when several are packed into a sequence; otherwise, as is usual, "
        "later documents see earlier ones.",
    )
    seed: int = Field(0, ge=0, le=4_294_967_295, description="Seed of the initial weights and of the order of samples.")
    steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Length of the run in optimizer steps. Set at most one of steps, tokens and epochs; the default is "
        "one epoch, and 4,000 steps for tiny.",
    )
    tokens: int | None = Field(
        None, ge=1, le=1_000_000_000_000_000, description="Length of the run in tokens, instead of steps or epochs."
    )
    epochs: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Length of the run in passes over the training set, instead of steps or tokens.",
    )
    global_batch: int = Field(ge=1, le=1_000_000, description="Sequences of an optimizer step, over all processes.")
    micro_batch: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Sequences that a process holds in memory at a time; it accumulates the gradients of the rest of "
        "its share of the global batch.",
    )
    learning_rate: float = Field(
        gt=0,
        le=1e30,
        description="Peak learning rate, reached after the warm-up; a cosine lowers it to a tenth by the last step.",
    )
    initializer_range: float = Field(
        gt=0, le=10, description="Standard deviation of the initial weights; GPT-2's is 0.02."
    )
    minimum_learning_rate_ratio: float = Field(
        0.1, ge=0, le=1, description="Learning rate of the last step, as a share of the peak."
    )
    warmup_steps: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="Steps of linear learning-rate warm-up; by default a twentieth of the run, at most 700.",
    )
    weight_decay: float = Field(
        0.1, ge=0, le=100, description="Weight decay of matrices; biases and layer norms do not decay."
    )
    betas: tuple[float, float] = Field((0.9, 0.95), description="Decay rates of AdamW's two moments.")
    gradient_clipping: float = Field(
        1.0,
        gt=0,
        le=1_000_000,
        description="Largest gradient norm; a larger gradient is scaled down to it. Metrics show the norm before that.",
    )
    dtype: Dtype = Field(
        "auto",
        description="Number format to compute in: auto is bf16 on a GPU (optimizer and sums in fp32), fp32 on a CPU.",
    )
    zero_stage: int = Field(
        1,
        ge=0,
        le=3,
        description="What the processes divide among them (DeepSpeed ZeRO): 0 nothing (fp32 only), 1 optimizer states, "
        "2 gradients too, 3 weights too.",
    )
    activation_checkpointing: bool = Field(
        False,
        description="Compute activations a second time instead of keeping them: less memory, a third more computing.",
    )
    compile: bool = Field(
        False, description="Compile the model with torch.compile: minutes at the start, faster steps afterwards."
    )
    offload: bool = Field(
        False,
        description="Keep optimizer states on disk, below the run directory, for a model that does not fit in memory: "
        "slow; needs zero_stage 3.",
    )
    peak_tokens_per_second: float | None = Field(
        None, gt=0, description="Speed of all processes together at their peak FLOP/s, which is an MFU of 1."
    )
    planned_mfu: float | None = Field(None, gt=0, description="Model FLOP/s utilization (MFU) that the plan assumes.")
    early_stop: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Stop after this many validation losses in a row that are not below the lowest; off by default.",
    )
    divergence_steps: int = Field(
        500,
        ge=0,
        le=1_000_000_000,
        description="Fail after this many steps at a loss more than one nat above its lowest level; 0 never fails.",
    )
    stall_seconds: float = Field(
        1800,
        gt=0,
        le=604_800,
        description="Fail if no step completes for this long; more than the longest step, validation or checkpoint "
        "takes.",
    )
    log_every: int = Field(10, ge=1, le=1_000_000_000, description="Steps between two rows of metrics.")
    evaluate_every: int = Field(
        250,
        ge=1,
        le=1_000_000_000,
        description="Steps between two validation losses, taken on fixed held-out sequences.",
    )
    evaluation_blocks: int = Field(
        64, ge=1, le=1_000_000, description="Held-out sequences of a validation loss, at most."
    )
    checkpoint_every: int = Field(
        250, ge=1, le=1_000_000_000, description="Steps between two checkpoints: the most work that a crash can lose."
    )
    keep_checkpoints: int = Field(2, ge=1, le=1_000_000, description="Number of newest checkpoints to keep.")
    keep_every: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Also keep the checkpoints of steps that are multiples of this, for good.",
    )
    wandb_project: str | None = Field(
        None, min_length=1, description="Weights & Biases project to report to as well (needs the extra `wandb`)."
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("model") not in PRESETS:
            return values
        preset = PRESETS[values["model"]]
        given = {name: value for name, value in values.items() if value is not None}
        if not {"steps", "tokens", "epochs"} & given.keys():
            given |= {"epochs": 1.0} if preset.steps is None else {"steps": preset.steps}
        return {
            "context": preset.context,
            "learning_rate": preset.learning_rate,
            "initializer_range": preset.initializer_range,
            "global_batch": preset.global_batch,
            **given,
        }

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        given = [name for name in ("steps", "tokens", "epochs") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of steps, tokens and epochs, not {' and '.join(given)}")
        if self.offload and self.zero_stage != 3:
            raise ValueError(f"offload needs zero_stage 3, not {self.zero_stage}")
        return self


@dataclass(frozen=True)
class BatchSizes:
    """How a global batch is divided: each of `world_size` processes accumulates gradients over micro batches.

    Sizes are in sequences.
    """

    global_batch: int
    micro_batch: int
    world_size: int

    @property
    def accumulation_steps(self) -> int:
        """Micro batches of one process in one step."""
        return self.global_batch // (self.micro_batch * self.world_size)


def read_config(path: Path) -> TrainConfig:
    """Read a configuration file. Raises TrainConfigError, naming the file and every invalid field."""
    try:
        return TrainConfig.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise TrainConfigError(f"{path}: {_describe_error(error)}") from error


def validate_config(values: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration of these values. Raises TrainConfigError, naming every invalid field."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise TrainConfigError(_describe_error(error)) from error


def batch_sizes(config: TrainConfig, world_size: int) -> BatchSizes:
    """Divide the global batch over the processes. Raises TrainConfigError if it cannot be divided evenly."""
    per_process, rest = divmod(config.global_batch, world_size)
    micro = config.micro_batch or math.gcd(per_process, PRESETS[config.model].micro_batch)
    if rest or per_process % micro:
        raise TrainConfigError(
            f"global_batch {config.global_batch} cannot be divided over {world_size} processes with micro_batch "
            f"{micro}: make it a multiple of {micro * world_size}"
        )
    return BatchSizes(config.global_batch, micro, world_size)


def total_steps(config: TrainConfig, blocks: int) -> int:
    """Return the length of the run in steps; `blocks` is the number of sequences in an epoch."""
    if config.steps is not None:
        return config.steps
    if config.tokens is not None:
        return math.ceil(config.tokens / (config.global_batch * config.context))
    return max(1, int((config.epochs or 0) * blocks / config.global_batch))


def uses_bf16(dtype: Dtype, *, gpu: bool) -> bool:
    """Return whether a run computes in bf16, which is six to eight times slower than fp32 on a CPU."""
    return dtype == "bf16" or (dtype == "auto" and gpu)


def require_fp32_gradient_sums(zero_stage: int | None, dtype: Dtype, *, gpu: bool) -> None:
    """Raise TrainConfigError for bf16 without ZeRO, where DeepSpeed cannot sum gradients in fp32."""
    if zero_stage == 0 and uses_bf16(dtype, gpu=gpu):
        raise TrainConfigError(
            "zero_stage 0 in bf16 would sum the gradients of a step in bf16, which loses most of many small ones: set "
            "zero_stage to 1 (in one process too) or leave it out, or dtype to fp32"
        )


def _describe_error(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'configuration'}: {problem['msg']}" for problem in error.errors()
    )
