"""The one Parquet writer and reader: fixed row groups, zstd, and the manifest in the footer.

The bytes of a file depend on its rows alone. The hash in the manifest covers all bytes in front of the footer, which
are on disk before the footer is written; so a file can carry the hash of its own data.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.storage.hashing import canonical_json, sha256_file
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe
from jgpt_dagster.storage.writing import atomic_file

Schema = pa.Schema

DATA = "data"
REJECTED = "rejected"
_METADATA_KEY = "jgpt"
_MAGIC = b"PAR1"

# A row group ends at the first batch that fills it by rows or by bytes. Both limits are part of the file format: they
# decide the bytes of a file. 64 rows of the largest page (2 MiB) bound a writer's memory at 128 MiB.
_BATCH_ROWS = 64
_GROUP_ROWS = 8192
_GROUP_BYTES = 32 << 20


def write_rows(
    path: Path,
    schema: pa.Schema,
    rows: Iterable[Sequence[Any]],
    recipe: Recipe,
    counts: Callable[[], Mapping[str, Any]],
    rejected_path: Path | None = None,
    rejected: Callable[[], list[dict[str, Any]]] | None = None,
) -> Manifest:
    """Write rows (one value a column, in schema order) to `path`, atomically, and return the manifest in its footer.

    `counts` and `rejected` are asked once the rows are exhausted. The rejected rows go to `rejected_path` as JSON lines
    before the Parquet file gets its name, so that a file under its name always has them beside it.
    """
    with atomic_file(path) as stream:
        sink = _HashingSink(stream)
        writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"), schema, compression="zstd", write_statistics=False, store_schema=False
        )
        with writer:
            for group in _row_groups(schema, rows):
                writer.write_table(group, row_group_size=group.num_rows)
            files = {DATA: FileEntry(sink.size, sink.digest.hexdigest())}
            if rejected is not None and rejected_path is not None:
                files[REJECTED] = _write_rejected(rejected_path, rejected())
            manifest = Manifest(recipe, dict(counts()), files)
            writer.add_key_value_metadata({_METADATA_KEY: canonical_json(manifest.to_dict())})
    return manifest


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a Parquet file's footer; None where there is no such file or it is not one of ours."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return Manifest.from_dict(json.loads(metadata[_METADATA_KEY.encode()]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def data_entry(path: Path) -> FileEntry:
    """Return size and sha256 of the bytes in front of the footer. Raises ValueError where `path` is not Parquet."""
    with open(path, "rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end < 12:
            raise ValueError(f"{end} bytes are no Parquet file")
        stream.seek(end - 8)
        footer, magic = struct.unpack("<I4s", stream.read(8))
    size = end - 8 - footer
    if magic != _MAGIC or size < len(_MAGIC):
        raise ValueError("the end of the file is not a Parquet footer")
    return FileEntry(size, sha256_file(path, length=size))


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file in order, as tuples of the named columns (all by default), 64 rows at a time."""
    for batch in read_batches(path, columns):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in order, as record batches of 64 rows, with columns in the asked order."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns) if columns else None):
            yield batch.select(list(columns)) if columns else batch


def _row_groups(schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    for batch in _batches(schema, rows):
        batches.append(batch)
        if sum(b.num_rows for b in batches) >= _GROUP_ROWS or sum(b.nbytes for b in batches) >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _batches(schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> Iterator[pa.RecordBatch]:
    pending: list[Sequence[Any]] = []
    for row in rows:
        pending.append(row)
        if len(pending) == _BATCH_ROWS:
            yield _batch(schema, pending)
            pending = []
    if pending:
        yield _batch(schema, pending)


def _batch(schema: pa.Schema, rows: list[Sequence[Any]]) -> pa.RecordBatch:
    columns = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _write_rejected(path: Path, rows: list[dict[str, Any]]) -> FileEntry:
    data = "".join(canonical_json(row) + "\n" for row in rows).encode()
    with atomic_file(path) as stream:
        stream.write(data)
    return FileEntry(len(data), hashlib.sha256(data).hexdigest())


class _HashingSink:
    """A binary file that hashes what passes through it."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        self.digest.update(view)
        self.size += view.nbytes
        return self.stream.write(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """Leave closing to the owner of the stream."""
