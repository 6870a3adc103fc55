"""The hashes that occur more than once in the signatures of all shards, found by an external sort.

Most hashes of a corpus occur once and decide nothing. Each shard's hashes become sorted runs on disk; equal ranges of
all runs are then merged, each by itself, so memory is bounded and shards and ranges can be worked on in parallel.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from jgpt_dagster.corpus.duplicates.signatures import HASH_COLUMNS, read_signatures
from jgpt_dagster.runtime.worker_pool import OrderedMap

# Hashes that are sorted at once: 32 MiB, and some copies of that while they are.
_RUN_HASHES = 4 << 20

_WIDTH = 8


@dataclass(frozen=True)
class SortedRuns:
    """Runs of ascending hashes (uint64), one after the other in a file; a hash is at most twice in a run."""

    path: Path
    lengths: tuple[int, ...]

    def between(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yield of each run the hashes from `first` to `last`."""
        start = 0
        for length in self.lengths:
            run = np.memmap(self.path, np.uint64, "r", start * _WIDTH, length)
            low, high = np.searchsorted(run, np.uint64(first)), np.searchsorted(run, np.uint64(last), "right")
            yield np.array(run[low:high])
            start += length


def write_repeated_hashes(signatures: Sequence[Path], folder: Path, ordered_map: OrderedMap) -> Path:
    """Write all hashes (uint64, ascending) that occur more than once to a file in `folder`, and return its path."""
    runs = [found for _, found in ordered_map(partial(_write_runs, folder=folder), signatures)]
    ranges = max(1, -(-sum(sum(found.lengths) for found in runs) // _RUN_HASHES))
    edges = [number * (1 << 64) // ranges for number in range(ranges + 1)]
    bounds = [(low, high - 1) for low, high in pairwise(edges)]
    path = folder / "repeated"
    with open(path, "wb") as out:
        for _, part in ordered_map(partial(_write_repeated_between, runs=runs, folder=folder), bounds):
            with open(part, "rb") as stream:
                shutil.copyfileobj(stream, out)
            part.unlink()
    for found in runs:
        found.path.unlink()
    return path


def open_hashes(path: Path) -> np.ndarray:
    """Map a file of hashes (uint64) into memory for reading."""
    # An empty file cannot be mapped.
    return np.memmap(path, np.uint64, "r") if path.stat().st_size else np.empty(0, np.uint64)


def _write_runs(signatures: Path, folder: Path) -> SortedRuns:
    path = folder / f"runs-{signatures.stem}"
    lengths: list[int] = []
    with open(path, "wb") as out:
        for hashes in _hashes(signatures):
            hashes.sort()
            # Two of a kind say as much as a million, which a notice on a million pages would give.
            third = np.zeros(len(hashes), bool)
            third[2:] = hashes[2:] == hashes[:-2]
            kept = hashes[~third]
            out.write(kept.data)
            lengths.append(len(kept))
    return SortedRuns(path, tuple(lengths))


def _hashes(signatures: Path) -> Iterator[np.ndarray]:
    """Yield the hashes of a shard, so many at a time that they can be sorted in memory."""
    pending: list[np.ndarray] = []
    count = 0
    for batch in read_signatures(signatures):
        for name in HASH_COLUMNS:
            values = batch.column(name).flatten().to_numpy().view(np.uint64)
            pending.append(values)
            count += len(values)
        if count >= _RUN_HASHES:
            yield np.concatenate(pending)
            pending, count = [], 0
    if count:
        yield np.concatenate(pending)


def _write_repeated_between(bounds: tuple[int, int], runs: Sequence[SortedRuns], folder: Path) -> Path:
    hashes = np.concatenate([np.empty(0, np.uint64), *(part for found in runs for part in found.between(*bounds))])
    hashes.sort()
    again = np.zeros(len(hashes), bool)
    again[1:] = hashes[1:] == hashes[:-1]
    path = folder / f"repeated-{bounds[0]:016x}"
    path.write_bytes(np.unique(hashes[again]).data)
    return path
