"""Merges learned from counts of words are those of the trainer of the tokenizers library on the same text."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from jgpt_dagster.lm.tokenizer.merge_table import Merge
from jgpt_dagster.lm.tokenizer.merge_training import MergeTrainer


def merges_of_the_library(words: Mapping[str, int], alphabet: str, size: int, min_frequency: int) -> list[Merge]:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=[*alphabet],
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator((" ".join([word] * count) for word, count in words.items()), trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def learned(words: Mapping[str, int], alphabet: str, size: int, min_frequency: int, batch: int = 100) -> list[Merge]:
    trainer = MergeTrainer(alphabet)
    items = list(words.items())
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        trainer.add([word for word, _ in part], [count for _, count in part])
    return trainer.learn(size, min_frequency)


@st.composite
def texts(draw: st.DrawFn) -> tuple[dict[str, int], str]:
    """Words of few characters, so that pairs repeat, overlap and are equally frequent; and an alphabet of some."""
    characters = draw(st.text("abあいう漢é𠮷\u3099", min_size=1, max_size=6).map(lambda text: "".join(sorted({*text}))))
    words = st.text(characters, min_size=1, max_size=draw(st.sampled_from([5, 12, 40])))
    counts = draw(st.dictionaries(words, st.integers(1, draw(st.sampled_from([3, 100]))), min_size=1, max_size=40))
    present = sorted({*"".join(counts)})
    return counts, "".join(draw(st.lists(st.sampled_from(present), min_size=1, unique=True)))


@given(texts(), st.integers(0, 150), st.integers(0, 5), st.integers(1, 9))
@example(({"aaaaa": 1, "aaa": 2, "ab": 3}, "ab"), 20, 1, 2)
def test_merges_are_those_of_the_library(
    text: tuple[dict[str, int], str], size: int, min_frequency: int, batch: int
) -> None:
    words, alphabet = text
    expected = merges_of_the_library(words, alphabet, size, min_frequency)
    assert learned(words, alphabet, size, min_frequency, batch) == expected


def test_counts_beyond_32_bits_do_not_overflow() -> None:
    words = {"ab": 2**31, "abx": 2**31, "bc": 2**31 - 1, "cd": 5}
    assert learned(words, "abcdx", 7, 1) == [("a", "b"), ("ab", "x")]


def test_no_words_and_no_pairs_give_no_merges() -> None:
    assert learned({}, "ab", 100, 1) == learned({"a": 3, "漢": 2}, "a", 100, 1) == []


def test_more_tokens_than_16_bits_can_number_are_refused() -> None:
    with pytest.raises(ValueError, match="65,534"):
        MergeTrainer("ab").learn(65_535, 1)
