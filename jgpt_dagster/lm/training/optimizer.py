"""The optimizer of a run: AdamW with weight decay on matrices only."""

from typing import Any

import torch

from jgpt_dagster.lm.training.train_config import TrainConfig


def adamw(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return the optimizer of a run: fused, unless its states are on disk.

    Offloaded states are updated in CPU memory, on hosts with a GPU too, and the fused kernel does not accept tensors
    that move between memory and disk.
    """
    groups = parameter_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=not config.offload)


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: matrices, which decay, and biases and layer norms, which do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
