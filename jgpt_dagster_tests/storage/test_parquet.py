"""The bytes of a Parquet file depend on its rows alone."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import (
    RowWriter,
    data_entry,
    read_batches,
    read_manifest,
    read_rows,
    read_text_rows,
    write_rows,
)

SCHEMA = pa.schema([("page_id", pa.int64()), ("lines", pa.list_(pa.list_(pa.string())))])
RECIPE = Recipe("stage", "1")
ROWS = [(number, [[f"海に近い{number}"], ["町"] * (number % 5)]) for number in range(10_000)]

WAYS: dict[str, Callable[[], Iterable[Any]]] = {
    "a list": lambda: ROWS,
    "a generator": lambda: (row for row in ROWS),
    "rows as lists": lambda: map(list, ROWS),
}


def write(path: Path, rows: Iterable[Any]) -> bytes:
    write_rows(path, SCHEMA, rows, RECIPE, dict)
    return path.read_bytes()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_bytes_do_not_depend_on_how_rows_are_fed(tmp_path: Path, way: Callable[[], Iterable[Any]]) -> None:
    expected = write(tmp_path / "expected", ROWS)
    assert write(tmp_path / "other", way()) == expected


def test_rows_copied_from_a_file_give_the_same_bytes(tmp_path: Path) -> None:
    expected = write(tmp_path / "expected", ROWS)
    assert write(tmp_path / "copy", read_rows(tmp_path / "expected")) == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.lists(st.text(max_size=40)))), st.lists(st.booleans()))
def test_texts_that_stay_in_arrow_give_the_same_bytes_as_lists(texts: list[Any], taken_over: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        expected = write(path, enumerate(texts * 40))
        cells = read_text_rows(path, SCHEMA.names)
        chosen = chain(taken_over, repeat(True))
        rows = [(key, cell if take else [*cell]) for (key, cell), take in zip(cells, chosen, strict=False)]
        assert write(path, rows) == expected


def test_many_files_can_be_filled_in_turn(tmp_path: Path) -> None:
    with (
        RowWriter.open(tmp_path / "even", SCHEMA, RECIPE, dict) as even,
        RowWriter.open(tmp_path / "odd", SCHEMA, RECIPE, dict) as odd,
    ):
        for row in ROWS:
            (odd if row[0] % 2 else even).append(row)
    assert (tmp_path / "even").read_bytes() == write(tmp_path / "expected", ROWS[::2])
    assert odd.manifest.counts == {"rows": 5000}


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path / "file", ROWS)
    assert list(read_rows(tmp_path / "file")) == ROWS
    assert list(read_rows(tmp_path / "file", ["lines", "page_id"])) == [(lines, key) for key, lines in ROWS]
    assert max(batch.num_rows for batch in read_batches(tmp_path / "file")) <= 64


def test_row_groups_are_bounded_by_rows_and_by_bytes(tmp_path: Path) -> None:
    write(tmp_path / "short", ROWS)
    metadata = pq.read_metadata(tmp_path / "short")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [8192, 1808]
    write(tmp_path / "long", ((number, [["あ" * 100_000]]) for number in range(12)))
    assert pq.read_metadata(tmp_path / "long").num_row_groups == 2


def test_large_rows_are_neither_written_nor_read_together(tmp_path: Path) -> None:
    write(tmp_path / "file", ((number, [["あ" * 400_000]]) for number in range(64)))
    assert max(batch.num_rows for batch in read_batches(tmp_path / "file")) == 1


def test_an_open_writer_holds_little(tmp_path: Path) -> None:
    """One pass over CC-100 has up to 99 of them, and its memory is to stay below 600 MB."""
    with ExitStack() as files:
        writers = [
            files.enter_context(RowWriter.open(tmp_path / f"{number}", SCHEMA, RECIPE, dict)) for number in range(10)
        ]
        before, held = pa.total_allocated_bytes(), list[int]()
        for number in range(250):
            for writer in writers:
                writer.append((number, [["あ" * 3000]]))
            held.append(pa.total_allocated_bytes() - before)
    assert max(held) < 10 * (3 << 19)


def test_the_manifest_in_the_footer_hashes_all_that_is_in_front_of_it(tmp_path: Path) -> None:
    data = write(tmp_path / "file", ROWS)
    manifest = read_manifest(tmp_path / "file")
    assert manifest is not None
    entry = manifest.files["data"]
    assert entry == data_entry(tmp_path / "file")
    assert entry.sha256 == hashlib.sha256(data[: entry.size]).hexdigest()
    assert manifest.counts == {"rows": len(ROWS)}


def test_a_file_without_rows_is_an_output_too(tmp_path: Path) -> None:
    write(tmp_path / "file", [])
    assert list(read_rows(tmp_path / "file")) == []
    assert read_manifest(tmp_path / "file").counts == {"rows": 0}  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 10, b"x" * 100, b"PAR1\xff\xff\xff\xffPAR1"])
def test_what_is_no_parquet_file_is_told_apart(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_manifest(tmp_path / "file") is None
    with pytest.raises(ValueError, match="Parquet"):
        data_entry(tmp_path / "file")
