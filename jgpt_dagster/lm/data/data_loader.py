"""Training samples: blocks of a fixed length cut from a training set's tokens, and the samples of each step and rank.

The training documents are read as one long sequence. Block `i` is its tokens `i*T … i*T+T`: the first T are the inputs
and the last T the targets, so only the tail of the sequence is unused. Which block sample `n` of a run is depends on
the seed and `n` alone. The number of samples taken is therefore the whole state of the loader, for any number of ranks,
micro batch or number of restarts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.sample_order import shuffled_index
from jgpt_dagster.lm.data.training_set import TrainingSet


class BatchError(JgptError):
    """A training set that is too small for the context, or a batch that the processes cannot share."""


class PackedDataset:
    """The training documents of a training set as blocks of `context + 1` tokens, read from memory-mapped files.

    Raises BatchError if there are too few tokens for one block, and what opening the files raises.
    """

    def __init__(self, training_set: Path, data_root: Path, context: int) -> None:
        self.training_set = TrainingSet.open(training_set)
        spans = self.training_set.train_spans()
        self._files = self.training_set.open_tokens(data_root)
        self._shards, self._offsets = spans["shard"], spans["offset"]
        self._ends = np.cumsum(spans["length"])
        self.context = context
        self.tokens = int(self._ends[-1])
        self.blocks = (self.tokens - 1) // context
        if self.blocks < 1:
            raise BatchError(
                f"{training_set}: {self.tokens:,} training tokens do not fill one block of {context} + 1. "
                "Train on more text or with a shorter context."
            )

    def __len__(self) -> int:
        return self.blocks

    def block(self, index: int) -> np.ndarray:
        """Return block `index` as uint16, shape (context + 1,). Raises IndexError outside 0 … blocks - 1."""
        if not 0 <= index < self.blocks:
            raise IndexError(f"block {index} of {self.blocks}")
        position = index * self.context
        stop = position + self.context + 1
        parts = []
        span = int(np.searchsorted(self._ends, position, side="right"))
        while position < stop:
            count = min(stop, int(self._ends[span])) - position
            span_start = int(self._ends[span - 1]) if span else 0
            start = int(self._offsets[span]) + position - span_start
            parts.append(self._files[self._shards[span]][start : start + count])
            position += count
            span += 1
        return np.concatenate(parts)

    def batch(self, samples: Iterable[int], seed: int) -> np.ndarray:
        """Return the blocks of samples as int64, shape (samples, context + 1).

        Samples are numbered through all epochs. The inputs are `[:, :-1]` and the targets `[:, 1:]`.
        """
        blocks = [shuffled_index(seed, *divmod(sample, self.blocks), self.blocks) for sample in samples]
        return np.stack([self.block(index) for index in blocks]).astype(np.int64)


def document_positions(inputs: np.ndarray, eos_id: int) -> np.ndarray:
    """Return the position of each input (batch, context) in its document, which starts with `</s>` at position 0.

    Passed to a model without an attention mask, they confine attention to the document: transformers takes positions
    that do not follow the previous ones for the start of another sequence.
    """
    columns = np.arange(inputs.shape[1])
    return columns - np.maximum.accumulate(np.where(inputs == eos_id, columns, 0), axis=1)


def samples_of_step(step: int, global_batch: int, rank: int = 0, world: int = 1) -> range:
    """Return the samples of one rank in a step; slice the range for micro batches.

    All ranks together take samples `step*global_batch … (step+1)*global_batch - 1`, each once, for any number of ranks.
    Raises BatchError if the ranks cannot take equally many: the mean of their losses would not be that of the batch.
    """
    if global_batch % world:
        raise BatchError(f"a global batch of {global_batch} sequences cannot be shared equally by {world} processes")
    samples = global_batch // world
    first = step * global_batch + rank * samples
    return range(first, first + samples)
