"""Run config of `plan` and `pretrained_model`, and the training configuration that follows from it on a machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, Field, create_model
from pydantic.fields import FieldInfo

from jgpt_dagster.assets.materialize import StageConfig
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.launch.gpus import has_gpu
from jgpt_dagster.lm.model.presets import GPT2_INITIALIZER_RANGE, PRESETS
from jgpt_dagster.lm.planning.hardware import GIB, Hardware, HardwareError, detect_hardware, parse_hardware
from jgpt_dagster.lm.planning.layout_search import fastest_layout
from jgpt_dagster.lm.planning.training_layout import LAYOUT_FIELDS, LayoutConstraints
from jgpt_dagster.lm.planning.training_plan import DEFAULT_MFU, TrainingPlan
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import TrainConfig, TrainConfigError, validate_config
from jgpt_dagster.orchestration.resources import TrainingLauncher

# Fields of a training configuration that the asset sets or leaves at their defaults.
_NOT_IN_RUN_CONFIG = {
    "training_set",
    "data_root",
    "output",
    "model",
    "initial_model",
    "minimum_learning_rate_ratio",
    "betas",
    "peak_tokens_per_second",
    "planned_mfu",
}


def _run_config_field(name: str, field: FieldInfo) -> Any:
    """Return a field of a training configuration for run config; None stands for what preset or hardware decides."""
    annotation: Any = field.annotation
    default = field.default
    if field.is_required() or name in LAYOUT_FIELDS:
        annotation, default = annotation | None, None
    bounded = Annotated[(annotation, *field.metadata)] if field.metadata else annotation
    return bounded, Field(default, description=field.description)


if TYPE_CHECKING:
    # Fields made at run time are unknown to type checkers; nothing reads these by name.
    _TrainingSettings = StageConfig
else:
    _TrainingSettings = create_model(
        "_TrainingSettings",
        __base__=StageConfig,
        **{
            name: _run_config_field(name, field)
            for name, field in TrainConfig.model_fields.items()
            if name not in _NOT_IN_RUN_CONFIG
        },
    )


SIZE_FIELDS = {"preset": "model", "context": "context"}
"""The fields that decide a model's architecture, and what recipes call them."""

WarmStart = Literal["auto", "require", "off"]


def _warm_start(value: object) -> WarmStart:
    """Return the word for a value of `warm_start`, which used to be true or false; YAML reads `off` as false too."""
    if isinstance(value, bool):
        return "auto" if value else "off"
    for word in get_args(WarmStart):
        if value == word:
            return cast(WarmStart, word)
    raise ValueError("must be auto, require or off")


class PretrainingConfig(_TrainingSettings):
    """Run config of the training run: the fields of `TrainConfig`, and those that only the asset needs.

    A field left out or None is decided by the model preset or by the hardware.
    """

    preset: str | None = Field(
        default=None,
        pattern=f"^({'|'.join(PRESETS)})$",
        description="Preset of the model's size and defaults; by default the one that the model is named for.",
    )
    context: int | None = Field(
        default=None, ge=8, le=1_048_576, description=TrainConfig.model_fields["context"].description
    )
    # Dagster has no type for words and truth values.
    warm_start: Annotated[Any, AfterValidator(_warm_start)] = Field(
        default="off",
        description="Start from a finished model: `auto` (true) from scratch if none is fit, and says why; `require` "
        "is refused then; `off` (false) always from scratch. A third of the usual peak learning rate suits it.",
    )
    start_from: str | None = Field(
        default=None,
        pattern="^[a-z0-9][a-z0-9._-]{0,62}$",
        description="Name of the model that a warm start begins with, of this dump or an earlier one; by default its "
        "own name, then that of its preset.",
    )
    hardware: str = Field(
        default="auto",
        description="Machine that the run is planned for: auto (this one), cpu, or COUNTxDEVICE such as 8xa100-80.",
    )
    peak_tflops: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Peak dense TFLOP/s of one device, for a device that the table of peaks lacks, or for fp32.",
    )
    mfu: float = Field(
        default=DEFAULT_MFU, gt=0, le=1, description="Share of the peak FLOP/s that the plan assumes (MFU)."
    )
    price: float | None = Field(
        default=None, ge=0, le=1_000_000, description="Price of a GPU-hour for the plan, in any currency."
    )
    stop_grace_seconds: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Time that a cancelled training has to save a checkpoint before it is killed: more than a step and "
        "a checkpoint take.",
    )


