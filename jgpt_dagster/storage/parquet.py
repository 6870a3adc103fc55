"""Parquet files with their manifest in the footer: writer and reader, fixed row groups, zstd.

The bytes of a file depend on its rows and its manifest only. The hash in the manifest covers all bytes before the
footer, which are written before the footer is; so a file can carry the hash of its own data. The footer carries a hash
of itself: of its bytes with 64 question marks in place of the hash.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.hashing import canonical_json, sha256_file
from jgpt_dagster.storage.manifest import ACCOUNT, FileEntry, Manifest, Recipe, parse_json
from jgpt_dagster.storage.text_cells import TextCell, TextColumn, to_array

if TYPE_CHECKING:
    from upath import UPath

Schema = pa.Schema

DATA = "data"
Sidecars = Mapping[str, Callable[[], Iterable[dict[str, Any]]]]
"""Functions that return the rows of JSON-lines files next to a Parquet file, by the name of the file."""
FinishedSidecar = Callable[[], FileEntry]
"""Completes the account next to a Parquet file, which was written along with it."""
FinalRecipe = Recipe | Callable[[], Recipe]
"""A recipe, or the function that returns it once all rows and sidecars are written: some of it may depend on them."""

_METADATA_KEY = b"jgpt"
_FOOTER_HASH_KEY = b"jgpt.footer_sha256"
_HASH_PLACEHOLDER = b"?" * 64
_MAGIC = b"PAR1"

# A batch ends when it is full by rows or characters, a row group at the batch that fills it by rows or bytes. The
# limits are part of the file format: they determine the bytes of a file. They also limit memory: of one pass over
# CC-100 with up to 99 open writers, and of a reader of large documents. A writer keeps 2 KB of each row group until it
# is closed, 150 MB for all of CC-100: smaller groups would need more. Groups of 8 MiB made files 1.7 % smaller, but
# not faster.
_BATCH_ROWS = 64
_BATCH_CHARACTERS = 256 << 10
_GROUP_ROWS = 8192
_GROUP_BYTES = 1 << 20

# What is read at once of rows that stay in Arrow; a row group limits it further.
_TEXT_ROWS = 1024


MAX_FOOTER_BYTES = 256 << 20
"""The largest footer that is read: it is held in memory, and a file may claim to have one of 4 GiB."""


class NotParquetError(JgptError, ValueError):
    """A file has no Parquet footer."""


def write_rows(
    path: Path,
    schema: pa.Schema,
    rows: Iterable[Sequence[Any]],
    recipe: FinalRecipe,
    counts: Callable[[], Mapping[str, Any]],
    sidecars: Sidecars = MappingProxyType({}),
    account: FinishedSidecar | None = None,
) -> Manifest:
    """Write rows (one value a column, in schema order) to `path`, atomically, and return the manifest in its footer.

    `account`, `sidecars` and then `counts` are called after the last row; the manifest adds the number of `rows`.
    Sidecars are written to `sidecar_path` before the Parquet file is renamed, so a complete file always has them.
    """
    with RowWriter.open(path, schema, recipe, counts, sidecars, account) as writer:
        for row in rows:
            writer.append(row)
    return writer.manifest


class RowWriter:
    """Does what `write_rows` does, by appending, for one pass that fills many files. Use `RowWriter.open`."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self.rows = 0
        self.manifest: Manifest
        """The manifest in the footer; set when the block has ended."""
        self._writer, self._schema = writer, schema
        self._texts = [place for place, field in enumerate(schema) if _holds_text(field.type)]
        self._pending: list[Sequence[Any]] = []
        self._count_characters = 0
        self._group: list[pa.RecordBatch] = []
        self._group_bytes = 0

    @classmethod
    @contextmanager
    def open(
        cls,
        path: Path,
        schema: pa.Schema,
        recipe: FinalRecipe,
        counts: Callable[[], Mapping[str, Any]],
        sidecars: Sidecars = MappingProxyType({}),
        account: FinishedSidecar | None = None,
        *,
        dictionaries: bool = True,
    ) -> Iterator["RowWriter"]:
        """Yield a writer whose file is renamed to `path` when the block ends without an error. See `write_rows`.

        Values that hardly repeat, such as hashes, take less time and space without `dictionaries`.
        """
        with atomic_file(path) as stream:
            sink = _HashingSink(stream)
            parquet_writer = pq.ParquetWriter(
                pa.PythonFile(sink, mode="w"),
                schema,
                compression="zstd",
                use_dictionary=dictionaries,
                write_statistics=False,
                store_schema=False,
            )
            with parquet_writer:
                writer = cls(parquet_writer, schema)
                yield writer
                writer._end_group()
                files = {DATA: FileEntry(sink.size, sink.digest.hexdigest())}
                for name, lines in sidecars.items():
                    files[name] = write_json_lines(sidecar_path(path, name), lines())
                if account:
                    files[ACCOUNT] = account()
                final = recipe() if callable(recipe) else recipe
                writer.manifest = Manifest(final, {"rows": writer.rows, **counts()}, files)
                parquet_writer.add_key_value_metadata(
                    {_METADATA_KEY: canonical_json(writer.manifest.to_dict()), _FOOTER_HASH_KEY: _HASH_PLACEHOLDER}
                )
                sink.footer = bytearray()
            stream.write(sink.footer.replace(_HASH_PLACEHOLDER, _footer_sha256(sink.footer)))

    def append(self, row: Sequence[Any]) -> None:
        """Add one row: one value a column, in schema order. A list of strings may be a `TextCell`."""
        self.rows += 1
        self._pending.append(row)
        self._count_characters += sum([_count_characters(row[place]) for place in self._texts])
        if len(self._pending) == _BATCH_ROWS or self._count_characters >= _BATCH_CHARACTERS:
            self._end_batch()
            if _rows(self._group) >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
                self._end_group()

    def _end_batch(self) -> None:
        if self._pending:
            batch = _batch(self._schema, self._pending)
            self._group.append(batch)
            self._group_bytes += batch.nbytes
            self._pending, self._count_characters = [], 0

    def _end_group(self) -> None:
        self._end_batch()
        if self._group:
            self._writer.write_table(pa.Table.from_batches(self._group), row_group_size=_rows(self._group))
            self._group, self._group_bytes = [], 0


