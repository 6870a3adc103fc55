"""Parquet files of integer and boolean columns, a row per document or span: written as a stream, read as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# The size of row groups decides the bytes of a file, so that they do not depend on how rows are appended.
_ROWS_PER_GROUP = 1 << 16


class IntegerTableWriter:
    """Writes integer and boolean columns to a Parquet file in row groups of a fixed size.

    It writes to the final name: the directory of the file is what is replaced atomically.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        # Keys and offsets increase steadily, so delta encoding takes a third of the space.
        encodings = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)}
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=False,
            column_encoding=encodings,
            write_statistics=False,
            store_schema=False,
        )
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append rows: an array per column of the schema, all of equal length."""
        arrays = [pa.array(columns[field.name], type=field.type) for field in self._schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._pending.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROWS_PER_GROUP:
            self._write_groups(_ROWS_PER_GROUP)

    def __enter__(self) -> "IntegerTableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._write_groups(1)
        self._writer.close()

    def _write_groups(self, min_rows: int) -> None:
        """Write row groups from the pending rows while at least `min_rows` of them are left."""
        table = pa.Table.from_batches(self._pending).combine_chunks()
        start = 0
        while len(table) - start >= min_rows:
            self._writer.write_table(table.slice(start, _ROWS_PER_GROUP), row_group_size=_ROWS_PER_GROUP)
            start += _ROWS_PER_GROUP
        self._pending = table.slice(start).to_batches() if start < len(table) else []
        self._rows = max(0, len(table) - start)


def read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return whole columns of a Parquet file as numpy arrays. Errors are those of pyarrow, which name the file."""
    table = pq.read_table(path, columns=list(names), partitioning=None)
    return {name: table.column(name).to_numpy() for name in names}


def read_column_batches(path: Path, names: Sequence[str], max_rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns in order, at most `max_rows` rows at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=max_rows, columns=list(names)):
            yield {name: batch.column(name).to_numpy() for name in names}
