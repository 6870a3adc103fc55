"""Training samples: blocks of a fixed length cut from a training set's tokens, in an order that is a pure function.

The training documents are read as one long sequence; block `i` is its tokens `i*T … i*T+T`, of which the first T are
the inputs and the last T the targets, so that nothing but the tail is wasted. Sample `n` of a training run is a block
that depends on the seed and `n` alone: how many samples were seen is the whole state of the data, whatever the number
of ranks, the micro batch or the number of restarts.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from math import isqrt
from pathlib import Path

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TrainingSet

_ROUNDS = 6
_MASK = (1 << 64) - 1


class BatchError(JgptError):
    """A training set and a batch geometry that do not fit each other."""


class PackedDataset:
    """The training documents of a training set as blocks of `context + 1` tokens, read from memory-mapped files.

    Raises BatchError where there are too few tokens for one block, and what opening the files raises.
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
            taken = min(stop, int(self._ends[span])) - position
            # Offsets count from a span's start; its end in the packed sequence tells how far before that end we are.
            start = int(self._offsets[span]) + position - (int(self._ends[span - 1]) if span else 0)
            parts.append(self._files[self._shards[span]][start : start + taken])
            position += taken
            span += 1
        return np.concatenate(parts)

    def batch(self, samples: Iterable[int], seed: int) -> np.ndarray:
        """Return the blocks of samples (numbers in the endless sequence of epochs) as int64, (samples, context + 1).

        The inputs are `[:, :-1]` and the targets `[:, 1:]`.
        """
        blocks = [shuffled_index(seed, *divmod(sample, self.blocks), self.blocks) for sample in samples]
        return np.stack([self.block(index) for index in blocks]).astype(np.int64)


def document_positions(inputs: np.ndarray, eos_id: int) -> np.ndarray:
    """Return the position of each input (batch, context) in its document, which a `</s>` opens with position 0.

    Handed to a model without an attention mask, they confine attention to the document: transformers takes positions
    that do not go on from those before for another sequence.
    """
    places = np.arange(inputs.shape[1])
    return places - np.maximum.accumulate(np.where(inputs == eos_id, places, 0), axis=1)


def samples_of_step(step: int, global_batch: int, rank: int = 0, world: int = 1) -> range:
    """Return the samples that one rank takes in a step; slice the range for micro batches.

    Over all ranks these are samples `step*global_batch … (step+1)*global_batch - 1`, each once, for any number of
    ranks. Raises BatchError where the ranks cannot have equal shares, whose mean would not be the batch's mean.
    """
    if global_batch % world:
        raise BatchError(f"a global batch of {global_batch} sequences cannot be shared equally by {world} processes")
    share = global_batch // world
    first = step * global_batch + rank * share
    return range(first, first + share)


def shuffled_index(seed: int, epoch: int, index: int, blocks: int) -> int:
    """Return the block at position `index` of an epoch: a pseudo-random permutation of `0 … blocks - 1`.

    A Feistel network over a rectangle just larger than `blocks`, walked on until it falls inside (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", 2002): constant time, no memory, and the same in every library version.
    """
    width = isqrt(blocks - 1) + 1
    height = -(-blocks // width)
    keys = _round_keys(seed, epoch)
    while True:
        row, column = divmod(index, width)
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            column = (column + _mix(row ^ even)) % width
            row = (row + _mix(column ^ odd)) % height
        index = row * width + column
        if index < blocks:
            return index


@lru_cache(maxsize=4)
def _round_keys(seed: int, epoch: int) -> tuple[int, ...]:
    digest = blake2b(f"{seed}/{epoch}".encode(), digest_size=8 * _ROUNDS).digest()
    return tuple(int.from_bytes(digest[i : i + 8], "big") for i in range(0, len(digest), 8))


def _mix(value: int) -> int:
    """The output function of SplitMix64 (Steele, Lea and Flood, 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
