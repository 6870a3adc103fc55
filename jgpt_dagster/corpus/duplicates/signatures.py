"""Signatures: a table of the sketches of a shard's documents, in ascending order of their keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

_NO_HASHES: tuple[list[int], ...] = ([], [], [], [])


def signature_row(key: int, sketch: Sketch) -> tuple[Any, ...]:
    """Return the row of a document."""
    return (key, None, None, sketch.characters, sketch.bands, sketch.lines, sketch.paragraphs, sketch.lengths)


def dropped_row(key: int, reason: str, detail: str) -> tuple[Any, ...]:
    """Return the row of a document that a quality filter drops."""
    return (key, reason, detail, 0, *_NO_HASHES)


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
