"""The DeepSpeed engine around a GPT-2, as a run starts with it, and the whole model out of it, as a run ends.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from transformers import GPT2LMHeadModel

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.model.gpt2 import BEGIN_ID, generation_config, gpt2_config, load_model
from jgpt_dagster.lm.model.safetensors_writer import write_weights
from jgpt_dagster.lm.training.deepspeed_config import deepspeed_config
from jgpt_dagster.lm.training.train_config import Geometry, TrainConfig
from jgpt_dagster.storage.atomic_write import atomic_directory

WEIGHTS = "model.safetensors"


class TrainingError(JgptError):
    """A run that cannot go on."""


def build_engine(
    config: TrainConfig, shape: Geometry, training_set: TrainingSet, device: torch.device, *, load_universal: bool
) -> Any:
    """Return the DeepSpeed engine of a run at its start. The same seed gives the same weights at every ZeRO stage.

    The whole model is built on each device first, also for ZeRO-3, which divides it afterwards: the largest preset
    takes 6 GB, and construction under `zero.Init` skips GPT-2's own initialisation without a word.
    """
    torch.manual_seed(config.seed)
    with device:
        model = _model(config, training_set)
    if config.activation_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = adamw(model, config)
    gpu = device.type == "cuda"
    settings = {**deepspeed_config(config, shape, gpu=gpu), "checkpoint": {"load_universal": load_universal}}
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    if shape.world == 1 and not config.zero_stage:
        # A sum over one process, for which all gradients would be copied to a buffer and back.
        engine.enable_backward_allreduce = False
    if config.compile:
        engine.compile()
    return engine


def adamw(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return the optimizer of a run: the fused one, but for states on disk.

    Those are in the CPU's memory while they are updated, on a host with a GPU too, and the fused kernel does not take
    what moves between memory and disk.
    """
    groups = parameter_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=not config.offload)


def write_model(engine: Any, directory: Path) -> None:
    """Write the whole model in the layout that `from_pretrained` opens. Every process must call this.

    Tied parameters are written once, under their first name.
    """
    parameters = dict(sorted(engine.module.named_parameters()))
    dtype = next(iter(parameters.values())).dtype
    if dist.get_rank() == 0:
        config = engine.module.config
        shapes = {name: getattr(parameter, "ds_shape", parameter.shape) for name, parameter in parameters.items()}
        with atomic_directory(directory) as files:
            write_weights(files / WEIGHTS, shapes, dtype, _gathered(parameters.values()))
            config.architectures = [type(engine.module).__name__]
            config.dtype = dtype
            config.save_pretrained(files)
            generation_config(config.eos_token_id).save_pretrained(files)
    else:
        for _ in _gathered(parameters.values()):
            pass
    dist.barrier()


def _gathered(parameters: Iterable[torch.nn.Parameter]) -> Iterator[torch.nn.Parameter]:
    """Yield each parameter while it is whole; ZeRO-3 divides it again afterwards. All processes do so together."""
    for parameter in parameters:
        with deepspeed.zero.GatheredParameters([parameter]):
            yield parameter


def _model(config: TrainConfig, training_set: TrainingSet) -> GPT2LMHeadModel:
    wanted = gpt2_config(config.model, training_set.vocab_size, BEGIN_ID, training_set.eos_id, config.context)
    if config.initial_model is None:
        return GPT2LMHeadModel(wanted)
    model = load_model(config.initial_model).float()
    for name in ("vocab_size", "n_positions", "n_layer", "n_embd", "n_head"):
        if getattr(model.config, name) != getattr(wanted, name):
            raise TrainingError(
                f"initial_model {config.initial_model} has {name} {getattr(model.config, name)}, but model "
                f"{config.model} on this training set has {getattr(wanted, name)}"
            )
    return model


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Divide the parameters: matrices decay, biases and layer norms do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
