"""Samples of the held-out documents: their fixed order, and the blocks of the validation loss."""

from hashlib import blake2b

import numpy as np

from jgpt_dagster.lm.data.training_set import SCORED, TrainingSet


def held_out_order(training_set: TrainingSet, documents: dict[str, np.ndarray]) -> np.ndarray:
    """Return the indices of held-out documents in the order of a hash of (corpus, key).

    The first documents in this pseudo-random order are the same sample in every dump.
    """
    corpora = [training_set.token_files[shard].corpus for shard in documents["shard"].tolist()]
    ranks = [
        blake2b(f"order {corpus} {key}".encode(), digest_size=16).digest()
        for corpus, key in zip(corpora, documents["key"].tolist(), strict=True)
    ]
    return np.array(sorted(range(len(ranks)), key=ranks.__getitem__), dtype=np.int64)


def scored_order(training_set: TrainingSet, documents: dict[str, np.ndarray]) -> np.ndarray:
    """Return the same without the documents that have copies in what is trained on."""
    order = held_out_order(training_set, documents)
    scored: np.ndarray = order[documents[SCORED][order]]
    return scored


def validation_blocks(training_set: TrainingSet, files: list[np.ndarray], context: int, at_most: int) -> np.ndarray:
    """Return up to `at_most` blocks of scored tokens, packed as in training, as int64 of shape (blocks, context + 1).

    If there are fewer tokens than one block has, the only block is shorter.
    """
    documents = training_set.held_out_documents()
    missing = at_most * context + 1
    parts = [np.array([training_set.eos_id])]
    for index in scored_order(training_set, documents):
        start, length = documents["offset"][index], documents["length"][index]
        parts.append(files[documents["shard"][index]][start : start + length])
        missing -= int(length)
        if missing <= 1:
            break
    tokens = np.concatenate(parts).astype(np.int64)
    width = min(context, len(tokens) - 1)
    count = min(at_most, (len(tokens) - 1) // width)
    return np.stack([tokens[block * width : (block + 1) * width + 1] for block in range(count)])
