"""What a language model is measured against: a unigram and a bigram model of the same tokens.

Both are counted from the training documents in one pass, and look at no more than the token before. A model that does
not predict held-out documents better than the bigrams has not learned what a table of counts knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jgpt_dagster.lm.data.training_set import TrainingSet

# Pairs that are sorted at a time: 64 MB of keys.
_CHUNK = 1 << 24
# Training tokens are taken or passed over in pieces of this length where there are more than are wanted.
_PIECE = 1 << 16
# A pair of tokens as one number, `previous * _BASE + token`: token ids are uint16.
_BASE = 1 << 16


@dataclass(frozen=True)
class Unigrams:
    """Each token by its frequency, with one added to every count, so that no token is impossible (Laplace)."""

    counts: np.ndarray

    def bits(self, sequence: np.ndarray) -> float:
        """Return the sum of -log2 p over all tokens of a sequence but the first."""
        chances = (self.counts + 1) / (self.counts.sum() + len(self.counts))
        return float(-np.log2(chances[sequence[1:]]).sum())


@dataclass(frozen=True)
class Bigrams:
    """Interpolated Kneser-Ney bigrams (Chen and Goodman, "An Empirical Study of Smoothing Techniques", 1999).

    A pair gives up `discount` of its count. What a token's pairs give up is shared out by `continuation`: by how many
    different tokens a token follows, itself discounted and shared out evenly over the vocabulary.

    `pairs` (uint32, ascending) and `pair_counts` are the pairs that occur; `totals` and `followers` say of each token
    how often something follows it, and how many different tokens.
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
        places = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        counts = np.where(self.pairs[places] == keys, self.pair_counts[places], 0)
        totals = self.totals[previous]
        kept = np.maximum(counts - self.discount, 0)
        shared = self.discount * self.followers[previous]
        # After a token that nothing follows there is only the lower order.
        seen = (kept + shared * self.continuation[tokens]) / np.maximum(totals, 1)
        return np.where(totals > 0, seen, self.continuation[tokens])

    def bits(self, sequence: np.ndarray) -> float:
        """Return the sum of -log2 p over all tokens of a sequence but the first, which is given."""
        return float(-np.log2(self.probabilities(sequence[:-1], sequence[1:])).sum())


@dataclass(frozen=True)
class Baselines:
    """Both models, and the number of training tokens that they were counted from."""

    unigrams: Unigrams
    bigrams: Bigrams
    tokens: int


def count_baselines(training_set: TrainingSet, files: list[np.ndarray], at_most: int) -> Baselines:
    """Count the training documents' tokens: all, or about `at_most` in pieces spread evenly over them.

    A document's first token follows `</s>`. Memory grows with the different pairs (12 bytes each, a few times that
    while they are merged), of which there are at most as many as tokens, and in text far fewer.
    """
    vocabulary = training_set.vocab_size
    counts = np.zeros(vocabulary, np.int64)
    pairs, pair_counts = np.empty(0, np.uint32), np.empty(0, np.int64)
    for keys in _chunks(_pair_keys(training_set, files, at_most)):
        counts += np.bincount(keys % _BASE, minlength=vocabulary)
        pairs, pair_counts = _merged(pairs, pair_counts, *np.unique(keys, return_counts=True))
    return Baselines(Unigrams(counts), kneser_ney(pairs, pair_counts, vocabulary), int(counts.sum()))


def kneser_ney(pairs: np.ndarray, pair_counts: np.ndarray, vocabulary: int) -> Bigrams:
    """Return the bigram model of the pairs that occur (`previous * 65536 + token`, ascending) and how often they do."""
    previous, tokens = pairs // _BASE, pairs % _BASE
    types = np.bincount(tokens, minlength=vocabulary)
    spared = _discount(types)
    kept = np.maximum(types - spared, 0)
    shared = len(pairs) - kept.sum()
    return Bigrams(
        pairs=pairs,
        pair_counts=pair_counts,
        totals=np.bincount(previous, weights=pair_counts, minlength=vocabulary),
        followers=np.bincount(previous, minlength=vocabulary),
        continuation=(kept + shared / vocabulary) / len(pairs),
        discount=_discount(pair_counts),
    )


def _discount(counts: np.ndarray) -> float:
    """Return n1 / (n1 + 2 n2), n1 and n2 being how many counts are 1 and 2 (Ney, Essen and Kneser, 1994)."""
    once, twice = int(np.count_nonzero(counts == 1)), int(np.count_nonzero(counts == 2))
    # A corpus in which nothing is rare says nothing of what is unseen; something must be left for it all the same.
    return once / (once + 2 * twice) if once else 0.5


def _pair_keys(training_set: TrainingSet, files: list[np.ndarray], at_most: int) -> Iterator[np.ndarray]:
    """Yield the pairs of the training tokens as uint32 keys, piece by piece."""
    share = min(1.0, at_most / training_set.counts.train_tokens)
    spans = training_set.train_spans()
    piece = 0
    for shard, offset, length in zip(*(spans[name].tolist() for name in ("shard", "offset", "length")), strict=True):
        for start in range(offset, offset + length, _PIECE):
            tokens = files[shard][start : min(start + _PIECE, offset + length)].astype(np.uint32)
            # The first token of a span follows the end of a document, which may be a held-out one.
            before = training_set.eos_id if start == offset else int(files[shard][start - 1])
            if int((piece + 1) * share) > int(piece * share):
                yield np.concatenate((np.array([before], np.uint32), tokens[:-1])) * np.uint32(_BASE) + tokens
            piece += 1


def _chunks(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join pieces to arrays of about the size that is sorted at once."""
    pending: list[np.ndarray] = []
    size = 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield np.concatenate(pending)
            pending, size = [], 0
    if pending:
        yield np.concatenate(pending)


def _merged(
    keys: np.ndarray, counts: np.ndarray, more_keys: np.ndarray, more_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add up the counts of two ascending lists of keys."""
    joined = np.concatenate((keys, more_keys))
    order = np.argsort(joined, kind="stable")
    joined, values = joined[order], np.concatenate((counts, more_counts))[order]
    first = np.flatnonzero(np.concatenate(([True], joined[1:] != joined[:-1])))
    return joined[first], np.add.reduceat(values, first)
