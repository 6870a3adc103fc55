"""The split of documents into training and held-out ones, and the repetition of training documents by weight.

Hashes of corpus and key decide both, so a document has the same fate in every dump, shard layout and mixture.
"""

import math
from hashlib import blake2b
from typing import NamedTuple

import numpy as np


class DocumentSplit(NamedTuple):
    """Boolean masks over documents. `train` has one for each pass over the training documents that the weight asks for.

    `empty` documents have no token except `</s>`; they are in neither part.
    """

    train: list[np.ndarray]
    held_out: np.ndarray
    empty: np.ndarray


def split_documents(
    corpus: str, keys: np.ndarray, lengths: np.ndarray, weight: float, validation_share: float
) -> DocumentSplit:
    """Split documents of a corpus, given by key (page id or document id) and length in tokens.

    With weight w, each training document occurs floor(w) times, and once more with probability w - floor(w). The
    held-out documents do not depend on the weight.
    """
    hashes = _document_hashes(corpus, keys)
    empty = lengths <= 1
    held_out = ~empty & (hashes.split < threshold(validation_share))
    training = ~empty & ~held_out
    fraction, whole = math.modf(weight)
    once_more = training & (hashes.mixture < threshold(fraction))
    return DocumentSplit([training] * int(whole) + [once_more], held_out, empty)


def split_hashes(corpus: str, keys: np.ndarray) -> np.ndarray:
    """Return a uint64 for each document: it is held out if this lies below the threshold of the share."""
    return _document_hashes(corpus, keys).split


class _Hashes(NamedTuple):
    split: np.ndarray
    mixture: np.ndarray


def _document_hashes(corpus: str, keys: np.ndarray) -> _Hashes:
    """Return two independent uint64 per document: one for the split, one for the repetition."""
    digests = b"".join([blake2b(b"%s %d" % (corpus.encode(), key), digest_size=16).digest() for key in keys.tolist()])
    columns = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return _Hashes(columns[:, 0], columns[:, 1])


def threshold(probability: float) -> np.uint64:
    """Return the number below which a uniform uint64 lies with a probability (0 <= probability < 1)."""
    return np.uint64(int(probability * 2**64))
