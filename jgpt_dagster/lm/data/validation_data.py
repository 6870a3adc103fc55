"""The order in which held-out documents are looked at, so that any number of them is the same sample in every dump."""

from hashlib import blake2b

import numpy as np

from jgpt_dagster.lm.data.training_set import TrainingSet


def held_out_order(training_set: TrainingSet, documents: dict[str, np.ndarray]) -> np.ndarray:
    """Return the indices of held-out documents ordered by a hash of (corpus, key): a pseudo-random, lasting order."""
    corpora = [training_set.token_files[shard].corpus for shard in documents["shard"].tolist()]
    ranks = [
        blake2b(f"order {corpus} {key}".encode(), digest_size=16).digest()
        for corpus, key in zip(corpora, documents["key"].tolist(), strict=True)
    ]
    return np.array(sorted(range(len(ranks)), key=ranks.__getitem__), dtype=np.int64)


def validation_blocks(training_set: TrainingSet, files: list[np.ndarray], context: int, at_most: int) -> np.ndarray:
    """Return up to `at_most` blocks of held-out tokens as int64, shape (blocks, context + 1), packed as in training.

    Fewer tokens than one block give one block that is shorter.
    """
    documents = training_set.held_out_documents()
    wanted = at_most * context + 1
    parts = [np.array([training_set.eos_id])]
    for index in held_out_order(training_set, documents):
        start, length = documents["offset"][index], documents["length"][index]
        parts.append(files[documents["shard"][index]][start : start + length])
        wanted -= int(length)
        if wanted <= 1:
            break
    tokens = np.concatenate(parts).astype(np.int64)
    width = min(context, len(tokens) - 1)
    count = min(at_most, (len(tokens) - 1) // width)
    return np.stack([tokens[block * width : (block + 1) * width + 1] for block in range(count)])
