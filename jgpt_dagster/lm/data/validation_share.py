"""The share of documents that is held out, if nobody has said it: enough for a score, also of a small corpus."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jgpt_dagster.lm.data.document_split import split_hashes, threshold
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.token_files import DOCUMENTS
from jgpt_dagster.lm.data.training_set import TokenShard

MINIMUM_HELD_OUT = 20
_STEPS = 10_000


def sufficient_share(shards: Sequence[TokenShard], data_root: Path, share: float) -> float:
    """Return `share` if it holds out at least 20 documents of the token files, else a larger share that does.

    A corpus of fewer than 40 documents holds out half of them.
    """
    # The number held out has a binomial distribution: at three times the minimum, 60 ± 8, it cannot be too small.
    if share * sum(shard.documents for shard in shards) >= 3 * MINIMUM_HELD_OUT:
        return share
    return larger_share((split_hashes(shard.corpus, _keys(shard, data_root)) for shard in shards), share)


def larger_share(hashes: Iterable[np.ndarray], share: float) -> float:
    """Return the smallest share from `share` on, in steps of 0.0001, below which 20 of the hashes (or half) lie."""
    found = np.concatenate([np.empty(0, np.uint64), *hashes])
    wanted = min(MINIMUM_HELD_OUT, len(found) // 2)
    if np.count_nonzero(found < threshold(share)) >= wanted:
        return share
    last = float(np.partition(found, wanted - 1)[wanted - 1]) / 2**64
    return min(math.floor(last * _STEPS) + 1, _STEPS - 1) / _STEPS


def _keys(shard: TokenShard, data_root: Path) -> np.ndarray:
    """Return the keys of the documents of a token file that are not empty."""
    documents = read_columns(data_root / shard.path / DOCUMENTS, ["key", "length"])
    return documents["key"][documents["length"] > 1]
