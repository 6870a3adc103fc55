"""The merge over the signatures of shards chooses what a single pass over the source would choose."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.corpus.duplicates import repeated_hashes
from jgpt_dagster.corpus.web.cc100 import DocumentRow
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, ShardCounts
from jgpt_dagster.runtime.worker_pool import map_in_worker_pool
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.scratch_directory import scratch_directory
from jgpt_dagster_tests.corpus.duplicates.single_pass import Choice, select_in_one_pass
from jgpt_dagster_tests.corpus.web.test_document_selection import documents
from jgpt_dagster_tests.support.selection import select

UNFILTERED: dict[str, Any] = {
    "minimum_japanese": 0,
    "minimum_hiragana": 0,
    "maximum_repeated_lines": 1,
    "maximum_repeated_ngrams": 1,
}


def assert_same_choice(kept: Sequence[DocumentRow], counts: dict[int, ShardCounts], expected: Choice) -> None:
    assert kept == expected.kept
    assert sum((tally.dropped for tally in counts.values()), start=expected.reasons - expected.reasons) == (
        expected.reasons
    )
    assert sum(tally.dropped_paragraphs for tally in counts.values()) == sum(map(len, expected.repeated.values()))
    for sample in (sample for tally in counts.values() for sample in tally.samples()):
        if sample["document_id"] in expected.dropped:
            assert (sample["reason"], sample["detail"]) == expected.dropped[sample["document_id"]]


def edited(chooser: random.Random, document: list[str], others: list[list[str]]) -> list[str]:
    """Return a document that copies another more or less: lines changed, left out, added from elsewhere, repeated."""
    lines = [line for line in document if chooser.random() < 0.9]
    for _ in range(chooser.randrange(3)):
        lines.insert(chooser.randrange(len(lines) + 1), chooser.choice(chooser.choice(others)))
    for place in range(len(lines)):
        if lines[place] and chooser.random() < 0.2:
            cut = chooser.randrange(len(lines[place]))
            lines[place] = lines[place][:cut] + chooser.choice("あいうえおかきくけこ") + lines[place][cut + 1 :]
    return lines or ["空"]


def copies(chooser: random.Random, count: int) -> list[DocumentRow]:
    """Return documents of which most are chains of copies of copies, with gaps between their ids."""
    letters = [chr(number) for number in range(0x3041, 0x3097)]
    made: list[list[str]] = []
    for _ in range(count):
        fresh = ["".join(chooser.choices(letters, k=chooser.randrange(60))) for _ in range(chooser.randrange(1, 5))]
        made.append(edited(chooser, chooser.choice(made), made) if made and chooser.random() < 0.6 else fresh)
    ids = sorted(chooser.sample(range(3 * count), count))
    return list(zip(ids, made, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_chains_of_copies_end_as_in_a_single_pass_whatever_the_shards(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    source = copies(chooser, 150)
    selection = SelectionSettings(
        **UNFILTERED,
        minimum_characters=chooser.choice([0, 20, 50]),
        near_duplicates=seed % 4 != 1,
        duplicate_paragraphs=seed % 4 != 2,
        minhash_bands=chooser.choice([1, 14, 30]),
        minhash_rows=chooser.choice([1, 4, 8]),
        paragraph_characters=chooser.choice([1, 10, 20]),
    )
    expected = select_in_one_pass(source, selection)
    kept, counts, _ = select(source, selection, tmp_path, shards=chooser.choice([1, 3, 7]))
    assert_same_choice(kept, counts, expected)
    assert expected.dropped or expected.repeated


@given(
    st.lists(
        st.lists(st.sampled_from([*"あいう"]).map(lambda sign: sign * 20) | st.text("あ ", max_size=3), min_size=1)
    ),
    st.integers(1, 4),
    st.sampled_from([0, 30]),
)
@settings(max_examples=25)
def test_the_choice_is_that_of_a_single_pass_for_any_documents(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], shards: int, minimum: int
) -> None:
    selection = SelectionSettings(**UNFILTERED, minimum_characters=minimum)
    source = list(enumerate(texts))
    kept, counts, _ = select(source, selection, tmp_path_factory.mktemp("selection"), shards)
    assert_same_choice(kept, counts, select_in_one_pass(source, selection))


def test_the_choice_depends_on_no_size_of_run_or_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = select_in_one_pass(documents(), SelectionSettings())
    assert {*expected.reasons} == {"too_short", "not_japanese", "repetitive", "near_duplicate", "nothing_new"}
    monkeypatch.setattr(repeated_hashes, "_RUN_HASHES", 100)
    (tmp_path / "small").mkdir()
    small = select(documents(), SelectionSettings(), tmp_path / "small", 3)
    monkeypatch.undo()
    with map_in_worker_pool(2) as ordered_map:
        parallel = select(documents(), SelectionSettings(), tmp_path, 3, ordered_map=ordered_map)
    assert small == parallel
    assert_same_choice(parallel[0], parallel[1], expected)
    assert [path.suffix for path in tmp_path.iterdir() if path.is_file()] == [".parquet"] * 3 + [""]


def test_hashes_that_meet_by_chance_change_nothing_of_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 256 hashes, bands and paragraphs of different documents meet all the time."""
    from jgpt_dagster.corpus.duplicates import sketches
    from jgpt_dagster_tests.corpus.duplicates import single_pass

    selection = SelectionSettings(**UNFILTERED, minhash_bands=2)
    source = copies(random.Random(3), 200)
    without_collisions = select_in_one_pass(source, selection)
    digest: Callable[[bytes, bytes], bytes] = sketches._digest
    hashed: Callable[[bytes, bytes], int] = single_pass._hash
    monkeypatch.setattr(sketches, "_digest", lambda data, kind: (digest(data, kind)[7] * 3 % 1024).to_bytes(8, "big"))
    monkeypatch.setattr(single_pass, "_hash", lambda data, kind: (hashed(data, kind) & 255) * 3 % 1024)
    expected = select_in_one_pass(source, selection)
    kept, counts, _ = select(source, selection, tmp_path, 2)
    assert_same_choice(kept, counts, expected)
    assert expected.reasons["near_duplicate"] > without_collisions.reasons["near_duplicate"]


def test_what_a_notice_on_every_page_costs_is_bounded(tmp_path: Path) -> None:
    notice = "このサイトの記事や写真を許可なく転載することを禁じます。"
    selection = SelectionSettings(**UNFILTERED, minimum_characters=0, near_duplicates=False)
    source = [(number, [f"{number} 番目の記事の本文は番号だけが違います。", notice]) for number in range(3000)]
    kept, counts, explanations = select(source, selection, tmp_path)
    assert counts[0].dropped_paragraphs == len(explanations) == 2999
    assert (tmp_path / "decisions").exists() and len(kept) == 3000


def test_a_full_disk_is_a_clear_error_and_nothing_stays(small_disk: Path) -> None:
    source = copies(random.Random(1), 300)
    too_many_keys = [(number * 1000, lines) for number, lines in source]
    with (
        pytest.raises(DiskFullError, match=r"the index has no room.*JGPT_SCRATCH"),
        scratch_directory(small_disk / "step", "the index") as folder,
    ):
        select(too_many_keys, SelectionSettings(), folder)
    assert list(small_disk.iterdir()) == []
