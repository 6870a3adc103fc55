"""Signatures: a table of the sketches of a shard's documents, in ascending order of their keys."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings, Sketch
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import RowWriter, read_batches, read_rows

SIGNATURES = pa.schema(
    [
        ("key", pa.int64()),
        # Why a quality filter drops the document; such a one has no hashes.
        ("drop_reason", pa.string()),
        ("drop_detail", pa.string()),
        # Of all lines.
        ("characters", pa.int64()),
        ("bands", pa.list_(pa.int64())),
        # One entry for each line that is long enough to count as a repetition: its number, its hash, its characters.
        ("paragraph_lines", pa.list_(pa.int32())),
        ("paragraph_hashes", pa.list_(pa.int64())),
        ("paragraph_characters", pa.list_(pa.int32())),
    ]
)
HASH_COLUMNS = ("bands", "paragraph_hashes")

# Some 200 bytes each.
_BATCH_ROWS = 8192

# Documents whose sketches are made at once.
_SKETCH_DOCUMENTS = 128
_SKETCH_CHARACTERS = 256 << 10

# Columns in front of those that hold lists.
_VALUES = 4
_NO_HASHES = (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32))


def signature_row(key: int, sketch: Sketch) -> tuple[Any, ...]:
    """Return the row of a document."""
    return (key, None, None, sketch.characters, sketch.bands, sketch.lines, sketch.paragraphs, sketch.lengths)


def dropped_row(key: int, reason: str, detail: str) -> tuple[Any, ...]:
    """Return the row of a document that a quality filter drops."""
    return (key, reason, detail, 0, *_NO_HASHES)


class PackedRows(NamedTuple):
    """Rows in a form that passes quickly between processes: four columns of values, and four of arrays end to end."""

    values: Sequence[Sequence[Any]]
    arrays: Sequence[tuple[np.ndarray, Sequence[int]]]
    """For each column its arrays as one, and the length of each."""


def pack_rows(rows: Sequence[tuple[Any, ...]]) -> PackedRows:
    """Return rows of the table of signatures, at least one, for another process."""
    columns = list(zip(*rows, strict=True))
    arrays = [(np.concatenate(column), list(map(len, column))) for column in columns[_VALUES:]]
    return PackedRows(columns[:_VALUES], arrays)


def unpack_rows(packed: PackedRows) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that were packed."""
    columns = [*packed.values, *(_split(*column) for column in packed.arrays)]
    return zip(*columns, strict=True)


def _split(values: np.ndarray, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    return (values[start:end] for start, end in pairwise(accumulate(lengths, initial=0)))


def write_signatures(
    text: Path, key_column: str, target: Path, settings: DeduplicationSettings, recipe: Recipe
) -> None:
    """Write the signatures of the documents of a Parquet file, which has their lines in the column `lines`."""
    documents = batches(
        read_rows(text, [key_column, "lines"]),
        max_items=_SKETCH_DOCUMENTS,
        max_size=_SKETCH_CHARACTERS,
        size=lambda row: sum(map(len, row[1])),
    )
    with RowWriter.open(target, SIGNATURES, recipe, dict, dictionaries=False) as writer:
        for batch in documents:
            for (key, _), sketch in zip(batch, settings.sketches([lines for _, lines in batch]), strict=True):
                writer.append(signature_row(key, sketch))


def read_signatures(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table of signatures in order."""
    return read_batches(path, SIGNATURES.names, _BATCH_ROWS)


def lists(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of all lists of a column one after the other, and where each list begins and the last ends."""
    column = batch.column(name)
    offsets = np.concatenate(([0], np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False)))).astype(np.int64)
    return column.flatten().to_numpy(), offsets
