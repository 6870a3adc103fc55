import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.corpus.duplicates.explanations import PARAGRAPH_REASON
from jgpt_dagster.corpus.web.cc100 import DocumentRow, shard_of
from jgpt_dagster.corpus.web.document_selection import (
    DROP_REASONS,
    SelectionSettings,
    ShardCounts,
)
from jgpt_dagster_tests.support.selection import select

NOTICE = "このサイトの記事や写真を許可なく転載することを禁じます。"


def documents(count: int = 400) -> list[DocumentRow]:
    """Return documents of which, by turns, some are good and others go by each reason."""
    chooser = random.Random(5)
    letters = [chr(number) for number in range(0x3041, 0x3097)]
    good: list[list[str]] = []
    rows: list[list[str]] = []
    for number in range(count):
        fresh = ["".join(chooser.choices(letters, k=90)), "".join(chooser.choices(letters, k=40))]
        earlier, another = chooser.sample(good, 2) if len(good) > 1 else (fresh, fresh)
        row = {
            1: ["短い。"],
            3: ["Not a Japanese document at all, and long enough to be one of the others."],
            4: [*fresh, *fresh],
            5: [*earlier, "追記。"],
            6: [earlier[1], another[1]],
            8: [*fresh, NOTICE],
        }.get(number % 10, fresh)
        if row == fresh:
            good.append(row)
        rows.append(row)
    return list(enumerate(rows))


def chosen(folder: Path, shards: int, written: list[int]) -> tuple[list[DocumentRow], dict[int, ShardCounts]]:
    folder.mkdir(exist_ok=True)
    kept, tallies, _ = select(documents(), SelectionSettings(), folder, shards, written)
    return kept, tallies


def test_documents_in_are_those_kept_and_those_dropped_for_each_reason(tmp_path):
    kept, tallies = chosen(tmp_path, 3, [0, 1, 2])
    counts = [tallies[number].counts() for number in range(3)]
    dropped = {reason: sum(count[f"dropped_{reason}"] for count in counts) for reason in DROP_REASONS}
    assert all(dropped.values())
    assert len(kept) + sum(dropped.values()) == 400
    assert sum(count["dropped_paragraphs"] for count in counts) == 39  # the first keeps its notice


@pytest.mark.parametrize(("shards", "written"), [(1, [0]), (4, [0, 1, 2, 3]), (4, [2])])
def test_what_is_kept_depends_on_no_shard(tmp_path, shards, written):
    kept, tallies = chosen(tmp_path, shards, written)
    reference, all_tallies = chosen(tmp_path / "all", 4, [0, 1, 2, 3])
    assert kept == [row for row in reference if shard_of(row[0], shards) in written]
    if shards == 4:
        for number in written:
            assert tallies[number] == all_tallies[number]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_is_kept_depends_on_no_batch(tmp_path, monkeypatch, batch):
    reference = chosen(tmp_path, 1, [0])
    monkeypatch.setattr("jgpt_dagster.corpus.web.document_selection._BATCH_DOCUMENTS", batch)
    assert chosen(tmp_path, 1, [0]) == reference


@given(
    st.lists(
        st.lists(st.sampled_from([*"あいう"]).map(lambda sign: sign * 20) | st.text("あ ", max_size=3), min_size=1)
    )
)
@settings(max_examples=60)
def test_a_paragraph_is_kept_where_it_comes_first_and_the_order_is_that_of_the_source(tmp_path_factory, texts):
    """Of the rules that drop whole documents only the one that depends on paragraphs is on."""
    off = SelectionSettings(
        near_duplicates=False,
        minimum_characters=0,
        minimum_japanese=0,
        minimum_hiragana=0,
        maximum_repeated_lines=1,
        maximum_repeated_ngrams=1,
    )
    kept, tallies, _ = select(list(enumerate(texts)), off, tmp_path_factory.mktemp("selection"))
    tally = tallies[0]
    expected, before = [], set[str]()
    for number, lines in enumerate(texts):
        new = [line for place, line in enumerate(lines) if len(line) < 20 or line not in before | {*lines[:place]}]
        if new == lines or "".join(new):
            expected.append((number, new))
            before |= {*lines}
    assert kept == expected
    assert tally.dropped["nothing_new"] == len(texts) - len(kept) == tally.dropped.total()
    assert tally.dropped_paragraphs == sum(len(texts[number]) - len(lines) for number, lines in kept)


def test_samples_say_what_went_and_why_and_are_bounded(tmp_path):
    _, tallies = chosen(tmp_path, 2, [0, 1])
    source: dict[int, list[str]] = dict(documents())
    for number, tally in tallies.items():
        samples = tally.samples()
        for reason in (*DROP_REASONS, PARAGRAPH_REASON):
            of_reason = [sample for sample in samples if sample["reason"] == reason]
            dropped = tally.dropped_paragraphs if reason == PARAGRAPH_REASON else tally.dropped[reason]
            assert len(of_reason) == min(dropped, 20)
        for sample in samples:
            assert shard_of(sample["document_id"], 2) == number
            whole = source[sample["document_id"]]
            assert sample["text"] == (NOTICE if sample["reason"] == PARAGRAPH_REASON else "\n".join(whole))
            assert sample["detail"]


def test_samples_are_spread_over_the_source_and_their_text_is_cut():
    tally, again = ShardCounts(), ShardCounts()
    for document_id in range(10_000):
        tally.drop(document_id, "too_short", "", ["字" * 3000])
        again.drop(9_999 - document_id, "too_short", "", ["字" * 3000])
    ids = [sample["document_id"] for sample in tally.samples()]
    assert tally.samples() == again.samples()
    assert len({number // 2500 for number in ids}) == 4
    assert {len(sample["text"]) for sample in tally.samples()} == {1000}
