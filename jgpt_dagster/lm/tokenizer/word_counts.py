"""Counts of the distinct words of segmented text, in bounded memory: sorted files of counts, merged by streaming."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument, segmented_length
from jgpt_dagster.runtime.batching import batches

_WORDS_IN_MEMORY = 1_000_000
"""Distinct words after which counts are written down: some 120 MB."""

_BATCH_CHARACTERS = 1 << 20
_BATCH_WORDS = 1 << 16
_SCHEMA = pa.schema([("word", pa.string()), ("count", pa.int64())])


@dataclass(frozen=True)
class WordCounts:
    """Words of some documents: the number of their sentences, and Parquet files of `word` and `count`, sorted by word.

    A word may stand in several files, each with a part of its count.
    """

    sentences: int = 0
    files: tuple[Path, ...] = ()

    def __add__(self, other: "WordCounts") -> "WordCounts":
        return WordCounts(self.sentences + other.sentences, self.files + other.files)

    def batches(self) -> Iterator[list[tuple[str, int]]]:
        """Yield distinct words with their counts, in the order of their code points."""
        rows = heapq.merge(*map(_read, self.files))
        counted = ((word, sum(count for _, count in found)) for word, found in groupby(rows, itemgetter(0)))
        yield from batches(counted, max_items=_BATCH_WORDS)


def count_words(
    documents: Iterable[SegmentedDocument], folder: Path, progress: Callable[[str], None] = lambda line: None
) -> WordCounts:
    """Count the words of documents and write them to `folder`, which must be empty.

    `progress` receives a line about every million characters.
    """
    counter = Counter[str]()
    files: list[Path] = []
    sentences = read = characters = 0
    for batch in batches(documents, max_size=_BATCH_CHARACTERS, size=segmented_length):
        for sentence in (sentence for document in batch for line in document for sentence in line):
            counter.update(sentence.split(" "))
            sentences += 1
        if len(counter) >= _WORDS_IN_MEMORY:
            files.append(_write(counter, folder / f"{len(files):04}.parquet"))
            counter.clear()
        read += len(batch)
        characters += sum(map(segmented_length, batch))
        progress(f"{read:,} documents, {characters:,} characters")
    if counter:
        files.append(_write(counter, folder / f"{len(files):04}.parquet"))
    return WordCounts(sentences, tuple(files))


def _write(counter: Counter[str], path: Path) -> Path:
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for batch in batches(sorted(counter), max_items=_BATCH_WORDS):
            writer.write_table(pa.table({"word": batch, "count": [counter[word] for word in batch]}, _SCHEMA))
    return path


def _read(path: Path) -> Iterator[tuple[str, int]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_WORDS):
            yield from zip(batch["word"].to_pylist(), batch["count"].to_pylist(), strict=True)
