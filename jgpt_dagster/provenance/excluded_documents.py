"""The documents that an exclusion list takes out of a data root: what its texts hold, and what receipts remember."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jgpt_dagster.catalog.exclusions import hits_in
from jgpt_dagster.corpus.exclusions.exclusion_list import WIKI, Exclusion, ExclusionList, ExclusionListError
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.provenance.root_files import RECEIPTS, outputs_of
from jgpt_dagster.storage.artifact import Artifact, ArtifactError
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import as_object_store_error, read_bytes
from jgpt_dagster.storage.sealed_json import read_sealed_json

if TYPE_CHECKING:
    from upath import UPath

_TEXTS = ("_articles", "_documents")


@dataclass(frozen=True)
class FoundDocument:
    """A document that an entry takes out, where a text holds it. `beside` names the sidecar whose row it is."""

    entry: int
    corpus: str
    dump: str | None
    shard: str
    key: int | None
    title: str = ""
    revision: int | None = None
    url: str | None = None
    beside: str = ""

    @property
    def name(self) -> str:
        """A name for people."""
        what = "page" if self.dump else "document"
        return f"{self.corpus} {what} {self.key}{f': {self.title}' if self.title else ''}"


def texts_of(root: DataRoot) -> Iterator[tuple[str, Artifact, Manifest]]:
    """Yield the corpus, the output and the manifest of every shard of text."""
    for output, manifest in outputs_of(root, *_TEXTS):
        yield output.asset.rpartition("_")[0], output, manifest


def found_documents(root: DataRoot, entries: Sequence[Exclusion]) -> Iterator[FoundDocument]:
    """Yield what entries take out of the texts.

    Raises ArtifactError if one is damaged.
    """
    for corpus, shard, manifest in texts_of(root):
        label = parse_label(shard.label)
        try:
            for hit in hits_in(corpus, shard, manifest, entries):
                own = (hit.key, hit.title, hit.revision, hit.url, hit.beside)
                yield FoundDocument(hit.entry.number, corpus, label.dump, shard.label, *own)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArtifactError(
                f"{shard.label} cannot be read: {error}. Make it again with:\n  {shard.rebuild_command}"
            ) from error


def keys_of(documents: Sequence[FoundDocument], entries: Sequence[Exclusion]) -> dict[str, set[int]]:
    """Return the keys of documents by corpus, with those that entries name, whether a text holds them or not."""
    keys: dict[str, set[int]] = defaultdict(set)
    for document in documents:
        if document.key is not None:
            keys[document.corpus].add(document.key)
    for entry in entries:
        if entry.kind in ("page", "document"):
            corpus, _, key = entry.value.rpartition(":")
            keys[corpus or WIKI].add(int(key))
    return dict(keys)


def remembered_keys(root: DataRoot, exclusions: ExclusionList) -> dict[str, set[int]]:
    """Return the keys of all documents that active entries took out, as the receipts in a root tell.

    Raises ExclusionListError for a damaged receipt.
    """
    active = {entry.number for entry in exclusions.active}
    keys = keys_of([], exclusions.active)
    for path in receipts(root):
        try:
            found = read_sealed_json(read_bytes(path))["documents"]
            documents = [(one["entry"], one["corpus"], one["key"]) for one in found]
        except (ValueError, KeyError, TypeError) as error:
            raise ExclusionListError(f"{path} is damaged: {error}. Restore it, or move it away.") from error
        for entry, corpus, key in documents:
            if entry in active and key is not None:
                keys.setdefault(corpus, set()).add(key)
    return keys


def receipts(root: DataRoot) -> "list[Path | UPath]":
    """Return the receipts of a root, oldest first."""
    with as_object_store_error(root.location):
        return sorted((root.location / RECEIPTS).glob("*.json"))
