from collections.abc import Iterable

import numpy as np

from jgpt_dagster.lm.data.document_split import DocumentSplit, split_documents

HELD_OUT = {11, 31, 41, 72, 106, 113, 114, 124, 170, 194}


def split(corpus: str, keys: Iterable[int], weight: float = 1.0, share: float = 0.05, length: int = 9) -> DocumentSplit:
    array = np.array(list(keys))
    return split_documents(corpus, array, np.full(len(array), length), weight, share)


def held_out_keys(corpus: str, keys: range, share: float) -> set[int]:
    """Return the keys of a corpus that are held out."""
    return set(np.array(keys)[split(corpus, keys, share=share).held_out].tolist())


def test_the_share_of_held_out_documents_is_the_share_asked_for() -> None:
    for corpus in ("wikipedia", "cc100"):
        assert 900 < len(held_out_keys(corpus, range(20_000), 0.05)) < 1100


def test_a_larger_share_holds_out_the_same_documents_and_more() -> None:
    assert held_out_keys("wikipedia", range(5000), 0.01) < held_out_keys("wikipedia", range(5000), 0.05)


def test_the_held_out_documents_never_change_between_releases() -> None:
    assert held_out_keys("wikipedia", range(200), 0.05) == HELD_OUT


def test_the_split_of_a_document_does_not_depend_on_the_others() -> None:
    whole = split("cc100", range(1000), weight=1.5)
    parts = [split("cc100", range(start, start + 250), weight=1.5) for start in range(0, 1000, 250)]
    assert np.array_equal(np.concatenate([part.held_out for part in parts]), whole.held_out)
    for number in range(2):
        assert np.array_equal(np.concatenate([part.train[number] for part in parts]), whole.train[number])


def test_a_weight_repeats_every_training_document_and_some_once_more() -> None:
    once, twice, once_more = split("cc100", range(10_000), weight=2.25).train
    assert np.array_equal(once, twice) and not (once_more & ~once).any()
    assert 0.23 < once_more.sum() / once.sum() < 0.27


def test_an_empty_document_is_in_neither_part() -> None:
    result = split("cc100", range(100), length=1, share=0.5)
    assert result.empty.all() and not result.held_out.any() and not any(mask.any() for mask in result.train)
