"""What a training run is asked to do: the configuration file of `jgpt_dagster.lm.train`, and what follows from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import PRESETS

Dtype = Literal["auto", "fp32", "bf16"]


class TrainConfigError(JgptError):
    """A training configuration that cannot be read or carried out."""


class TrainConfig(BaseModel):
    """One training run, as JSON. At most one of `steps`, `tokens` and `epochs` says how long it is.

    Batches are counted in sequences of `context` tokens: `global_batch` a step over all processes, `micro_batch` in
    memory at a time. What is left out comes from the model's preset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    training_set: Path = Field(description="directory of the training set")
    data_root: Path = Field(description="what the paths of its token files are relative to")
    output: Path = Field(description="run directory, on a disk that all processes share")
    model: Literal["tiny", "small", "medium", "large", "xl"]
    initial_model: Path | None = Field(None, description="saved model whose weights the run starts from")
    context: PositiveInt
    document_masking: bool = Field(False, description="keep attention within a document of a packed sequence")
    seed: int = Field(0, ge=0)
    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    global_batch: PositiveInt
    micro_batch: PositiveInt | None = Field(
        None, description="by default what fits the preset's model and the processes"
    )
    learning_rate: PositiveFloat
    minimum_learning_rate_ratio: float = Field(0.1, ge=0, le=1, description="of the peak, reached at the last step")
    warmup_steps: int | None = Field(None, ge=0, description="linear; by default a twentieth of the run, at most 700")
    weight_decay: float = Field(0.1, ge=0, description="on matrices only")
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clipping: PositiveFloat = 1.0
    dtype: Dtype = Field("auto", description="auto is bf16 on a GPU and fp32 on a CPU")
    zero_stage: int = Field(1, ge=0, le=3)
    activation_checkpointing: bool = False
    compile: bool = False
    offload: bool = Field(False, description="optimizer states lie on disk, below `output`; needs zero_stage 3")
    peak_tokens_per_second: PositiveFloat | None = Field(
        None, description="over all processes at their peak FLOP/s: the speed of which the MFU is a share"
    )
    planned_mfu: PositiveFloat | None = Field(None, description="model FLOP/s utilisation that was counted on")
    early_stop: PositiveInt | None = Field(
        None, description="end after this many validation losses in a row that are not below the lowest"
    )
    divergence_steps: int = Field(
        500, ge=0, description="fail after this many steps at a loss over one nat above its lowest level; 0: never"
    )
    stall_seconds: PositiveFloat = Field(1800, description="fail where no process has made a step for this long")
    log_every: PositiveInt = 10
    evaluate_every: PositiveInt = 250
    evaluation_blocks: PositiveInt = Field(64, description="held-out sequences of the validation loss at most")
    checkpoint_every: PositiveInt = 250
    keep_checkpoints: PositiveInt = Field(2, description="the newest ones")
    keep_every: PositiveInt | None = Field(None, description="checkpoints of steps that this divides stay for good")
    wandb_project: str | None = Field(None, min_length=1, description="project of Weights & Biases to report to")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("model") not in PRESETS:
            return values
        shape = PRESETS[values["model"]]
        given = {name: value for name, value in values.items() if value is not None}
        if not {"steps", "tokens", "epochs"} & given.keys():
            given |= {"epochs": 1.0} if shape.steps is None else {"steps": shape.steps}
        return {
            "context": shape.context,
            "learning_rate": shape.learning_rate,
            "global_batch": shape.global_batch,
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
class Geometry:
    """How a global batch is divided: `accumulation` micro batches on each of `world` processes."""

    global_batch: int
    micro_batch: int
    world: int

    @property
    def accumulation(self) -> int:
        """Micro batches of one process in one step."""
        return self.global_batch // (self.micro_batch * self.world)


def read_config(path: Path) -> TrainConfig:
    """Read a configuration file. Raises TrainConfigError, naming the file and every field that is wrong."""
    try:
        return TrainConfig.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise TrainConfigError(f"{path}: {_explain(error)}") from error


def validated(values: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration of these values. Raises TrainConfigError, naming every field that is wrong."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise TrainConfigError(_explain(error)) from error


def geometry(config: TrainConfig, world: int) -> Geometry:
    """Divide the global batch over `world` processes. Raises TrainConfigError where it does not come out even."""
    share, rest = divmod(config.global_batch, world)
    micro = config.micro_batch or math.gcd(share, PRESETS[config.model].micro_batch)
    if rest or share % micro:
        raise TrainConfigError(
            f"global_batch {config.global_batch} cannot be divided over {world} processes with micro_batch {micro}: "
            f"make it a multiple of {micro * world}"
        )
    return Geometry(config.global_batch, micro, world)


def total_steps(config: TrainConfig, blocks: int) -> int:
    """Return the length of the run in steps; `blocks` is the number of sequences in an epoch."""
    if config.steps is not None:
        return config.steps
    if config.tokens is not None:
        return math.ceil(config.tokens / (config.global_batch * config.context))
    return max(1, int((config.epochs or 0) * blocks / config.global_batch))


def warmup_steps(config: TrainConfig, steps: int) -> int:
    """Return the number of steps in which the learning rate rises; 700 suits a 1.5B model at 0.5M tokens a step."""
    return min(700, steps // 20) if config.warmup_steps is None else config.warmup_steps


def learning_rate(step: int, steps: int, warmup: int, peak: float, minimum_ratio: float) -> float:
    """Return the learning rate of step 1 … `steps`: linear up to `peak` at `warmup`, then a cosine to the minimum."""
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return peak * (minimum_ratio + (1 - minimum_ratio) * cosine)


def uses_bf16(dtype: Dtype, *, gpu: bool) -> bool:
    """Say whether a run computes in bf16. On a CPU that is six to eight times slower than fp32."""
    return dtype == "bf16" or (dtype == "auto" and gpu)


def require_exact_sums(zero_stage: int | None, dtype: Dtype, *, gpu: bool) -> None:
    """Raise TrainConfigError for bf16 without ZeRO, under which DeepSpeed has no sums of gradients in fp32."""
    if zero_stage == 0 and uses_bf16(dtype, gpu=gpu):
        raise TrainConfigError(
            "zero_stage 0 in bf16 would sum the gradients of a step in bf16, which loses most of many small ones: set "
            "zero_stage to 1 (in one process too) or leave it out, or dtype to fp32"
        )


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'configuration'}: {problem['msg']}" for problem in error.errors()
    )
