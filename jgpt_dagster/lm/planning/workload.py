"""The sizes of a training run that decide its memory and compute, whatever machine it runs on."""

from dataclasses import dataclass

from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.lm.training.train_config import Dtype, TrainConfig


@dataclass(frozen=True)
class Workload:
    """A GPT-2, the batch it is trained with and the dtype it computes in.

    `context` is in tokens. `global_batch` (per step, over all processes) and `max_micro_batch` (in one process at a
    time) are in sequences of `context` tokens.
    """

    layers: int
    width: int
    vocab_size: int
    context: int
    global_batch: int
    max_micro_batch: int
    dtype: Dtype = "auto"

    @classmethod
    def of(cls, config: TrainConfig, vocab_size: int) -> "Workload":
        """Return the workload of a training run."""
        preset = PRESETS[config.model]
        return cls(
            layers=preset.layers,
            width=preset.width,
            vocab_size=vocab_size,
            context=config.context,
            global_batch=config.global_batch,
            max_micro_batch=preset.micro_batch,
            dtype=config.dtype,
        )

    @property
    def parameters(self) -> int:
        """Parameters with tied embeddings: (V + T)H in embeddings, 12H² + 13H in each of L blocks, 2H in ln_f."""
        embeddings = (self.vocab_size + self.context) * self.width
        return embeddings + self.layers * (12 * self.width**2 + 13 * self.width) + 2 * self.width

    @property
    def flops_per_token(self) -> int:
        """FLOPs of forward and backward pass per token: 6N + 12LHT.

        Chowdhery et al., "PaLM" (2022), appendix B. Recomputing activations is not counted.
        """
        return 6 * self.parameters + 12 * self.layers * self.width * self.context