# Drivers and settings (ECC) change the usable memory of a GPU model by a few percent.
_SAME_MEMORY = 0.95

# Settings that suit the hardware at hand: they change results by rounding errors at most, so a finished model stays
# current.
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


def training_config(config: PretrainingConfig, model: str, **places: Path | None) -> TrainConfig:
    """Return a run's configuration before its layout is chosen, for a model's name; `places` are its directories.

    Raises TrainConfigError for contradictory settings and for a name that stands for no preset.
    """
    if config.preset is None and model not in PRESETS:
        raise TrainConfigError(
            f"{model!r} is the name of no preset, so the run config of pretrained_model must say which one the model "
            f"has: `preset:` {', '.join(PRESETS)}."
        )
    nowhere = dict.fromkeys(("training_set", "data_root", "output"), Path())
    # The layout is decided later, by `plan_training`.
    names = TrainConfig.model_fields.keys() - set(LAYOUT_FIELDS)
    given = config.model_dump(include=names, exclude_none=True)
    return validate_config({**given, **nowhere, **places, "model": config.preset or model})


def recipe_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide the outcome of a run on any machine."""
    settings = _deciding_settings(config)
    # Models of versions that had no such setting stay current.
    if settings["initializer_range"] == GPT2_INITIALIZER_RANGE:
        del settings["initializer_range"]
    return settings


def resolved_values(config: PretrainingConfig, train_config: TrainConfig) -> dict[str, Any]:
    """Return the run config with the numbers that the preset decides: a later version may have other defaults."""
    decided = _deciding_settings(train_config)
    given = config.model_dump()
    return {**given, **{name: decided[name] for name in given.keys() & decided.keys()}, "preset": train_config.model}


def _deciding_settings(config: TrainConfig) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(config.model_dump_json(exclude=_MACHINE_FIELDS | _PATH_FIELDS))
    return settings


def plan_training(
    config: PretrainingConfig, launcher: TrainingLauncher, train_config: TrainConfig, training_set: TrainingSet
) -> tuple[TrainingPlan, TrainConfig]:
    """Return the plan of a run, and its configuration with the layout that the hardware decides.

    Raises HardwareError, with the arithmetic, if the model does not fit, and TrainConfigError for bf16 without ZeRO.
    """
    plan = plan_for(config, launcher, train_config, training_set.vocab_size, training_set.counts.train_tokens)
    speeds = {"peak_tokens_per_second": plan.peak_tokens_per_second, "planned_mfu": plan.mfu}
    return plan, train_config.model_copy(update={**asdict(plan.layout), **speeds})


def plan_for(
    config: PretrainingConfig, launcher: TrainingLauncher, train_config: TrainConfig, vocab_size: int, train_tokens: int
) -> TrainingPlan:
    """Return the plan of a run over so many tokens of a training set, whether there is one or not.

    Raises HardwareError and TrainConfigError as `plan_training` does.
    """
    if config.hardware == "auto":
        hardware = detect_hardware(launcher.process_count(), launcher.host_count())
    else:
        hardware = parse_hardware(config.hardware)
    if config.peak_tflops is not None:
        hardware = hardware.with_peak(config.peak_tflops * 1e12)
    constraints = LayoutConstraints(**config.model_dump(include=set(LAYOUT_FIELDS)))
    layout = fastest_layout(Workload.of(train_config, vocab_size), hardware, constraints)
    return TrainingPlan(
        train_config,
        hardware,
        layout,
        vocab_size=vocab_size,
        train_tokens=train_tokens,
        mfu=config.mfu,
        price=config.price,
    )


def require_hardware(hardware: Hardware, launcher: TrainingLauncher) -> None:
    """Raise HardwareError if a run is planned for another machine than the one that will run it.

    That machine has another number of processes, no GPU, or GPUs with less memory.
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
