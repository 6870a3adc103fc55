"""The memory that each training process needs, by part.

The tests check the arithmetic against DeepSpeed's estimators and against what PyTorch saves for the backward pass.
"""

from dataclasses import dataclass, fields

from jgpt_dagster.lm.planning.hardware import GIB, Hardware
from jgpt_dagster.lm.planning.training_layout import TrainingLayout
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster.lm.training.train_config import uses_bf16

# DeepSpeed's default `reduce_bucket_size`, in gradients. It keeps two such buckets where communication overlaps with
# computing, or one of fp32 where ZeRO-1 computes in bf16 without overlap.
REDUCE_BUCKET = 500_000_000

# Vectors of the model's width that a block saves for each token for the backward pass: the inputs of two layer norms,
# of query/key/value, of the projection and of the MLP (1 + 4 + 4 with its activation function and second layer), then
# query, key and value.
VECTORS_PER_BLOCK = 16


@dataclass(frozen=True)
class ProcessMemory:
    """Bytes of one process at the peak of a step, by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    buffers: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(vars(self).values())

    def __str__(self) -> str:
        parts = " + ".join(f"{field.name} {getattr(self, field.name) / GIB:.2f}" for field in fields(self))
        return f"{parts} = {self.total / GIB:.2f} GiB"


def estimate_memory(workload: Workload, hardware: Hardware, layout: TrainingLayout) -> ProcessMemory:
    """Return the bytes that one process needs.

    Weights, gradients and optimizer states: Rajbhandari et al., "ZeRO" (2020), with the fp32 sums of gradients that
    DeepSpeed keeps in bf16 training. Activations: Korthikanti et al., "Reducing Activation Recomputation in Large
    Transformer Models" (2022), equations 1 and 4 without dropout masks and, since attention is fused, without T² terms.
    """
    bf16 = uses_bf16(workload.dtype, gpu=hardware.device.gpu)
    value_bytes = 2 if bf16 else 4
    tokens = layout.micro_batch * workload.context
    weights, gradients, optimizer = _model_states(workload, hardware, layout, bf16=bf16)
    return ProcessMemory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=value_bytes * tokens * workload.width * _vectors_per_token(workload.layers, layout),
        # In fp32: logits, softmax and gradient. In the model's dtype, if that is bf16: logits and gradient.
        logits=tokens * workload.vocab_size * (3 * 4 + (2 * 2 if bf16 else 0)),
        buffers=value_bytes * _buffered_values(workload, hardware, layout, bf16=bf16),
    )


def _model_states(
    workload: Workload, hardware: Hardware, layout: TrainingLayout, *, bf16: bool
) -> tuple[int, int, int]:
    """Return the bytes of weights, gradients and optimizer states."""
    stage, parameters = layout.zero_stage, workload.parameters
    partition = -(-parameters // hardware.world) if stage else parameters
    token_embedding = workload.vocab_size * workload.width
    if bf16:
        # ZeRO-3 gathers a layer at a time; DeepSpeed's estimator counts 4 bytes per value of the largest one.
        weights = 2 * parameters if stage < 3 else 2 * partition + 4 * token_embedding
        gradients = 6 * (parameters if stage < 2 else partition)
        optimizer = 12 * partition
    else:
        # ZeRO keeps a copy of the weights and, from their reduction on, of its partition of the gradients.
        weights = 4 * (parameters if stage < 3 else partition)
        gradients = 4 * (parameters if stage < 3 else partition) + (4 * partition if stage else 0)
        optimizer = (12 if stage else 8) * partition
    if layout.offload:
        gradients = 4 * partition
        optimizer = optimizer_offload.BUFFER_COUNT * 4 * max(optimizer_offload.SUB_GROUP_SIZE, token_embedding)
    return weights, gradients, optimizer


def _vectors_per_token(layers: int, layout: TrainingLayout) -> int:
    """Return how many vectors of the model's width are saved for each token for the backward pass.

    With activation checkpointing only the input of each block is saved, and one block at a time is recomputed.
    """
    return layers + VECTORS_PER_BLOCK if layout.activation_checkpointing else layers * VECTORS_PER_BLOCK


def _buffered_values(workload: Workload, hardware: Hardware, layout: TrainingLayout, *, bf16: bool) -> int:
    """Return how many values DeepSpeed's communication buffers hold."""
    if layout.offload:
        return optimizer_offload.MAX_LIVE_PARAMETERS + optimizer_offload.REDUCE_BUCKET_SIZE
    if not layout.zero_stage or hardware.world == 1:
        return 0
    return min(REDUCE_BUCKET, workload.parameters) * (2 if hardware.device.gpu or bf16 else 1)
