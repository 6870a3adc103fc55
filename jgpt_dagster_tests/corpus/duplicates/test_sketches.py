"""Near duplicates and repeated paragraphs are found by their sketches as often as they should be."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings
from jgpt_dagster.corpus.web.document_selection import SelectionSettings
from jgpt_dagster_tests.support.selection import select

# As frequent as in text is not needed: what counts is how many n-grams two documents have in common.
LETTERS = [chr(number) for number in (*range(0x3041, 0x3097), *range(0x4E00, 0x4F00))]


def text(chooser: random.Random, length: int) -> str:
    return "".join(chooser.choices(LETTERS, k=length))


def likeness(first: str, second: str) -> float:
    """The Jaccard similarity of the sets of character 5-grams, by its definition."""
    one, other = ({document[start : start + 5] for start in range(len(document) - 4)} for document in (first, second))
    return len(one & other) / len(one | other)


def kept(folder: Path, documents: list[list[str]], minimum: int = 50, **settings: Any) -> dict[int, list[str]]:
    """Return the kept lines of the documents that are kept, by their places; no quality filter is on."""
    selection = SelectionSettings(
        minimum_japanese=0,
        minimum_hiragana=0,
        maximum_repeated_lines=1,
        maximum_repeated_ngrams=1,
        minimum_characters=minimum,
        **settings,
    )
    return dict(select(list(enumerate(documents)), selection, folder)[0])


@pytest.mark.parametrize("aim", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_near_duplicates_are_found_as_often_as_the_formula_says(tmp_path, aim):
    chooser = random.Random(7)
    pairs, expected = 250, 0.0
    documents: list[list[str]] = []
    for _ in range(pairs):
        original = text(chooser, 400)
        common = round(400 * 2 * aim / (1 + aim))
        copy = original[:common] + text(chooser, 400 - common)
        expected += 1 - (1 - likeness(original, copy) ** 8) ** 14
        documents += [[original], [copy]]
    left = kept(tmp_path, documents, duplicate_paragraphs=False)
    assert {*range(0, 2 * pairs, 2)} <= left.keys()
    deviation = (expected * (1 - expected / pairs)) ** 0.5
    assert abs(2 * pairs - len(left) - expected) <= 4 * deviation + 1


def test_many_documents_have_the_sketches_that_each_has_by_itself():
    chooser = random.Random(1)
    documents = [
        ["", text(chooser, length), "  ", "続き。" + text(chooser, 19)] for length in (0, 1, 3, 19, 20, 21, 900)
    ]
    settings = DeduplicationSettings()
    for document, sketch in zip(documents, settings.sketches(documents), strict=True):
        (alone,) = settings.sketches([document])
        assert sketch.characters == alone.characters == sum(map(len, document))
        for name in ("bands", "lines", "paragraphs", "lengths"):
            assert np.array_equal(getattr(sketch, name), getattr(alone, name))


def test_paragraphs_that_stood_before_go_and_short_ones_stay(tmp_path):
    chooser = random.Random(2)
    first, second, third = (text(chooser, 60) for _ in range(3))
    notice, short = "すべての記事の無断転載を固く禁じます。", "続きを読む"
    assert len(notice) == 19
    documents = [
        [first, notice + "。", short, f" {first} "],
        [second, notice + "。", notice, short],
    ]
    assert kept(tmp_path, documents, near_duplicates=False) == {
        0: [first, notice + "。", short],
        1: [second, notice, short],
    }
    (tmp_path / "longer").mkdir()
    longer = [[first, notice + "。"], [third, notice + "。"]]
    assert kept(tmp_path / "longer", longer, near_duplicates=False, paragraph_characters=21) == dict(enumerate(longer))


def test_a_document_with_too_little_that_is_new_is_dropped_and_not_remembered(tmp_path):
    chooser = random.Random(3)
    old, new, more = (text(chooser, length) for length in (60, 40, 60))
    documents = [[old], [old, new], [new, more]]
    assert kept(tmp_path, documents, near_duplicates=False) == {0: [old], 2: [new, more]}


def test_a_dropped_near_duplicate_leaves_no_trace(tmp_path):
    chooser = random.Random(4)
    original, addition, more = text(chooser, 600), text(chooser, 30), text(chooser, 300)
    documents = [[original], [original, addition], [addition, more]]
    assert kept(tmp_path, documents) == {0: [original], 2: [addition, more]}


def test_both_can_be_switched_off(tmp_path):
    document = ["同じ文書の同じ段落が何度も何度も続きます。"]
    assert len(kept(tmp_path, [document] * 2, 0, near_duplicates=False, duplicate_paragraphs=False)) == 2
