"""Takes documents out of a shard as its rows are written, and out of the files beside it.

The files beside a shard hold text too: samples of documents that filters dropped, titles of pages that were rejected.
A row of theirs goes with the document that it is about, or if an entry matches it by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jgpt_dagster.corpus.exclusions.exclusion_list import Exclusion
from jgpt_dagster.corpus.exclusions.matching import Matcher, TextRows
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet_artifact import REJECTED

SETTING = "exclusions"
"""The setting of a recipe with the ids of the entries that took something out; not there if none did."""

# What a row of a sidecar may quote.
_TEXTS = ("title", "text", "reason")


class Screen:
    """Knows which documents of a shard are taken out, by which entries, and how many."""

    def __init__(self, matcher: Matcher, names: Sequence[str], earlier: Iterable[Exclusion] = ()) -> None:
        """`names` are the columns of the rows. `earlier` are entries that the shard was made without before."""
        self._matcher, self._fields = matcher, TextRows(names)
        self._hits = {entry.number: entry for entry in earlier}
        self._documents: dict[int, Exclusion] = {}
        self.rows = 0
        self.rejected = 0

    def takes(self, row: Sequence[Any]) -> Exclusion | None:
        """Return the entry that takes a row out, which counts; None if it stays."""
        if not self._matcher:
            return None
        key, title, url, lines = self._fields.of(row)
        entry = self._matcher.first(key, title, url, lines)
        if entry:
            self._hits[entry.number] = self._documents[key] = entry
            self.rows += 1
        return entry

    def kept(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that stay."""
        return (row for row in rows if not self.takes(row))

    def kept_beside(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows that stay of a sidecar, by its name; to be called after the last row of the shard."""
        for row in rows:
            if not self.takes_beside(name, row):
                yield dict(row)

    def takes_beside(self, name: str, row: Mapping[str, Any]) -> Exclusion | None:
        """Return the entry that takes a row of a sidecar out, which counts; None if it stays."""
        if not self._matcher:
            return None
        key = row.get("page_id", row.get("document_id"))
        lines = [line for name in _TEXTS for line in str(row.get(name) or "").split("\n")]
        by_itself = self._matcher.first(key if key is not None else -1, row.get("title") or "", None, lines)
        found = [entry for entry in (by_itself, self._documents.get(key) if key is not None else None) if entry]
        entry = min(found, key=lambda one: one.number, default=None)
        if entry:
            self._hits[entry.number] = entry
            self.rejected += name == REJECTED
        return entry

    @property
    def hits(self) -> list[Exclusion]:
        """The entries that took something out, by their numbers."""
        return [self._hits[number] for number in sorted(self._hits)]

    def counts(self) -> dict[str, int]:
        """Return the number of documents that were taken out, for a manifest; nothing if there are none."""
        taken = self.rows + self.rejected
        return {"excluded": taken} if taken else {}

    def recipe(self, base: Recipe) -> Recipe:
        """Return a recipe with the entries that took something out."""
        return with_exclusions(base, [entry.id for entry in self.hits])


def with_exclusions(recipe: Recipe, ids: Sequence[str]) -> Recipe:
    """Return a recipe with just these entries."""
    settings = {name: value for name, value in recipe.settings.items() if name != SETTING}
    return replace(recipe, settings={**settings, SETTING: [*ids]} if ids else settings)


def without_exclusions(recipe: Recipe) -> Recipe:
    """Return a recipe as it is where nothing is excluded."""
    return with_exclusions(recipe, ())


def exclusions_of(recipe: Recipe) -> list[str]:
    """Return the ids of the entries that took something out of an output."""
    return list(recipe.settings.get(SETTING, []))
