"""Held-out documents that have a copy in what is trained on: they stay held out, and are not scored.

Copies are found by the signatures of all corpora. A held-out document is one if it has a MinHash band in common with a
training document, or if much of its text stands in paragraphs that training documents have exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jgpt_dagster.corpus.duplicates.signatures import lists, read_signatures
from jgpt_dagster.lm.data.document_split import split_documents
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.token_files import DOCUMENTS
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.runtime.worker_pool import OrderedMap

COPY_SHARE = 0.2
"""Share of a document's characters in paragraphs of training documents from which on it is a copy.

Below it, Touvron et al. (Llama 2, 2023, appendix A.6) call an evaluation sample clean.
"""

# Hashes of held-out documents that are compared with all training documents at once: 100 MB with what belongs to them.
_GROUP_HASHES = 4 << 20

_NOWHERE = -1


@dataclass(frozen=True)
class SignedShard:
    """A shard of tokens, the place of its document table, the signatures of its documents, and its corpus's weight."""

    tokens: TokenShard
    documents: Path
    signatures: Path
    weight: float

    def split(self, validation_share: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the keys of the documents that are trained on, and of those that are held out."""
        table = read_columns(self.documents / DOCUMENTS, ["key", "length"])
        split = split_documents(self.tokens.corpus, table["key"], table["length"], self.weight, validation_share)
        trained = np.logical_or.reduce(split.train)
        return table["key"][trained], table["key"][split.held_out]


class HeldOutCopy(NamedTuple):
    """A held-out document with a copy: where both are (positions of shards and keys), and what they have in common."""

    shard: int
    key: int
    copy_shard: int
    copy_key: int
    bands: int
    """Bands that training documents have."""
    repeated_characters: int
    """Characters of paragraphs that training documents have."""


def find_held_out_copies(
    shards: Sequence[SignedShard], validation_share: float, folder: Path, ordered_map: OrderedMap
) -> Iterator[HeldOutCopy]:
    """Yield the held-out documents that have copies in what is trained on, by shard and in the order of their rows.

    `folder` holds intermediate files. `ordered_map` runs what can be done for each shard by itself.
    """
    numbered = list(enumerate(shards))
    held_out = [path for _, path in ordered_map(partial(_write_held_out, folder, validation_share), numbered)]
    for group in _groups(held_out):
        hashes = np.unique(np.concatenate([rows.hashes for rows in group]))
        path = folder / "group"
        path.write_bytes(hashes.data)
        first_shards, first_keys = (np.full(len(hashes), _NOWHERE, np.int64) for _ in range(2))
        for (number, _), (places, keys) in ordered_map(partial(_seen_in_training, path, validation_share), numbered):
            new = first_shards[places] == _NOWHERE
            first_shards[places[new]], first_keys[places[new]] = number, keys[new]
        for rows in group:
            yield from rows.copies(hashes, first_shards, first_keys)


class _HeldOutRows:
    """Signatures of held-out documents of one shard, with their hashes one after the other."""

    def __init__(self, shard: int, batch: pa.RecordBatch) -> None:
        self._shard = shard
        self._keys = batch.column("key").to_numpy()
        self._characters = batch.column("characters").to_numpy()
        bands, band_ends = lists(batch, "bands")
        paragraphs, paragraph_ends = lists(batch, "paragraph_hashes")
        lengths, _ = lists(batch, "paragraph_characters")
        rows = np.arange(len(batch))
        self.hashes = np.concatenate((bands, paragraphs)).view(np.uint64)
        self._owners = np.concatenate((np.repeat(rows, np.diff(band_ends)), np.repeat(rows, np.diff(paragraph_ends))))
        self._is_band = np.arange(len(self.hashes)) < len(bands)
        self._lengths = np.concatenate((np.zeros(len(bands), np.int64), lengths))

    def copies(self, hashes: np.ndarray, first_shards: np.ndarray, first_keys: np.ndarray) -> Iterator[HeldOutCopy]:
        """Yield the documents that are copies, given the first training document (or none) with each of the hashes."""
        places = np.searchsorted(hashes, self.hashes)
        seen = first_shards[places] != _NOWHERE
        size = len(self._keys)
        bands = np.bincount(self._owners, seen & self._is_band, size).astype(np.int64)
        repeated = np.bincount(self._owners, seen * self._lengths, size).astype(np.int64)
        for row in np.flatnonzero((bands > 0) | (repeated >= np.maximum(COPY_SHARE * self._characters, 1))):
            of_row = np.flatnonzero((self._owners == row) & seen)
            # A band says more than a paragraph, and a long paragraph more than a short one.
            best = of_row[np.lexsort((self._lengths[of_row], self._is_band[of_row]))[-1]]
            origin = int(first_shards[places[best]]), int(first_keys[places[best]])
            yield HeldOutCopy(self._shard, int(self._keys[row]), *origin, int(bands[row]), int(repeated[row]))


def _write_held_out(folder: Path, validation_share: float, numbered: tuple[int, SignedShard]) -> tuple[int, Path]:
    """Write the signatures of a shard's held-out documents to a file; return the number of the shard, and the file."""
    number, shard = numbered
    _, held_out = shard.split(validation_share)
    path = folder / f"held-out-{number}"
    with pa.OSFile(str(path), "wb") as sink:
        out = None
        for batch in read_signatures(shard.signatures):
            out = out or pa.ipc.new_stream(sink, batch.schema)
            found = np.isin(batch.column("key").to_numpy(), held_out)
            if found.any():
                out.write_batch(batch.filter(pa.array(found)))
        if out:
            out.close()
    return number, path


def _groups(held_out: Sequence[tuple[int, Path]]) -> Iterator[list[_HeldOutRows]]:
    """Yield the held-out documents in groups that are bounded by their number of hashes."""
    group: list[_HeldOutRows] = []
    for number, path in held_out:
        if not path.stat().st_size:
            continue
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                group.append(_HeldOutRows(number, batch))
                if sum(len(rows.hashes) for rows in group) >= _GROUP_HASHES:
                    yield group
                    group = []
    if group:
        yield group


def _seen_in_training(
    path: Path, validation_share: float, numbered: tuple[int, SignedShard]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the hashes that training documents of a shard have, and the first such document's key."""
    _, shard = numbered
    hashes = np.fromfile(path, np.uint64)
    trained, _ = shard.split(validation_share)
    first = np.full(len(hashes), _NOWHERE, np.int64)
    for batch in read_signatures(shard.signatures):
        keys = batch.column("key").to_numpy()
        is_trained = np.isin(keys, trained)
        for name in ("bands", "paragraph_hashes"):
            values, ends = lists(batch, name)
            values, rows = values.view(np.uint64), np.repeat(np.arange(len(keys)), np.diff(ends))
            values, rows = values[is_trained[rows]], rows[is_trained[rows]]
            places = np.minimum(np.searchsorted(hashes, values), len(hashes) - 1)
            found = (hashes[places] == values) & (first[places] == _NOWHERE)
            # Of several rows the first: assignments to one place are made in order, so the rows go backwards.
            first[places[found][::-1]] = keys[rows[found]][::-1]
    seen = np.flatnonzero(first != _NOWHERE)
    return seen, first[seen]


def unscored_keys(copies: Sequence[HeldOutCopy]) -> Mapping[int, np.ndarray]:
    """Return the keys of copies by the position of their shard."""
    by_shard: dict[int, list[int]] = {}
    for copy in copies:
        by_shard.setdefault(copy.shard, []).append(copy.key)
    return {shard: np.array(keys) for shard, keys in by_shard.items()}
