"""What decides the weights of a run: the recipe that its checkpoints record, and which differences allow resuming."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.lm.data.training_set import MANIFEST, TRAIN, VALIDATION, TrainingSet
from jgpt_dagster.lm.model.gpt2 import WEIGHTS
from jgpt_dagster.lm.model.presets import GPT2_INITIALIZER_RANGE, preset
from jgpt_dagster.lm.training.learning_rate_schedule import warmup_steps
from jgpt_dagster.lm.training.train_config import BatchSizes, TrainConfig, uses_bf16
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import FileEntry, Recipe, library_versions

CODE_VERSION = "1"
# How a run is divided among processes: it affects rounding, and nothing else of the weights.
PARALLELISM_SETTINGS = ("processes", "micro_batch", "zero_stage")
# Those of them that the files of optimizer states depend on.
_STATE_FILE_SETTINGS = ("processes", "zero_stage")
# Stages 1 and 2 share a format; the universal formats of the others differ, and stage 0 divides nothing.
_CONVERTIBLE_STAGES = ({0}, {1, 2}, {3})


def training_recipe(
    config: TrainConfig, batch: BatchSizes, training_set: TrainingSet, steps: int, *, gpu: bool
) -> Recipe:
    """Return the settings and inputs that decide the weights of a run."""
    names = (
        "learning_rate",
        "initializer_range",
        "minimum_learning_rate_ratio",
        "weight_decay",
        "betas",
        "gradient_clipping",
        "seed",
        "document_masking",
    )
    settings = {
        **{name: getattr(config, name) for name in names},
        "betas": list(config.betas),
        "model": config.model,
        **{name: getattr(preset(config.model), name) for name in ("layers", "width", "heads")},
        "context": config.context,
        "vocab_size": training_set.vocab_size,
        "dtype": "bf16" if uses_bf16(config.dtype, gpu=gpu) else "fp32",
        "zero_stage": config.zero_stage,
        "offload": config.offload,
        "steps": steps,
        "warmup_steps": warmup_steps(config, steps),
        "global_batch": batch.global_batch,
        "micro_batch": batch.micro_batch,
        "processes": batch.world_size,
    }
    inputs = {
        "training_set": _digest(training_set.directory, MANIFEST, TRAIN, VALIDATION),
        "tokenizer": training_set.tokenizer_sha256,
    }
    if config.initial_model is not None:
        inputs["initial_model"] = _digest(config.initial_model, WEIGHTS, "config.json")
    return checkpoint_recipe(settings, inputs)


def checkpoint_recipe(settings: Mapping[str, Any], inputs: Mapping[str, str]) -> Recipe:
    """Return the recipe that checkpoints record, with the versions of the libraries in use."""
    return Recipe("checkpoint", CODE_VERSION, settings, inputs, library_versions("torch", "deepspeed", "transformers"))


def differences(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return a message for each setting or input of a checkpoint that keeps a run from resuming from it.

    What decides the weights must be equal. The number of processes, the micro batch, and the ZeRO stage between 1 and 2
    may change; how often a run logs, validates and saves is not recorded at all.
    """
    unsaid = {"initializer_range": GPT2_INITIALIZER_RANGE}  # by checkpoints of earlier versions
    wanted, present = {**unsaid, **wanted}, {**unsaid, **present}
    return [
        f"{name} is {wanted.get(name)}, but the checkpoint has {present.get(name)}"
        for name in sorted(wanted.keys() | present.keys())
        if wanted.get(name) != present.get(name) and not _may_change(name, wanted, present)
    ]


def needs_conversion(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Return whether a run needs a checkpoint in the universal format, having been divided differently.

    Without ZeRO every process, and so the checkpoint, holds the whole state.
    """
    return wanted["zero_stage"] > 0 and any(wanted[name] != present.get(name) for name in _STATE_FILE_SETTINGS)


def _may_change(name: str, wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    if name == "zero_stage":
        return any({wanted.get(name), present.get(name)} <= stages for stages in _CONVERTIBLE_STAGES)
    # States on disk stay divided as they were saved: DeepSpeed has no universal format for them.
    return name in PARALLELISM_SETTINGS and not (name == "processes" and present.get("offload"))


def _digest(directory: Path, *names: str) -> str:
    return sha256_value({name: FileEntry.of(directory / name).sha256 for name in names})
