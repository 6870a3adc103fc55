"""Words are counted in bounded memory, and the counts of several files are merged."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.lm.tokenizer import word_counts
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts, count_words
from jgpt_dagster_tests.support.token_samples import segmented_documents


def test_the_files_of_many_small_parts_add_up_to_the_words_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_counts, "_WORDS_IN_MEMORY", 5)
    monkeypatch.setattr(word_counts, "_BATCH_CHARACTERS", 300)
    monkeypatch.setattr(word_counts, "_GROUP_WORDS", 3)
    documents = segmented_documents(60)
    sentences = [sentence for document in documents for line in document for sentence in line]
    expected = sorted(Counter(word for sentence in sentences for word in sentence.split(" ")).items())
    lines: list[str] = []

    words = count_words(documents[:50], tmp_path / "a", lines.append) + count_words(documents[50:], tmp_path / "b")

    assert words.sentences == len(sentences)
    assert [row for batch in words.batches() for row in batch] == expected
    assert lines[-1].startswith("50 documents, ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert count_words(documents, tmp_path / "all").rows == len(expected)


_COUNTED = st.lists(st.dictionaries(st.text("aé漢𠮷\ue000", min_size=1, max_size=3), st.integers(1, 9)), max_size=5)


@given(_COUNTED, st.integers(1, 4))
def test_merged_files_have_each_word_once_in_order_whatever_their_row_groups(
    files: list[dict[str, int]], group: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(word_counts, "_GROUP_WORDS", group)
        documents = [[[[" ".join([word] * count) for word, count in counts.items()]]] for counts in files]
        words = sum((count_words(own, Path(folder) / str(at)) for at, own in enumerate(documents)), WordCounts())
        merged = [row for batch in words.batches() for row in batch]
    assert merged == sorted(sum((Counter(counts) for counts in files), Counter()).items())


def test_no_text_has_no_words(tmp_path: Path) -> None:
    assert list(count_words([], tmp_path / "none").batches()) == [] == list(WordCounts().batches())
