"""A text in Arrow says of itself what its list of strings says."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.storage.text_cells import TextColumn, to_lists

LINES = pa.list_(pa.string())
SENTENCES = pa.list_(LINES)
TEXTS = st.lists(st.text(max_size=5), max_size=4)


@settings(deadline=None)
@given(st.lists(TEXTS), st.integers(0, 3))
def test_lines_are_measured_as_their_strings_are(rows: list[list[str]], skipped: int) -> None:
    # A slice, as a reader of batches returns them, has the buffers of the whole.
    cells = list(TextColumn(pa.array(rows, LINES).slice(skipped)))
    rows = rows[skipped:]
    assert to_lists(cells) == [list(cell) for cell in cells] == rows
    assert [cell.items for cell in cells] == [cell.strings for cell in cells] == list(map(len, rows))
    assert [cell.characters for cell in cells] == [len("".join(row)) for row in rows]
    assert [cell.data.decode() for cell in cells] == ["".join(row) for row in rows]
    assert [cell.size for cell in cells] == [len(cell.data) for cell in cells]
    assert [cell.joined for cell in cells] == ["\n".join(row) for row in rows]
    assert [cell.first for cell in cells if cell.items] == [row[0] for row in rows if row]


@settings(deadline=None)
@given(st.lists(st.lists(TEXTS, max_size=3)))
def test_lists_of_lists_are_measured_through_all_levels(rows: list[Any]) -> None:
    cells = list(TextColumn(pa.array(rows, SENTENCES)))
    assert to_lists(reversed(cells)) == rows[::-1]
    assert [(cell.items, cell.strings) for cell in cells] == [(len(row), sum(map(len, row))) for row in rows]
    assert [cell.characters for cell in cells] == [sum(len(text) for line in row for text in line) for row in rows]


@settings(deadline=None)
@given(st.lists(st.lists(TEXTS, max_size=3)), st.lists(st.lists(TEXTS, max_size=3)))
def test_equal_are_texts_with_the_same_strings_in_the_same_lists(some: list[Any], others: list[Any]) -> None:
    cells, other_cells = (list(TextColumn(pa.array(rows, SENTENCES))) for rows in (some, [*others, *some]))
    for text, cell in zip(some, cells, strict=True):
        assert [cell == other for other in other_cells] == [text == other for other in [*others, *some]]


@pytest.mark.parametrize(
    "other", [[["ab"], ["c"]], [["a", "bc"]], [["abc"]], [["a", "b"], ["c"], []], [["a", "b", "c"]]]
)
def test_the_same_characters_in_other_lists_are_another_text(other: Any) -> None:
    one, another = TextColumn(pa.array([[["a", "b"], ["c"]], other], SENTENCES))
    assert one != another and one != [["a", "b"], ["c"]]
