"""Parquet files of plain integer columns, one row a document or a span: written streamed, read back as numpy arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# The row group is part of the file format: it decides the bytes of a file, whatever the portions it was written in.
_GROUP_ROWS = 1 << 16


class ColumnWriter:
    """Writes integer columns to a Parquet file in row groups of a fixed size.

    The file gets no temporary name of its own: it belongs to a directory that appears whole or not at all.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        # Keys and offsets grow steadily: their differences take a third of the space of the numbers.
        encodings = dict.fromkeys(schema.names, "DELTA_BINARY_PACKED")
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
        """Append rows, given as one array of equal length for each column of the schema."""
        arrays = [pa.array(columns[field.name], type=field.type) for field in self._schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._pending.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _GROUP_ROWS:
            self._write_groups(_GROUP_ROWS)

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._write_groups(1)
        self._writer.close()

    def _write_groups(self, least: int) -> None:
        table = pa.Table.from_batches(self._pending).combine_chunks()
        start = 0
        while len(table) - start >= least:
            self._writer.write_table(table.slice(start, _GROUP_ROWS), row_group_size=_GROUP_ROWS)
            start += _GROUP_ROWS
        self._pending = table.slice(start).to_batches() if start < len(table) else []
        self._rows = max(0, len(table) - start)


def read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return whole columns of a Parquet file as numpy arrays. Raises what pyarrow raises, which names the file."""
    table = pq.read_table(path, columns=list(names), partitioning=None)
    return {name: table.column(name).to_numpy() for name in names}


def column_chunks(path: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns in portions of at most `rows` rows, in order."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=list(names)):
            yield {name: batch.column(name).to_numpy() for name in names}
