import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from jgpt_dagster.corpus.web.deduplication import DeduplicationSettings, Deduplicator
from jgpt_dagster.storage.disk_hash_set import DiskHashSet

# As frequent as in text is not needed: what counts is how many n-grams two documents have in common.
LETTERS = [chr(number) for number in (*range(0x3041, 0x3097), *range(0x4E00, 0x4F00))]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[DiskHashSet]:
    with DiskHashSet(tmp_path) as index:
        yield index


def text(chooser: random.Random, length: int) -> str:
    return "".join(chooser.choices(LETTERS, k=length))


def likeness(first: str, second: str) -> float:
    """The Jaccard similarity of the sets of character 5-grams, by its definition."""
    one, other = ({document[start : start + 5] for start in range(len(document) - 4)} for document in (first, second))
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("aim", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_near_duplicates_are_found_as_often_as_the_formula_says(seen, aim):
    chooser = random.Random(7)
    deduplicator = Deduplicator(DeduplicationSettings(duplicate_paragraphs=False), seen)
    pairs, found, expected = 250, 0, 0.0
    for _ in range(pairs):
        original = text(chooser, 400)
        common = round(400 * 2 * aim / (1 + aim))
        copy = original[:common] + text(chooser, 400 - common)
        expected += 1 - (1 - likeness(original, copy) ** 8) ** 14
        assert deduplicator.deduplicate([original], 0)[2] is None
        found += deduplicator.deduplicate([copy], 0)[2] is not None
    deviation = (expected * (1 - expected / pairs)) ** 0.5
    assert abs(found - expected) <= 4 * deviation + 1


def test_a_near_duplicate_is_dropped_and_says_how_near(seen):
    deduplicator = Deduplicator(DeduplicationSettings(), seen)
    original = text(random.Random(1), 300)
    assert deduplicator.deduplicate([original], 50) == ([original], [], None)
    _, _, drop_reason = deduplicator.deduplicate([original + "。"], 50)
    assert drop_reason is not None
    assert drop_reason[0] == "near_duplicate"
    assert drop_reason[1].endswith("of 14 bands seen before")


def test_paragraphs_that_stood_before_go_and_short_ones_stay(seen):
    deduplicator = Deduplicator(DeduplicationSettings(near_duplicates=False), seen)
    chooser = random.Random(2)
    first, second, third = (text(chooser, 60) for _ in range(3))
    notice, short = "すべての記事の無断転載を固く禁じます。", "続きを読む"
    assert len(notice) == 19
    assert deduplicator.deduplicate([first, notice + "。", short, f" {first} "], 50) == (
        [first, notice + "。", short],
        [f" {first} "],
        None,
    )
    lines = [second, notice + "。", notice, short]
    assert deduplicator.deduplicate(lines, 50) == ([second, notice, short], [notice + "。"], None)
    assert Deduplicator(DeduplicationSettings(near_duplicates=False, paragraph_characters=21), seen).deduplicate(
        [third, notice + "。"], 50
    ) == ([third, notice + "。"], [], None)


def test_a_document_with_too_little_that_is_new_is_dropped_and_not_remembered(seen):
    deduplicator = Deduplicator(DeduplicationSettings(near_duplicates=False), seen)
    chooser = random.Random(3)
    old, new, more = (text(chooser, length) for length in (60, 40, 60))
    deduplicator.deduplicate([old], 50)
    assert deduplicator.deduplicate([old, new], 50)[2] == (
        "nothing_new",
        "40 characters without the paragraphs seen before",
    )
    assert deduplicator.deduplicate([new, more], 50) == ([new, more], [], None)


def test_a_dropped_near_duplicate_leaves_no_trace(seen):
    deduplicator = Deduplicator(DeduplicationSettings(), seen)
    chooser = random.Random(4)
    original, addition, more = text(chooser, 600), text(chooser, 30), text(chooser, 300)
    deduplicator.deduplicate([original], 50)
    assert deduplicator.deduplicate([original, addition], 50)[2] is not None
    assert deduplicator.deduplicate([addition, more], 50) == ([addition, more], [], None)


def test_both_can_be_switched_off(seen):
    deduplicator = Deduplicator(DeduplicationSettings(near_duplicates=False, duplicate_paragraphs=False), seen)
    for _ in range(2):
        assert deduplicator.deduplicate(["同じ文書の同じ段落が何度も何度も続きます。"], 0)[2] is None
