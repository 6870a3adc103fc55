from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter, read_column_batches, read_columns

SCHEMA = pa.schema([("a", pa.int32()), ("b", pa.int64())])
ROWS = 200_000


def write(path: Path, appends: list[int]) -> Path:
    with IntegerTableWriter(path, SCHEMA) as table:
        start = 0
        for rows in appends:
            numbers = np.arange(start, start + rows)
            table.append({"a": numbers % 100, "b": numbers * 3})
            start += rows
    return path


@pytest.mark.parametrize("appends", [[ROWS], [1, ROWS - 1], [65_536, 65_536, 1, 0, ROWS - 131_073], [1000] * 200])
def test_bytes_do_not_depend_on_how_rows_are_appended(tmp_path: Path, appends: list[int]) -> None:
    assert sum(appends) == ROWS
    assert write(tmp_path / "x", appends).read_bytes() == write(tmp_path / "y", [ROWS]).read_bytes()


def test_columns_come_back_with_values_and_types(tmp_path: Path) -> None:
    columns = read_columns(write(tmp_path / "x", [ROWS]), ["b", "a"])
    assert [columns[name].dtype.name for name in "ab"] == ["int32", "int64"]
    assert np.array_equal(columns["b"], np.arange(ROWS) * 3)
    assert np.array_equal(columns["a"], np.arange(ROWS) % 100)


def test_a_table_may_be_empty(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path / "x", []), ["a"])["a"].tolist() == []
    assert read_columns(write(tmp_path / "y", [0]), ["a"])["a"].tolist() == []


def test_row_groups_have_a_fixed_size(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(tmp_path / "x", [100_000, 100_000]))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [65_536] * 3 + [3_392]


def test_batches_are_all_rows_in_order(tmp_path: Path) -> None:
    batches = list(read_column_batches(write(tmp_path / "x", [ROWS]), ["b"], 70_000))
    assert max(len(batch["b"]) for batch in batches) <= 70_000
    assert np.array_equal(np.concatenate([batch["b"] for batch in batches]), np.arange(ROWS) * 3)
