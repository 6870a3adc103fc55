"""Baselines for a language model: a unigram and a bigram model of the same tokens.

Both are counted from the training documents in one pass. A model that does not beat the bigram model on held-out
documents has learned less than a table of counts holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.runtime.batching import batches

# Pairs that are sorted at a time: 64 MB of keys.
_PAIRS_PER_SORT = 1 << 24
# If only a sample of the training tokens is counted, it consists of pieces of this length.
_SAMPLE_PIECE = 1 << 16
# A pair of tokens is one number, `previous * _BASE + token`: token ids are uint16.
_BASE = 1 << 16


@dataclass(frozen=True)
class Unigrams:
    """Token frequencies with one added to every count (Laplace), so that no token has probability 0."""

    counts: np.ndarray

    def bits(self, sequence: np.ndarray) -> float:
        """Return the sum of -log2 p over all tokens of a sequence except the first."""
        probabilities = (self.counts + 1) / (self.counts.sum() + len(self.counts))
        return float(-np.log2(probabilities[sequence[1:]]).sum())


@dataclass(frozen=True)
class Bigrams:
    """Interpolated Kneser-Ney bigrams (Chen and Goodman, "An Empirical Study of Smoothing Techniques", 1999).

    Each pair gives up `discount` of its count. The mass that the pairs of a token give up is distributed over the next
    token by `continuation`: by the number of different tokens that precede it, discounted in turn and interpolated with
    the uniform distribution.

    `pairs` (uint32, ascending) are the pairs that occur, `pair_counts` their counts. For each token, `totals` counts
    the pairs that begin with it, and `followers` the different ones among them.
    """

    pairs: np.ndarray
    pair_counts: np.ndarray
    totals: np.ndarray
    followers: np.ndarray
    continuation: np.ndarray
    discount: float

    def probabilities(self, previous: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the probability of each token after the one before it."""
        keys = previous.astype(np.uint32) * _BASE + tokens
        rows = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        counts = np.where(self.pairs[rows] == keys, self.pair_counts[rows], 0)
        totals = self.totals[previous]
        discounted = np.maximum(counts - self.discount, 0)
        freed = self.discount * self.followers[previous]
        interpolated = (discounted + freed * self.continuation[tokens]) / np.maximum(totals, 1)
        # A token that begins no pair leaves only the lower order.
        probabilities: np.ndarray = np.where(totals > 0, interpolated, self.continuation[tokens])
        return probabilities

    def bits(self, sequence: np.ndarray) -> float:
        """Return the sum of -log2 p over all tokens of a sequence except the first."""
        return float(-np.log2(self.probabilities(sequence[:-1], sequence[1:])).sum())


@dataclass(frozen=True)
class Baselines:
    """Both models, and the number of training tokens that were counted for them."""

    unigrams: Unigrams
    bigrams: Bigrams
    tokens: int


def count_baselines(training_set: TrainingSet, files: list[np.ndarray], max_tokens: int) -> Baselines:
    """Count the training tokens: all, or about `max_tokens` in pieces spread evenly over them.

    The first token of a document follows `</s>`. Memory grows with the number of different pairs (12 bytes each, a few
    times that while they are merged), which is far below the number of tokens in text.
    """
    vocabulary = training_set.vocab_size
    counts = np.zeros(vocabulary, np.int64)
    pairs, pair_counts = np.empty(0, np.uint32), np.empty(0, np.int64)
    for pieces in batches(_pair_keys(training_set, files, max_tokens), max_size=_PAIRS_PER_SORT, size=len):
        keys = np.concatenate(pieces)
        counts += np.bincount(keys % _BASE, minlength=vocabulary)
        pairs, pair_counts = _add_counts(pairs, pair_counts, *np.unique(keys, return_counts=True))
    return Baselines(Unigrams(counts), kneser_ney(pairs, pair_counts, vocabulary), int(counts.sum()))


def kneser_ney(pairs: np.ndarray, pair_counts: np.ndarray, vocabulary: int) -> Bigrams:
    """Return the bigram model of pairs (`previous * 65536 + token`, ascending) with their counts."""
    previous, tokens = pairs // _BASE, pairs % _BASE
    types = np.bincount(tokens, minlength=vocabulary)
    discounted = np.maximum(types - _discount(types), 0)
    freed = len(pairs) - discounted.sum()
    return Bigrams(
        pairs=pairs,
        pair_counts=pair_counts,
        totals=np.bincount(previous, weights=pair_counts, minlength=vocabulary),
        followers=np.bincount(previous, minlength=vocabulary),
        continuation=(discounted + freed / vocabulary) / len(pairs),
        discount=_discount(pair_counts),
    )


def _discount(counts: np.ndarray) -> float:
    """Return n1 / (n1 + 2 n2), where n1 and n2 are the numbers of counts 1 and 2 (Ney, Essen and Kneser, 1994)."""
    once, twice = int(np.count_nonzero(counts == 1)), int(np.count_nonzero(counts == 2))
    # Without counts of 1 the formula gives 0, which would leave no probability for unseen pairs.
    return once / (once + 2 * twice) if once else 0.5


def _pair_keys(training_set: TrainingSet, files: list[np.ndarray], max_tokens: int) -> Iterator[np.ndarray]:
    """Yield the pairs of the sampled training tokens as uint32 keys, piece by piece."""
    sampled = min(1.0, max_tokens / training_set.counts.train_tokens)
    spans = training_set.train_spans()
    piece = 0
    for shard, offset, length in zip(*(spans[name].tolist() for name in ("shard", "offset", "length")), strict=True):
        for start in range(offset, offset + length, _SAMPLE_PIECE):
            tokens = files[shard][start : min(start + _SAMPLE_PIECE, offset + length)].astype(np.uint32)
            # The first token of a span follows the end of a document, which may be a held-out one.
            before = training_set.eos_id if start == offset else int(files[shard][start - 1])
            if int((piece + 1) * sampled) > int(piece * sampled):
                yield np.concatenate((np.array([before], np.uint32), tokens[:-1])) * np.uint32(_BASE) + tokens
            piece += 1


def _add_counts(
    keys: np.ndarray, counts: np.ndarray, more_keys: np.ndarray, more_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the union of two ascending lists of keys, with their counts added."""
    joined = np.concatenate((keys, more_keys))
    order = np.argsort(joined, kind="stable")
    joined, values = joined[order], np.concatenate((counts, more_counts))[order]
    first = np.flatnonzero(np.concatenate(([True], joined[1:] != joined[:-1])))
    return joined[first], np.add.reduceat(values, first)