def sidecar_path(path: Path, name: str) -> Path:
    """Return the path of a sidecar of the Parquet file at `path`: JSON lines, or the account of what was left out."""
    return path.with_name(f"{path.stem}.{name if name == ACCOUNT else f'{name}.jsonl'}")


def read_manifest(path: "Path | UPath") -> Manifest | None:
    """Return the manifest in a Parquet file's footer; None if there is no such file or its footer has no valid one.

    Of a remote object only the end is read. Raises ObjectStoreError if the store cannot be reached.
    """
    from jgpt_dagster.storage.object_store import (
        as_object_store_error,  # imported here because fsspec takes as long to load as Parquet itself
    )

    try:
        with as_object_store_error(path), path.open("rb") as stream:
            stream.seek(_footer_offset(stream))
            footer = stream.read()
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer)).metadata or {}
        seal = metadata[_FOOTER_HASH_KEY]
        if _footer_sha256(footer.replace(seal, _HASH_PLACEHOLDER)) != seal:
            return None
        manifest = Manifest.from_dict(parse_json(metadata[_METADATA_KEY]))
        # Sidecars lie beside the file, so their names have no folders.
        plain = DATA in manifest.files and not any("/" in name for name in manifest.files)
        return manifest if plain else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None


def data_entry(path: Path, on_read: Callable[[int], None] = lambda size: None) -> FileEntry:
    """Return size and sha256 of the bytes before the footer; `on_read` as for `sha256_file`. Raises NotParquetError."""
    with open(path, "rb") as stream:
        size = _footer_offset(stream)
    return FileEntry(size, sha256_file(path, length=size, on_read=on_read))


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file in order, as tuples of the named columns (all by default)."""
    for batch in read_batches(path, columns):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def read_text_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file in order, as `read_rows` does; lists of strings are `TextCell`s."""
    for batch in read_batches(path, columns, _TEXT_ROWS):
        yield from zip(*map(_text_values, batch.columns), strict=True)


def read_batches(path: Path, columns: Sequence[str] | None = None, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in order, as record batches of up to `rows`, with columns in the given order.

    A batch lies within a row group, whose size is limited, so that 64 large documents are never in memory together.
    """
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(rows, [group], list(columns) if columns else None):
                yield batch.select(list(columns)) if columns else batch


def _footer_offset(stream: BinaryIO) -> int:
    """Return the number of bytes before the footer of a Parquet file. Raises NotParquetError if it has none."""
    end = stream.seek(0, os.SEEK_END)
    if end < 12:
        raise NotParquetError(f"{end} bytes are no Parquet file")
    stream.seek(end - 8)
    footer_size, magic = struct.unpack("<I4s", stream.read(8))
    offset = int(end - 8 - footer_size)
    if magic != _MAGIC or offset < len(_MAGIC) or footer_size > MAX_FOOTER_BYTES:
        raise NotParquetError("the end of the file is not a Parquet footer")
    return offset


def _footer_sha256(unsealed: bytes | bytearray) -> bytes:
    return hashlib.sha256(unsealed).hexdigest().encode()


def _rows(batches: list[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


def _holds_text(kind: pa.DataType) -> bool:
    """Return whether a type is a string or a list, nested or not, of strings."""
    return _holds_text(kind.value_type) if pa.types.is_list(kind) else bool(pa.types.is_string(kind))


def _text_values(column: pa.Array) -> Iterable[Any]:
    is_nested_text = pa.types.is_list(column.type) and _holds_text(column.type)
    return TextColumn(column) if is_nested_text else column.to_pylist()


def _count_characters(value: Any) -> int:
    """Return the number of characters in a string or in nested lists of strings; 0 for anything else."""
    if isinstance(value, TextCell):
        return value.characters
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, list | tuple):
        return 0
    while value and isinstance(value[0], list | tuple):
        value = [*chain.from_iterable(value)]
    return sum(map(len, value))


def _batch(schema: pa.Schema, rows: list[Sequence[Any]]) -> pa.RecordBatch:
    columns = [to_array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> FileEntry:
    """Write rows to a file, one a line, as they come; return its size and hash. The file appears when it is whole."""
    with atomic_file(path) as stream:
        sink = _HashingSink(stream)
        for row in rows:
            sink.write(f"{canonical_json(row)}\n".encode())
    return FileEntry(sink.size, sink.digest.hexdigest())


class _HashingSink:
    """A binary file that hashes what is written to it. Once `footer` is set, bytes go there instead."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.size = 0
        self.footer: bytearray | None = None

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        self.size += view.nbytes
        if self.footer is not None:
            self.footer += view
            return view.nbytes
        self.digest.update(view)
        return self.stream.write(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """Do nothing: the owner closes the stream."""
