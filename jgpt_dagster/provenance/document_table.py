"""Tables of documents, searched by row groups: a table of millions of rows is never read as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from jgpt_dagster.lm.data.integer_tables import read_column_batches
from jgpt_dagster.lm.data.token_files import DOCUMENTS
from jgpt_dagster.lm.data.training_set import TRAIN, TRAIN_SCHEMA

_SPANS = 1 << 16


class Document(NamedTuple):
    """A document of a token file: its key, and the place of its tokens there, `</s>` included."""

    key: int
    offset: int
    length: int


class DocumentTable:
    """The documents of a token file in ascending order of their offsets, and so of their rows in the source."""

    def __init__(self, directory: Path) -> None:
        self._file = pq.ParquetFile(directory / DOCUMENTS)
        self._group = lru_cache(maxsize=2)(self._read_group)

    def in_range(self, start: int, stop: int) -> Iterator[Document]:
        """Yield the documents that have tokens in `start … stop - 1` of the file."""
        for number in range(self._first_group(start), self._file.num_row_groups):
            rows = self._group(number)
            first = max(int(np.searchsorted(rows["offset"], start, side="right")) - 1, 0)
            for row in range(first, len(rows["offset"])):
                document = Document(*(int(rows[name][row]) for name in ("key", "offset", "length")))
                if document.offset >= stop:
                    return
                if document.offset + document.length > start:
                    yield document

    def with_key(self, key: int) -> Document | None:
        """Return the document with this key; None if the file has none. Row groups are read one after another."""
        for number in range(self._file.num_row_groups):
            rows = self._group(number)
            for row in np.flatnonzero(rows["key"] == key)[:1]:
                return Document(*(int(rows[name][row]) for name in ("key", "offset", "length")))
        return None

    def _first_group(self, start: int) -> int:
        """Return the last row group that begins at or before an offset, by bisection."""
        low, high = 0, self._file.num_row_groups
        while high - low > 1:
            middle = (low + high) // 2
            if self._group(middle)["offset"][0] <= start:
                low = middle
            else:
                high = middle
        return low

    def _read_group(self, number: int) -> Mapping[str, np.ndarray]:
        table = self._file.read_row_group(number, columns=["key", "offset", "length"])
        return {name: table.column(name).to_numpy() for name in table.column_names}


class Piece(NamedTuple):
    """A run of training tokens in one token file: its shard, its first and last + 1 token there.

    `position` is that of its first token in the training sequence.
    """

    shard: int
    start: int
    stop: int
    position: int


def pieces_of_ranges(training_set: Path, ranges: Sequence[tuple[int, int]]) -> list[list[Piece]]:
    """Return where the tokens of each range of the training sequence lie. The table of spans is streamed once."""
    pieces: list[list[Piece]] = [[] for _ in ranges]
    for begins, spans in _span_batches(training_set):
        ends = begins + spans["length"]
        for found, (start, stop) in zip(pieces, ranges, strict=True):
            first = int(np.searchsorted(ends, start, side="right"))
            last = int(np.searchsorted(begins, stop, side="left"))
            for row in range(first, last):
                begin, end = max(start, int(begins[row])), min(stop, int(ends[row]))
                offset = int(spans["offset"][row]) + begin - int(begins[row])
                found.append(Piece(int(spans["shard"][row]), offset, offset + end - begin, begin))
    return pieces


def positions_of_documents(training_set: Path, shard: int, documents: Sequence[Document]) -> list[list[int]]:
    """Return where in the training sequence each document of a token file begins: once for each pass over it.

    A document that is held out begins nowhere. The table of spans is streamed once.
    """
    positions: list[list[int]] = [[] for _ in documents]
    order = np.argsort([document.offset for document in documents], kind="stable")
    offsets = np.array([document.offset for document in documents], np.int64)[order]
    for begins, spans in _span_batches(training_set):
        first = np.searchsorted(offsets, spans["offset"])
        last = np.searchsorted(offsets, spans["offset"] + spans["length"])
        for row in np.flatnonzero((spans["shard"] == shard) & (first < last)):
            for place in range(first[row], last[row]):
                positions[order[place]].append(int(begins[row] + offsets[place] - spans["offset"][row]))
    return positions


def _span_batches(training_set: Path) -> Iterator[tuple[np.ndarray, Mapping[str, np.ndarray]]]:
    """Yield the spans, a batch at a time, with the position of each in the training sequence."""
    position = 0
    for spans in read_column_batches(training_set / TRAIN, TRAIN_SCHEMA.names, _SPANS):
        ends = position + np.cumsum(spans["length"])
        yield ends - spans["length"], spans
        position = int(ends[-1])
