import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.evaluation import ngram_baselines
from jgpt_dagster.lm.evaluation.ngram_baselines import Bigrams, count_baselines, kneser_ney
from jgpt_dagster_tests.support.training_runs import EOS, VOCABULARY, small_training_set


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return small_training_set(tmp_path_factory.mktemp("root"))


def training_documents(training_set: TrainingSet) -> list[list[int]]:
    """Return the training documents, found without the spans: those that are not held out."""
    tokens = training_set.open_tokens(training_set.directory.parent)[0].tolist()
    held_out = set(training_set.held_out_documents()["offset"].tolist())
    documents, start = [], 0
    for position, token in enumerate(tokens):
        if token == EOS:
            if start not in held_out:
                documents.append(tokens[start : position + 1])
            start = position + 1
    return documents


def bigrams_of(sequence: list[int], vocabulary: int) -> Bigrams:
    counts = Counter(previous * 65536 + token for previous, token in pairwise(sequence))
    keys = np.array(sorted(counts), np.uint32)
    return kneser_ney(keys, np.array([counts[int(key)] for key in keys]), vocabulary)


def test_the_pairs_of_each_training_document_after_an_end_are_counted(training_set: TrainingSet) -> None:
    expected: Counter[int] = Counter()
    for document in training_documents(training_set):
        expected.update(before * 65536 + token for before, token in zip([EOS, *document], document, strict=False))
    counted = count_baselines(training_set, training_set.open_tokens(training_set.directory.parent), 10**9)
    bigrams = counted.bigrams
    assert dict(zip(bigrams.pairs.tolist(), bigrams.pair_counts.tolist(), strict=True)) == expected
    assert counted.unigrams.counts.sum() == counted.tokens == training_set.counts.train_tokens


def test_counts_do_not_depend_on_how_many_pairs_are_sorted_at_a_time(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = training_set.open_tokens(training_set.directory.parent)
    whole = count_baselines(training_set, files, 10**9).bigrams
    monkeypatch.setattr(ngram_baselines, "_PAIRS_PER_SORT", 100)
    monkeypatch.setattr(ngram_baselines, "_SAMPLE_PIECE", 7)
    pieces = count_baselines(training_set, files, 10**9).bigrams
    assert np.array_equal(whole.pairs, pieces.pairs) and np.array_equal(whole.pair_counts, pieces.pair_counts)
    part = count_baselines(training_set, files, training_set.counts.train_tokens // 4)
    assert part.tokens == pytest.approx(training_set.counts.train_tokens / 4, rel=0.02)


@given(st.lists(st.integers(0, 11), min_size=2, max_size=60))
def test_the_probabilities_of_the_next_token_are_positive_and_add_up_to_one(sequence: list[int]) -> None:
    bigrams = bigrams_of(sequence, vocabulary=12)
    for previous in range(12):
        probabilities = bigrams.probabilities(np.full(12, previous), np.arange(12))
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities.min() > 0


def test_kneser_ney_agrees_with_a_calculation_by_hand() -> None:
    # Pairs 0-1 twice, 1-0, 1-2 and 2-0 once: n1 = 3, n2 = 1, discount 3/5. Token 0 follows two different tokens, 1 and
    # 2 one each: n1 = 2, n2 = 1, discount 1/2. The lower order of 1: (1 - 1/2) / 4 + (3 * 1/2) / 4 / 4.
    bigrams = bigrams_of([0, 1, 2, 0, 1, 0], vocabulary=4)
    lower = 1 / 8 + 3 / 32
    assert bigrams.probabilities(np.array([0]), np.array([1])) == pytest.approx((2 - 0.6) / 2 + 0.6 / 2 * lower)
    # 0 never follows itself; it has one follower.
    assert bigrams.probabilities(np.array([0]), np.array([0])) == pytest.approx(0.6 / 2 * (1.5 / 4 + 3 / 32))
    assert bigrams.probabilities(np.array([3]), np.array([1])) == pytest.approx(lower)
    assert bigrams.bits(np.array([3, 1])) == pytest.approx(-math.log2(lower))


def test_bigrams_beat_unigrams_if_each_token_determines_the_next(training_set: TrainingSet) -> None:
    files = training_set.open_tokens(training_set.directory.parent)
    counted = count_baselines(training_set, files, 10**9)
    sequence = np.array([EOS, *training_documents(training_set)[0][:-1]])
    assert counted.bigrams.bits(sequence) < 0.2 * counted.unigrams.bits(sequence)
    assert counted.unigrams.bits(sequence) < 1.1 * math.log2(VOCABULARY) * (len(sequence) - 1)
