"""Which entries of the exclusion list a shard of text was made without, and which of the others hit what it holds.

Matching an entry against a shard reads the shard. It is done once: `.exclusion_matches/` in the root remembers, for the
data of each shard, which entries were looked at and which of them hit. That memory may be lost.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.corpus.exclusions.exclusion_list import Exclusion, ExclusionList
from jgpt_dagster.corpus.exclusions.matching import Matcher
from jgpt_dagster.corpus.exclusions.screen import Screen, exclusions_of
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.file_creation import make_directory
from jgpt_dagster.storage.manifest import ACCOUNT, Manifest, Recipe
from jgpt_dagster.storage.parquet import DATA, read_rows, sidecar_path

MEMORY = ".exclusion_matches"
"""The folder of a root with what is remembered."""


@dataclass(frozen=True)
class ShardExclusions:
    """What the list says of a shard of text.

    It was made without what `applied` entries match; `withdrawn` of these count no more, others are not known (None).
    `pending` entries match what it holds.
    """

    applied: tuple[Exclusion, ...] = ()
    withdrawn: tuple[Exclusion | None, ...] = ()
    pending: tuple[Exclusion, ...] = ()

    @property
    def reason(self) -> str:
        """Why the shard is stale, in words; empty if the list is no reason."""
        if self.withdrawn:
            names = [entry.name if entry else "one of another list" for entry in self.withdrawn]
            return f"made without what an exclusion matched that counts no more ({_first(names)})"
        if self.pending:
            return f"it holds what is excluded ({_first([entry.name for entry in self.pending])})"
        return ""


def exclusions_of_shard(
    root: DataRoot, corpus: str, shard: Artifact, manifest: Manifest, exclusions: ExclusionList
) -> ShardExclusions:
    """Return what a list says of a complete shard of a corpus's text. One that cannot be read has nothing pending."""
    found = [exclusions.by_id.get(each) for each in exclusions_of(manifest.recipe)]
    applied = tuple(entry for entry in found if entry and entry.withdrawn is None)
    withdrawn = tuple(entry for entry in found if entry is None or entry.withdrawn)
    numbers = _matching_numbers(root, corpus, shard, manifest, exclusions) if exclusions.active else set()
    pending = tuple(entry for entry in exclusions.active if entry.number in numbers)
    return ShardExclusions(applied, withdrawn, pending)


class Hit(NamedTuple):
    """A document that an entry takes out: its key, and what its row says of it.

    `beside` is the sidecar whose row it is; empty for a row of the text itself.
    """

    entry: Exclusion
    key: int | None
    title: str = ""
    revision: int | None = None
    url: str | None = None
    beside: str = ""


def hits_in(corpus: str, shard: Artifact, manifest: Manifest, entries: Sequence[Exclusion]) -> Iterator[Hit]:
    """Yield what entries take out of a shard of a corpus's text and the files beside it.

    Raises OSError, ValueError or ArrowException if a file cannot be read.
    """
    shard.fetch(manifest)
    matcher = Matcher(entries, corpus, profile_of(manifest.recipe))
    names = matcher.columns(pq.read_schema(shard.path).names)
    screen = Screen(matcher, names)
    for row in read_rows(shard.path, names):
        if entry := screen.takes(row):
            found = dict(zip(names, row, strict=True))
            yield Hit(entry, row[0], found.get("title", ""), found.get("revision_id"), found.get("url"))
    for name in manifest.files:
        if name not in (DATA, ACCOUNT):
            with sidecar_path(shard.path, name).open(encoding="utf-8") as stream:
                for record in map(json.loads, stream):
                    if entry := screen.takes_beside(name, record):
                        key = record.get("page_id", record.get("document_id"))
                        yield Hit(entry, key, record.get("title") or "", record.get("revision_id"), beside=name)


def profile_of(text: Recipe) -> TextProfile:
    """Return the text profile that a text was made under, by its recipe: documents are selected under `clean` alone."""
    return "clean" if text.settings.get("text") == "clean" or "selection" in text.settings else "seed"


def _matching_numbers(
    root: DataRoot, corpus: str, shard: Artifact, manifest: Manifest, exclusions: ExclusionList
) -> set[int]:
    """Return the numbers of the entries that match what a shard holds, reading it if there are new ones."""
    looked_at, hits = _remembered(root, shard, manifest, exclusions)
    new = [entry for entry in exclusions.active if entry.number > looked_at]
    if new:
        try:
            hits |= {hit.entry.number for hit in hits_in(corpus, shard, manifest, new)}
        except (OSError, ValueError, pa.ArrowException):  # damaged: told as such
            return hits
    if looked_at < len(exclusions.entries):
        _write(root, shard, manifest, exclusions, sorted(hits))
    return hits


def _remembered(root: DataRoot, shard: Artifact, manifest: Manifest, exclusions: ExclusionList) -> tuple[int, set[int]]:
    """Return how many entries of the list were looked at for this data, and the numbers of those that match it."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(_memory_path(root, shard).read_text())
        looked_at, hits = int(record["entries"]), {int(number) for number in record["hits"]}
        if record["data"] == manifest.data_sha256 and record["list"] == exclusions.digest_of_first(looked_at):
            return looked_at, hits
    return 0, set()


def _write(root: DataRoot, shard: Artifact, manifest: Manifest, exclusions: ExclusionList, hits: list[int]) -> None:
    record = {
        "data": manifest.data_sha256,
        "entries": len(exclusions.entries),
        "list": exclusions.digest,
        "hits": hits,
    }
    with suppress(OSError, DiskFullError):  # whoever may only read a root looks again
        path = _memory_path(root, shard)
        make_directory(path.parent, internal=True)
        write_json(path, record, internal=True)


def _memory_path(root: DataRoot, shard: Artifact) -> Path:
    return (root.path / MEMORY / shard.path.relative_to(root.path)).with_suffix(".json")


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
