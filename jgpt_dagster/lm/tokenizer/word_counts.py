"""Counts of the distinct words of segmented text, in bounded memory: sorted files of counts, merged by streaming."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument, segmented_length
from jgpt_dagster.runtime.batching import batches

_WORDS_IN_MEMORY = 1_000_000
"""Distinct words after which counts are written down: some 120 MB."""

_BATCH_CHARACTERS = 1 << 20
# Words of a row group. Of each file that is merged one group is in memory, and one step of merging may take them all as
# Python objects: with 128 files that took 190 MB, and 1.1 GB with groups of eight times as many words.
_GROUP_WORDS = 1 << 12
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

    @property
    def rows(self) -> int:
        """Rows of the files: of one file, its distinct words."""
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def batches(self) -> Iterator[list[tuple[str, int]]]:
        """Yield distinct words with their counts, in the order of their code points."""
        for table in _merged(self.files):
            yield list(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))


def count_words(
    documents: Iterable[SegmentedDocument], path: Path, progress: Callable[[str], None] = lambda line: None
) -> WordCounts:
    """Count the words of documents into a file at `path`.

    `progress` receives a line about every million characters.
    """
    counter = Counter[str]()
    parts: list[Path] = []
    sentences = read = characters = 0

    def write_down() -> None:
        parts.append(path.with_name(f"{path.name}.{len(parts)}"))
        words = sorted(counter)
        tables = (
            pa.table({"word": batch, "count": [counter[word] for word in batch]}, _SCHEMA)
            for batch in batches(words, max_items=_GROUP_WORDS)
        )
        _write(parts[-1], tables)
        counter.clear()

    for batch in batches(documents, max_size=_BATCH_CHARACTERS, size=segmented_length):
        for sentence in (sentence for document in batch for line in document for sentence in line):
            counter.update(sentence.split(" "))
            sentences += 1
        if len(counter) >= _WORDS_IN_MEMORY:
            write_down()
        read += len(batch)
        characters += sum(map(segmented_length, batch))
        progress(f"{read:,} documents, {characters:,} characters")
    write_down()
    if len(parts) == 1:
        parts[0].rename(path)
    else:
        _write(path, _merged(parts))
        for part in parts:
            part.unlink()
    return WordCounts(sentences, (path,))


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of sorted words, a row group each."""
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd", use_dictionary=False, write_statistics=False) as writer:
        for table in tables:
            writer.write_table(table)


def _merged(files: Sequence[Path]) -> Iterator[pa.Table]:
    """Yield the words of sorted files with the sums of their counts, in tables that are sorted from one to the next.

    What is yielded at a time are the words up to the first last word of all row groups in memory: no later group of any
    file has one of them.
    """
    with ExitStack() as opened:
        readers = [reader for file in files if (reader := _Reader(opened.enter_context(pq.ParquetFile(file)))).read()]
        while readers:
            border = min(reader.last for reader in readers)
            found = pa.concat_tables([reader.take_through(border) for reader in readers])
            sums = found.group_by("word", use_threads=False).aggregate([("count", "sum")])
            yield pa.table([sums["word"], sums["count_sum"]], _SCHEMA).sort_by("word")
            readers = [reader for reader in readers if reader.read()]


class _Reader:
    """Reads a sorted file, one row group at a time. Strings compare by code points, as their UTF-8 bytes do."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file, self._next = file, 0
        self._rows: pa.Table = _SCHEMA.empty_table()

    def read(self) -> bool:
        """Read the next group if the last one has been taken; return whether there are rows."""
        while not self._rows.num_rows and self._next < self._file.num_row_groups:
            self._rows = self._file.read_row_group(self._next).combine_chunks()
            self._next += 1
        return bool(self._rows.num_rows)

    @property
    def last(self) -> str:
        """The last word in memory."""
        word: str = self._rows["word"][-1].as_py()
        return word

    def take_through(self, border: str) -> pa.Table:
        """Remove the rows up to a word, which may be missing, and return them."""
        words, low, high = self._rows["word"], 0, self._rows.num_rows
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if words[middle].as_py() <= border else (low, middle)
        taken, self._rows = self._rows.slice(0, low), self._rows.slice(low)
        return taken
