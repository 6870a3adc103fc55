"""A small corpus holds out enough documents for a score, and a large one the share that was asked for."""

import numpy as np
import pytest

from jgpt_dagster.lm.data.document_split import split_documents, split_hashes
from jgpt_dagster.lm.data.validation_share import larger_share


@pytest.mark.parametrize(("documents", "held_out"), [(186, 20), (205, 20), (1000, 20), (30, 15), (2, 1)])
def test_a_small_corpus_holds_out_twenty_documents_or_half_of_them(documents: int, held_out: int) -> None:
    keys = np.arange(documents)
    share = larger_share([split_hashes("wikipedia", keys)], 0.005)
    split = split_documents("wikipedia", keys, np.full(documents, 9), 1, share)
    assert held_out <= split.held_out.sum() <= held_out + 1
    assert split.train[0].sum() == documents - split.held_out.sum()
    assert share == round(share, 4)


def test_a_share_that_holds_out_enough_stays_and_one_document_cannot_be_divided() -> None:
    assert larger_share([split_hashes("wikipedia", np.arange(1000))], 0.04) == 0.04
    assert larger_share([split_hashes("wikipedia", np.arange(1))], 0.005) == 0.005
    assert larger_share([], 0.005) == 0.005


def test_the_documents_of_all_corpora_count_together() -> None:
    hashes = [split_hashes(corpus, np.arange(100)) for corpus in ("wikipedia", "cc100")]
    share = larger_share(hashes, 0.005)
    assert sum(np.count_nonzero(one < np.uint64(int(share * 2**64))) for one in hashes) >= 20
    assert share < larger_share(hashes[:1], 0.005)
