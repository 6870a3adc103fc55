"""Which documents and paragraphs of a corpus are dropped as copies, decided from the signatures of all its shards.

Documents are taken in ascending order of their keys: the first of several copies is kept, and only what is kept counts
as seen. Only documents with a hash that occurs more than once need a decision. All state is on disk.
"""

import heapq
import mmap
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from jgpt_dagster.corpus.duplicates.repeated_hashes import open_hashes, write_repeated_hashes
from jgpt_dagster.corpus.duplicates.signatures import lists, read_signatures
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.runtime.worker_pool import OrderedMap

NEAR_DUPLICATE = "near_duplicate"
NOTHING_NEW = "nothing_new"
"""The reasons for dropping a whole document as a copy."""

_CANDIDATES = pa.schema(
    [
        ("key", pa.int64()),
        ("drop_reason", pa.string()),
        ("drop_detail", pa.string()),
        ("characters", pa.int64()),
        # Positions in the list of repeated hashes.
        ("bands", pa.list_(pa.int64())),
        ("paragraph_lines", pa.list_(pa.int32())),
        ("paragraphs", pa.list_(pa.int64())),
        ("paragraph_characters", pa.list_(pa.int32())),
    ]
)
_DECISIONS = pa.schema(
    [
        ("key", pa.int64()),
        ("drop_reason", pa.string()),
        ("drop_detail", pa.string()),
        ("kept_key", pa.int64()),
        ("repeated_lines", pa.list_(pa.int32())),
        ("first_keys", pa.list_(pa.int64())),
        ("first_lines", pa.list_(pa.int32())),
    ]
)
_BATCH_ROWS = 1024


class Decision(NamedTuple):
    """What is dropped of a document: all of it, if there is a reason, or the repeated lines; for each its origin."""

    key: int
    drop_reason: str | None
    drop_detail: str | None
    kept_key: int | None
    """The kept document that this one is a copy of: of several, the one with the most bands or characters in common."""
    repeated_lines: Sequence[int]
    """Numbers of lines, from 0. Of a document that is dropped as well, if it has nothing new without them."""
    first_keys: Sequence[int]
    """The document where each repeated line stands first."""
    first_lines: Sequence[int]
    """The number of that line there."""


class Decisions:
    """The decisions on a corpus, on disk. Documents without one are kept whole."""

    def __init__(self, path: Path, wanted: "DiskArray") -> None:
        self._path = path
        self.wanted = wanted
        """For each key, 1 if it is the `kept_key` of a decision, else 0."""

    def __iter__(self) -> Iterator[Decision]:
        """Yield the decisions in ascending order of their keys."""
        return map(Decision._make, _read(self._path))


class DiskArray:
    """Integers of 64 bits in a file that is mapped into memory: their number is bounded by the disk alone."""

    def __init__(self, path: Path, length: int) -> None:
        """Make a file of zeros. Raises OSError if the disk is full: a later write could only kill the process."""
        with open(path, "w+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, length) * 8)
            self.values = memoryview(mmap.mmap(stream.fileno(), 0)).cast("q")
        path.unlink()


def decide(
    signatures: Sequence[Path],
    folder: Path,
    *,
    keys: int,
    bands: int,
    minimum_characters: int,
    ordered_map: OrderedMap,
) -> Decisions:
    """Decide on all documents of a corpus, whose shards have these signatures; work in `folder`, an empty one.

    Keys are below `keys`; a sketch has `bands` bands. A document that loses lines and keeps fewer than
    `minimum_characters` is dropped. `ordered_map` runs what can be done for each shard by itself.
    """
    repeated = write_repeated_hashes(signatures, folder, ordered_map)
    write_candidates = partial(_write_candidates, repeated=repeated, folder=folder)
    candidates = [path for _, path in ordered_map(write_candidates, signatures)]
    wanted = DiskArray(folder / "wanted", keys)
    first = _FirstPlaces(folder, len(open_hashes(repeated)))
    path = folder / "decisions"
    rows = heapq.merge(*map(_read, candidates), key=itemgetter(0))
    _write(path, _DECISIONS, _decisions(rows, first, bands, minimum_characters, wanted.values))
    for leftover in (*candidates, repeated):
        leftover.unlink()
    return Decisions(path, wanted)


def _write_candidates(signatures: Path, repeated: Path, folder: Path) -> Path:
    """Write of a shard what the decision needs: documents with repeated hashes, or that a filter drops."""
    hashes = open_hashes(repeated)
    path = folder / f"candidates-{signatures.stem}"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, _CANDIDATES) as out:
        for batch in read_signatures(signatures):
            bands = _positions(batch, "bands", ["bands"], hashes)
            paragraph_columns = ["paragraph_lines", "paragraph_hashes", "paragraph_characters"]
            paragraphs = _positions(batch, "paragraph_hashes", paragraph_columns, hashes)
            whole = [batch.column(name) for name in ("key", "drop_reason", "drop_detail", "characters")]
            table = pa.RecordBatch.from_arrays([*whole, *bands, *paragraphs], schema=_CANDIDATES)
            has_any = sum(column.value_lengths().to_numpy(zero_copy_only=False) for column in (bands[0], paragraphs[0]))
            dropped = ~batch.column("drop_reason").is_null().to_numpy(zero_copy_only=False)
            out.write_batch(table.filter(pa.array((has_any > 0) | dropped)))
    return path


