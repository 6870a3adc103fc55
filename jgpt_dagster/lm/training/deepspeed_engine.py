"""The DeepSpeed engine around a GPT-2: building it at the start of a run, and writing its model at the end.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.model.gpt2 import BEGIN_ID, WEIGHTS, generation_config, gpt2_config, load_model
from jgpt_dagster.lm.model.safetensors_writer import write_weights
from jgpt_dagster.lm.training import deepspeed_internals
from jgpt_dagster.lm.training.deepspeed_config import deepspeed_config
from jgpt_dagster.lm.training.errors import TrainingError
from jgpt_dagster.lm.training.optimizer import adamw
from jgpt_dagster.lm.training.train_config import BatchSizes, TrainConfig
from jgpt_dagster.storage.atomic_write import atomic_directory


def build_engine(
    config: TrainConfig, batch: BatchSizes, training_set: TrainingSet, device: torch.device, *, load_universal: bool
) -> Any:
    """Return the DeepSpeed engine of a new run. The same seed gives the same weights at every ZeRO stage.

    Each device first builds the whole model, which ZeRO-3 then divides: the largest preset takes 6 GB, and construction
    under `zero.Init` silently skips GPT-2's own initialization.
    """
    torch.manual_seed(config.seed)
    with device:
        model = _initial_model(config, training_set)
    if config.activation_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = adamw(model, config)
    gpu = device.type == "cuda"
    settings = {**deepspeed_config(config, batch, gpu=gpu), "checkpoint": {"load_universal": load_universal}}
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    deepspeed_internals.require_engine_internals(engine, offload=config.offload)
    if batch.world_size == 1 and not config.zero_stage:
        deepspeed_internals.skip_gradient_reduction(engine)
    if config.compile:
        engine.compile()
    return engine


def write_model(engine: Any, directory: Path) -> None:
    """Write the whole model as files that `from_pretrained` opens. Every process must call this.

    Tied parameters are written once, under their first name.
    """
    parameters = dict(sorted(engine.module.named_parameters()))
    dtype = next(iter(parameters.values())).dtype
    if dist.get_rank() == 0:
        config = engine.module.config
        shapes = {name: deepspeed_internals.whole_shape(parameter) for name, parameter in parameters.items()}
        with atomic_directory(directory) as files:
            write_weights(files / WEIGHTS, shapes, dtype, _gather(parameters.values()))
            config.architectures = [type(engine.module).__name__]
            config.dtype = dtype
            config.save_pretrained(files)
            generation_config(config.eos_token_id).save_pretrained(files)
    else:
        for _ in _gather(parameters.values()):
            pass
    dist.barrier()


def _gather(parameters: Iterable[torch.nn.Parameter]) -> Iterator[torch.nn.Parameter]:
    """Yield each parameter whole; ZeRO-3 divides it again afterwards. All processes must call this together."""
    for parameter in parameters:
        with deepspeed.zero.GatheredParameters([parameter]):
            yield parameter


def _initial_model(config: TrainConfig, training_set: TrainingSet) -> GPT2LMHeadModel:
    size, ids = (config.context, config.initializer_range), (BEGIN_ID, training_set.eos_id)
    expected = gpt2_config(config.model, training_set.vocab_size, *ids, *size)
    if config.initial_model is None:
        return GPT2LMHeadModel(expected)
    model: GPT2LMHeadModel = load_model(config.initial_model).float()
    for name in ("vocab_size", "n_positions", "n_layer", "n_embd", "n_head"):
        if getattr(model.config, name) != getattr(expected, name):
            raise TrainingError(
                f"initial_model {config.initial_model} has {name} {getattr(model.config, name)}, but model "
                f"{config.model} on this training set has {getattr(expected, name)}"
            )
    return model
