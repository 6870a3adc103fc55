"""`<corpus>_span_index`: the suffix array of a shard's tokens, which finds where a text stands in the training data.

Made on demand: no sensor and no `jgpt run` makes it, and nothing is made of it.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.lm.data.span_index import part_ends, write_span_index
from jgpt_dagster.lm.data.token_files import TOKENS, map_tokens
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions

CODE_VERSION = "1"


def build_span_index(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_span_index`."""

    @stage_asset(
        corpus.span_index,
        group=TRAINING_SET,
        kinds={"numpy"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[corpus.tokens_asset],
        description="The suffix array of a shard's tokens, by which `jgpt trace --text` finds text in it: 4 bytes a "
        "token.\n\nMade on demand, never by `jgpt run` or a sensor. Needs the extra `search`.",
    )
    def span_index(context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore) -> Materialization:
        partition = shard_key(context, corpus)
        source, target = (store.directory(asset, *partition) for asset in (corpus.tokens_asset, corpus.span_index))
        tokens = source.verified()
        recipe = Recipe(stage=target.asset, code_version=CODE_VERSION, inputs={source.recipe_label: tokens.data_sha256})

        def make(target: DirectoryArtifact, recipe: Recipe) -> Mapping[str, Any]:
            bar = progress(context, target, "tokens", tokens.counts["tokens"])
            ends = part_ends(source.path)
            with target.writing(recipe) as out:
                for size in write_span_index(map_tokens(source.path / TOKENS, tokens.counts["tokens"]), ends, out.path):
                    bar.advance(size)
                out.counts = {"tokens": tokens.counts["tokens"], "parts": len(ends)}
            return {"libraries": library_versions("pydivsufsort")}

        return materialize(context, store, target, recipe, make, force=config.force)

    return span_index