def _positions(batch: pa.RecordBatch, name: str, columns: Sequence[str], repeated: np.ndarray) -> list[pa.ListArray]:
    """Return list columns without the entries whose hash, in the column `name`, is not among the repeated ones.

    In place of the hash is its position there.
    """
    hashes, offsets = lists(batch, name)
    sought = hashes.view(np.uint64)
    # Ascending needles find their neighbourhood in the cache.
    order = np.argsort(sought)
    positions = np.empty(len(sought), np.int64)
    positions[order] = np.searchsorted(repeated, sought[order])
    found = positions < len(repeated)
    found[found] = repeated[positions[found]] == sought[found]
    kept = np.concatenate(([0], np.cumsum(found)))[offsets]
    values = {column: positions if column == name else lists(batch, column)[0] for column in columns}
    return [pa.ListArray.from_arrays(pa.array(kept, pa.int32()), pa.array(values[column][found])) for column in columns]


class _FirstPlaces:
    """Where each repeated hash was seen first in what is kept."""

    def __init__(self, folder: Path, hashes: int) -> None:
        self._keys = DiskArray(folder / "first-keys", hashes).values
        self._lines = DiskArray(folder / "first-lines", hashes).values

    def get(self, position: int) -> tuple[int, int] | None:
        """Return key and line number; None if the hash was not seen."""
        key = self._keys[position]
        return (key - 1, self._lines[position]) if key else None

    def add(self, position: int, key: int, line: int) -> None:
        """Record the place of a hash, unless there is an earlier one."""
        if not self._keys[position]:
            self._keys[position], self._lines[position] = key + 1, line


def _decisions(
    candidates: Iterator[tuple[Any, ...]],
    first: _FirstPlaces,
    bands: int,
    minimum_characters: int,
    wanted: "memoryview[int]",
) -> Iterator[Decision]:
    """Yield the decisions on candidates in the order of their keys."""
    for key, drop_reason, drop_detail, characters, band_positions, *columns in candidates:
        paragraphs = list(zip(*columns, strict=True))
        decision = (
            Decision(key, drop_reason, drop_detail, None, (), (), ())
            if drop_reason
            else _near_duplicate(key, band_positions, first, bands)
            or _repetitions(key, characters, band_positions, paragraphs, first, minimum_characters)
        )
        if decision is not None:
            if decision.kept_key is not None:
                wanted[decision.kept_key] = 1
            yield decision


def _near_duplicate(key: int, positions: Sequence[int], first: _FirstPlaces, bands: int) -> Decision | None:
    """Return the decision on a document that has bands in common with kept ones."""
    seen = Counter(place[0] for position in {*positions} if (place := first.get(position)))
    if not seen:
        return None
    detail = f"{seen.total()} of {bands} bands seen before"
    return Decision(key, NEAR_DUPLICATE, detail, _largest(seen), (), (), ())


def _repetitions(
    key: int,
    characters: int,
    band_positions: Sequence[int],
    paragraphs: Sequence[tuple[int, int, int]],
    first: _FirstPlaces,
    minimum_characters: int,
) -> Decision | None:
    """Return the decision on the paragraphs of a document; if it is kept, what it adds is seen from now on.

    A paragraph is (line number, position of its hash, characters).
    """
    own: dict[int, int] = {}
    lines, places = list[int](), list[tuple[int, int]]()
    repeated_characters = Counter[int]()
    for line, position, length in paragraphs:
        place = first.get(position) or ((key, own[position]) if position in own else None)
        if place is None:
            own[position] = line
            continue
        lines.append(line)
        places.append(place)
        repeated_characters[place[0]] += length
    left = characters - repeated_characters.total()
    origins = [[origin[part] for origin in places] for part in (0, 1)]
    if lines and left < max(minimum_characters, 1):
        detail = f"{left} characters without the paragraphs seen before"
        del repeated_characters[key]
        kept_key = _largest(repeated_characters) if repeated_characters else None
        return Decision(key, NOTHING_NEW, detail, kept_key, lines, *origins)
    for position, line in own.items():
        first.add(position, key, line)
    for position in band_positions:
        first.add(position, key, 0)
    return Decision(key, None, None, None, lines, *origins) if lines else None


def _largest(counts: Counter[int]) -> int:
    """Return the key with the highest count; of several, the lowest key."""
    return min(counts, key=lambda key: (-counts[key], key))


def _write(path: Path, schema: pa.Schema, rows: Iterator[Sequence[Any]]) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for batch in batches(rows, max_items=_BATCH_ROWS):
            columns = zip(*batch, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            out.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _read(path: Path) -> Iterator[tuple[Any, ...]]:
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            for start in range(0, len(batch), _BATCH_ROWS):
                part = batch.slice(start, _BATCH_ROWS)
                yield from zip(*(column.to_pylist() for column in part.columns), strict=True)
