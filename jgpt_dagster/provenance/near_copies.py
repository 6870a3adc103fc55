"""Near copies of documents: those that were dropped as copies of them, and those that are still in a corpus."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jgpt_dagster.corpus.duplicates.signatures import lists, read_signatures
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.provenance.root_files import outputs_of
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.parquet import read_rows

_DUPLICATES, _SIGNATURES, _SOURCE_SIGNATURES = "_duplicates", "_signatures", "_source_signatures"


@dataclass(frozen=True)
class NearCopy:
    """A document that is nearly equal to a given one (`of`), by their corpora and keys.

    One that was dropped is in no corpus, and has a `reason`. One that is kept has `bands` of hashes in common.
    """

    corpus: str
    key: int
    of: tuple[str, int]
    reason: str = ""
    bands: int = 0
    label: str = ""


def dropped_copies(root: DataRoot, keys: Mapping[str, Collection[int]]) -> Iterator[NearCopy]:
    """Yield the documents that were dropped as copies of given ones, and so have stayed out of the corpora."""
    for table in _tables(root, _DUPLICATES):
        corpus = table.asset.removesuffix(_DUPLICATES)
        wanted = keys.get(corpus, ())
        if wanted:
            for key, line, reason, kept, *_ in read_rows(table.path):
                if line is None and kept in wanted:
                    yield NearCopy(corpus, key, (corpus, kept), reason, label=table.label)


def kept_copies(root: DataRoot, keys: Mapping[str, Collection[int]]) -> Iterator[NearCopy]:
    """Yield the documents of all corpora that have bands of hashes in common with given ones, and are none of them.

    They are compared by the signatures that `training_set` makes of the text of every corpus.
    """
    tables = [*_tables(root, _SIGNATURES)]
    owners = {band: owner for table in tables for owner, bands in _bands_of(table, keys) for band in bands.tolist()}
    wanted = np.array(sorted(owners), np.int64)
    if not len(wanted):
        return
    for table in tables:
        corpus = table.asset.removesuffix(_SIGNATURES)
        for batch in read_signatures(table.path):
            bands, ends = lists(batch, "bands")
            found = np.flatnonzero(np.isin(bands, wanted))
            rows = np.searchsorted(ends, found, side="right") - 1
            for row in np.unique(rows).tolist():
                key = batch.column("key")[row].as_py()
                if key not in keys.get(corpus, ()):
                    common = found[rows == row]
                    owner = owners[int(bands[common[0]])]
                    yield NearCopy(corpus, key, owner, bands=len(common), label=table.label)


def has_signatures(root: DataRoot) -> bool:
    """Return whether the corpora of a root have been compared with each other."""
    return next(_tables(root, _SIGNATURES), None) is not None


def _bands_of(table: Artifact, keys: Mapping[str, Collection[int]]) -> Iterator[tuple[tuple[str, int], np.ndarray]]:
    """Yield each of the documents that a table has, with its bands."""
    corpus = table.asset.removesuffix(_SIGNATURES)
    wanted = np.array(sorted(keys.get(corpus, ())), np.int64)
    if not len(wanted):
        return
    for batch in read_signatures(table.path):
        bands, ends = lists(batch, "bands")
        for row in np.flatnonzero(np.isin(batch.column("key").to_numpy(), wanted)).tolist():
            yield (corpus, batch.column("key")[row].as_py()), bands[ends[row] : ends[row + 1]]


def _tables(root: DataRoot, suffix: str) -> Iterator[Artifact]:
    """Yield the tables of a kind: of corpora with dumps, those of the newest one."""
    outputs = list(outputs_of(root, suffix))
    newest: dict[str, str] = {}
    for output, _ in outputs:
        newest[output.asset] = max(newest.get(output.asset, ""), parse_label(output.label).dump or "")
    for output, manifest in outputs:
        if suffix == _SIGNATURES and output.asset.endswith(_SOURCE_SIGNATURES):
            continue
        if (parse_label(output.label).dump or "") == newest[output.asset]:
            output.fetch(manifest)
            yield output
