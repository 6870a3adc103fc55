"""Words are counted in bounded memory, and the counts of several files are merged."""

from collections import Counter
from pathlib import Path

import pytest

from jgpt_dagster.lm.tokenizer import word_counts
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts, count_words
from jgpt_dagster_tests.support.token_samples import segmented_documents


def test_the_files_of_many_small_parts_add_up_to_the_words_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_counts, "_WORDS_IN_MEMORY", 5)
    monkeypatch.setattr(word_counts, "_BATCH_CHARACTERS", 300)
    monkeypatch.setattr(word_counts, "_BATCH_WORDS", 3)
    documents = segmented_documents(60)
    sentences = [sentence for document in documents for line in document for sentence in line]
    lines: list[str] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    words = count_words(documents[:50], tmp_path / "a", lines.append) + count_words(documents[50:], tmp_path / "b")

    assert len(words.files) > 10
    assert words.sentences == len(sentences)
    counted = [row for batch in words.batches() for row in batch]
    assert counted == sorted(Counter(word for sentence in sentences for word in sentence.split(" ")).items())
    assert lines[-1].startswith("50 documents, ")


def test_no_text_has_no_words(tmp_path: Path) -> None:
    assert list(count_words([], tmp_path).batches()) == [] == list(WordCounts().batches())
