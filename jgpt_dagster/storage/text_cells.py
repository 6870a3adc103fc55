"""Texts that stay in Arrow: nested lists of strings of a Parquet file, compared, measured and written on as they are.

A refresh takes most documents over from an earlier file. To make Python strings of them and Arrow's arrays of these
again would be half its work.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TextColumn:
    """A column of lists of strings, nested or not, without nulls."""

    def __init__(self, array: pa.ListArray) -> None:
        self.array = array
        offsets, strings = [], array
        while not pa.types.is_string(strings.type):
            offsets.append(strings.offsets.to_numpy())
            strings = strings.values
        offsets.append(_string_offsets(strings))
        self._strings = strings
        data = strings.buffers()[2]
        self._data = memoryview(data) if data else memoryview(b"")
        # For each level, how long its items are: of the second one, those that are in the rows.
        self._lengths = [np.diff(level) for level in offsets[1:]]
        # For each level, where a row begins among its items; of the last one, among the bytes.
        self._bounds: list[list[int]] = []
        starts = offsets[0]
        for level in offsets[1:]:
            self._bounds.append(starts.tolist())
            starts = level[starts]
        self._bounds.append(starts.tolist())

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator["TextCell"]:
        return (TextCell(self, row) for row in range(len(self)))

    @cached_property
    def _characters_before(self) -> list[int]:
        lengths = pc.utf8_length(self._strings).to_numpy()
        before = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        characters: list[int] = before[self._bounds[-2]].tolist()
        return characters

    @cached_property
    def _joined(self) -> list[str]:
        joined: list[str] = pc.binary_join(self.array, "\n").to_pylist()
        return joined


class TextCell:
    """The text of one row: of a `TextColumn`, of which it keeps all alive."""

    __slots__ = ("column", "row")

    def __init__(self, column: TextColumn, row: int) -> None:
        self.column, self.row = column, row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextCell) and self._structure() == other._structure() and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # compared by content, and not looked up by it

    def __iter__(self) -> Iterator[Any]:
        return iter(to_lists([self])[0])

    @property
    def data(self) -> bytes:
        """The strings in UTF-8, one after the other."""
        start, end = self._span(-1)
        return bytes(self.column._data[start:end])

    @property
    def items(self) -> int:
        """How many items the outer list has."""
        return self._length(0)

    @property
    def strings(self) -> int:
        """How many strings there are in all lists."""
        return self._length(-2)

    @property
    def characters(self) -> int:
        """How many characters the strings have."""
        before = self.column._characters_before
        return before[self.row + 1] - before[self.row]

    @property
    def size(self) -> int:
        """How many bytes the strings have in UTF-8."""
        return self._length(-1)

    @property
    def joined(self) -> str:
        """The strings of a list, with line feeds between them. Of lists that are not nested."""
        return self.column._joined[self.row]

    @property
    def first(self) -> str:
        """The first string of a list that is not nested and not empty."""
        return self.data[: self.column._lengths[0][self._span(0)[0]]].decode()

    def _length(self, level: int) -> int:
        start, end = self._span(level)
        return end - start

    def _span(self, level: int) -> tuple[int, int]:
        bounds = self.column._bounds[level]
        return bounds[self.row], bounds[self.row + 1]

    def _structure(self) -> list[bytes]:
        """Return the lengths of lists and strings of each level."""
        spans = (self._span(level) for level in range(len(self.column._lengths)))
        return [lengths[slice(*span)].tobytes() for lengths, span in zip(self.column._lengths, spans, strict=True)]


def to_lists(cells: Iterable[TextCell]) -> list[Any]:
    """Return the texts as lists of strings, nested as they are."""
    return [text for run in _runs(cells) for text in run.to_pylist()]


def to_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return an array of values, some of which may be `TextCell`s of the same type."""
    if TextCell not in set(map(type, values)):
        return pa.array(values, type=kind)
    parts: list[pa.Array] = []
    for are_cells, group in groupby(values, lambda value: isinstance(value, TextCell)):
        run = list(group)
        parts += _runs(run) if are_cells else [pa.array(run, type=kind)]
    return pa.concat_arrays(parts)


def _runs(cells: Iterable[TextCell]) -> Iterator[pa.Array]:
    """Yield slices with the rows of the cells, as few as there can be."""
    # Rows that follow one another have the same difference to their place.
    for _, group in groupby(enumerate(cells), lambda place: (id(place[1].column), place[1].row - place[0])):
        run = [cell for _, cell in group]
        yield run[0].column.array.slice(run[0].row, len(run))


def _string_offsets(strings: pa.StringArray) -> np.ndarray:
    buffer = strings.buffers()[1]
    if buffer is None:
        return np.zeros(1, np.int32)
    return np.frombuffer(buffer, np.int32)[strings.offset : strings.offset + len(strings) + 1]
