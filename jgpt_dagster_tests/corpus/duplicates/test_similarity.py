"""The Jaccard similarity of two texts is exact, for any characters and lengths."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.duplicates.decisions import DiskArray
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts, jaccard_similarity


def by_definition(first: str, second: str) -> float:
    one, other = ({text[start : start + 5] for start in range(len(text) - 4)} for text in (first, second))
    return len(one & other) / len(one | other)


@given(st.text("あいう", min_size=5), st.text("あいう", min_size=5))
def test_it_is_that_of_the_definition(first: str, second: str) -> None:
    assert jaccard_similarity(first, second) == by_definition(first, second)


def test_it_is_exact_for_more_characters_than_a_number_of_64_bits_can_tell_apart() -> None:
    chooser = random.Random(1)
    letters = [chr(number) for number in range(0x20000, 0x2A000)]
    first = "".join(chooser.choices(letters, k=20_000))
    second = first[:9_000] + "".join(chooser.choices(letters, k=11_000))
    assert jaccard_similarity(first, second) == by_definition(first, second)


@pytest.mark.parametrize(
    ("first", "second", "expected"), [("", "", 1), ("短い", "短い", 1), ("短い", "短いもの", 0), ("", "十分に長い", 0)]
)
def test_a_text_without_n_grams_is_like_its_equal_alone(first: str, second: str, expected: float) -> None:
    assert jaccard_similarity(first, second) == expected


def test_the_texts_of_kept_documents_come_back(tmp_path: Path) -> None:
    wanted = DiskArray(tmp_path / "wanted", 4)
    wanted.values[1] = wanted.values[3] = 1
    with KeptTexts(tmp_path, wanted) as texts:
        for key, lines in enumerate(
            (["無関係な文書です。"], ["一つ目の文書", "その続き"], ["別の文書"], ["二つ目の文書です。"])
        ):
            texts.add(key, lines)
        assert texts.similarity(1, ["一つ目の文書", "その続き"]) == 1
        assert texts.similarity(3, ["二つ目の文書でした。"]) == by_definition(
            "二つ目の文書です。", "二つ目の文書でした。"
        )
    assert list(tmp_path.iterdir()) == []
