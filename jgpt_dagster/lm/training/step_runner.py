"""What a run computes: one optimizer step over a global batch, and the validation loss."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

from jgpt_dagster.lm.data.data_loader import PackedDataset, document_positions, samples_of_step
from jgpt_dagster.lm.training.deepspeed_config import trainer_clips_gradients
from jgpt_dagster.lm.training.stop_request import StopRequest
from jgpt_dagster.lm.training.train_config import BatchSizes, TrainConfig


@dataclass(frozen=True)
class StepResult:
    """The mean loss over a global batch, the norm of its gradient, and whether any process is to stop."""

    loss: float
    gradient_norm: float
    stop_requested: bool

    @property
    def finite(self) -> bool:
        """Whether neither figure has overflowed."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


@dataclass(frozen=True)
class StepRunner:
    """The engine of a run with the data it is trained and validated on; `validation` is (blocks, context + 1)."""

    config: TrainConfig
    batch: BatchSizes
    engine: Any
    data: PackedDataset
    validation: torch.Tensor
    device: torch.device

    def train(self, step: int, learning_rate: float, stop: StopRequest) -> StepResult:
        """Take an optimizer step, numbered from 1, and return its result, the same in every process."""
        config, batch, engine = self.config, self.batch, self.engine
        for group in engine.optimizer.param_groups:
            group["lr"] = learning_rate
        samples = samples_of_step(step - 1, batch.global_batch, dist.get_rank(), batch.world_size)
        clips = trainer_clips_gradients(config, gpu=self.device.type == "cuda")
        loss_sum = torch.zeros((), device=self.device)
        norm = None
        for first in range(0, len(samples), batch.micro_batch):
            tokens = torch.from_numpy(self.data.batch(samples[first : first + batch.micro_batch], config.seed))
            loss = self._loss(tokens)
            engine.backward(loss)
            loss_sum += loss.detach().float()
            if clips and engine.is_gradient_accumulation_boundary():
                norm = torch.nn.utils.clip_grad_norm_(engine.module.parameters(), config.gradient_clipping)
            engine.step()
        # Both are summed over the processes at once.
        stop_requested = torch.tensor(float(stop.received), device=self.device)
        sums = torch.stack([loss_sum / batch.accumulation_steps, stop_requested])
        dist.all_reduce(sums)
        loss_mean, stop_mean = (sums / batch.world_size).tolist()
        gradient_norm = engine.get_global_grad_norm() if norm is None else norm
        return StepResult(loss_mean, float(gradient_norm), stop_mean > 0)

    def validation_loss(self) -> float:
        """Return the mean loss of the fixed held-out blocks. Every process computes it, with the same result."""
        self.engine.eval()
        with torch.no_grad():
            blocks = torch.split(self.validation, self.batch.micro_batch)
            losses = [self._loss(tokens).item() * len(tokens) for tokens in blocks]
        self.engine.train()
        return sum(losses) / len(self.validation)

    def _loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of blocks (batch, context + 1): every token but the first is a target."""
        positions = None
        if self.config.document_masking:
            eos_id = self.data.training_set.eos_id
            positions = torch.from_numpy(document_positions(tokens[:, :-1].numpy(), eos_id)).to(self.device)
        tokens = tokens.to(self.device)
        logits = self.engine(input_ids=tokens[:, :-1], position_ids=positions, use_cache=False).logits
        return cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
