"""The exclusion list as the stages of text use it: which recipe a shard should have, and how it is made.

A shard that is current but for documents that it should lose is copied without them. Any other is made from its source.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from jgpt_dagster.assets.own_rows import Before, before
from jgpt_dagster.assets.previous_dump import speed_before
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.exclusions import ShardExclusions, exclusions_of_shard
from jgpt_dagster.corpus.exclusions.exclusion_list import ExclusionList, read_list
from jgpt_dagster.corpus.exclusions.matching import Matcher
from jgpt_dagster.corpus.exclusions.screen import Screen, exclusions_of, with_exclusions, without_exclusions
from jgpt_dagster.corpus.exclusions.shard_copy import copy_without
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact


class TextExclusions:
    """The exclusion list of a root, for the text of one corpus."""

    def __init__(self, store: CorpusStore, corpus: Corpus) -> None:
        """Raises ExclusionListError if the list is damaged."""
        self._store, self._corpus = store, corpus
        self._list: ExclusionList = read_list(store.root.location)

    def plan(self, target: ParquetArtifact, base: Recipe) -> "ShardPlan":
        """Return what is to be done with a shard. `base` is its recipe where nothing is excluded."""
        earlier = before(target)
        if earlier is None or without_exclusions(earlier.manifest.recipe) != base:
            kept = exclusions_of(earlier.manifest.recipe) if earlier else []
            return ShardPlan(target, with_exclusions(base, kept), base, self, None, ShardExclusions())
        found = exclusions_of_shard(self._store.root, self._corpus.name, target, earlier.manifest, self._list)
        hits = sorted([*found.applied, *found.pending], key=lambda entry: entry.number)
        recipe = with_exclusions(base, [entry.id for entry in hits])
        return ShardPlan(target, recipe, base, self, earlier, found)

    def screen(self) -> Screen:
        """Return what takes documents out of a shard that is made from its source."""
        return Screen(self._matcher, self._corpus.text_schema.names)

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self._list.active, self._corpus.name, self._store.profile)

    def copy(self, plan: "ShardPlan", manifest: Manifest) -> Manifest:
        """Replace a shard by a copy without what pending entries match."""
        matcher = Matcher(plan.found.pending, self._corpus.name, self._store.profile)
        schema = self._corpus.text_schema
        screen = Screen(matcher, schema.names, plan.found.applied)
        return copy_without(plan.target.path, manifest, schema, screen, partial(screen.recipe, plan.base))


@dataclass(frozen=True)
class ShardPlan:
    """What the list means for a shard: the recipe that it should have by what is known before it is made.

    `base` is the recipe where nothing is excluded, `earlier` the present shard if it was made by it.
    """

    target: ParquetArtifact
    recipe: Recipe
    base: Recipe
    exclusions: TextExclusions
    earlier: Before | None
    found: ShardExclusions

    def copied(self, *, force: bool) -> dict[str, Any]:
        """Copy the shard without what it should lose, if that is all that is wrong with it.

        Return facts for the record of the run; none if the shard has to be made from its source.
        """
        copyable = self.found.pending and not self.found.withdrawn and not force
        if self.earlier is None or not copyable or self.target.find_mismatch(self.earlier.manifest):
            return {}
        made = self.exclusions.copy(self, self.earlier.manifest)
        rows = made.counts["rows"]
        return {"reused_rows": rows, "made_rows": 0, **speed_before(self.earlier.record), **self.facts(made)}

    def facts(self, made: Manifest | None) -> dict[str, Any]:
        """Return what the record of the run says of rows that an earlier output of this shard has too."""
        return self.earlier.facts(made) if self.earlier and made else {}
