"""What an earlier dump has for a later one: which of its shards were made in the same way, and the rows in them.

A row may be reused where the stage's code version, settings and libraries are the same; the output's bytes are then
those of a full rebuild. A shard that is damaged or made otherwise is passed over: its rows are made anew.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import dagster as dg
import numpy as np

from jgpt_dagster.assets.materialize import MAKING_RATE
from jgpt_dagster.corpus.row_reuse import PreviousRows, PreviousShard
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact, ArtifactError
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import read_rows

T = TypeVar("T")

Lines = list[str]
SegmentedLines = list[list[str]]


def previous_articles(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> PreviousRows[tuple[int, str, Lines]]:
    """Return (revision id, title, lines) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> PreviousShard[tuple[int, str, Lines]] | None:
        articles = store.parquet("wikipedia_articles", earlier, shard)

        def rows() -> Iterator[tuple[int, tuple[int, str, Lines]]]:
            columns = ["page_id", "revision_id", "title", "lines"]
            return ((row[0], row[1:]) for row in read_rows(articles.path, columns))

        return _part(context, recipe, articles, [articles], rows)

    return _previous_rows(store, "wikipedia_articles", dump, part)


def previous_segmented(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> PreviousRows[tuple[Lines, SegmentedLines]]:
    """Return (lines, segmented lines) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> PreviousShard[tuple[Lines, SegmentedLines]] | None:
        articles = store.parquet("wikipedia_articles", earlier, shard)
        segmented = store.parquet("wikipedia_segmented", earlier, shard)

        def rows() -> Iterator[tuple[int, tuple[Lines, SegmentedLines]]]:
            sources, results = read_rows(articles.path, ["page_id", "lines"]), read_rows(segmented.path, ["lines"])
            for (page_id, lines), (result,) in zip(sources, results, strict=True):
                yield page_id, (lines, result)

        return _part(context, recipe, articles, [articles, segmented], rows)

    return _previous_rows(store, "wikipedia_segmented", dump, part)


def previous_tokens(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> PreviousRows[tuple[SegmentedLines, np.ndarray]]:
    """Return (segmented lines, token ids) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> PreviousShard[tuple[SegmentedLines, np.ndarray]] | None:
        articles = store.parquet("wikipedia_articles", earlier, shard)
        segmented = store.parquet("wikipedia_segmented", earlier, shard)
        tokens = store.directory("wikipedia_tokens", earlier, shard)

        def rows() -> Iterator[tuple[int, tuple[SegmentedLines, np.ndarray]]]:
            file = TokenFile(tokens.path)
            for index, (page_id, lines) in enumerate(read_rows(segmented.path, ["page_id", "lines"])):
                yield page_id, (lines, file.document(index))

        return _part(context, recipe, articles, [segmented, tokens], rows)

    return _previous_rows(store, "wikipedia_tokens", dump, part)


def _previous_rows(
    store: CorpusStore, asset: str, dump: str, part: Callable[[str, str], PreviousShard[T] | None]
) -> PreviousRows[T]:
    """Return the rows of the newest earlier dump of which an asset has every shard, whole or not."""
    for earlier in reversed(store.root.dumps(asset)):
        if earlier < dump and all(
            store.root.shard(asset, earlier, shard).location.exists() for shard in store.shard_keys
        ):
            parts = [part(shard, earlier) for shard in store.shard_keys]
            return PreviousRows(found for found in parts if found is not None)
    return PreviousRows([])


def _part(
    context: dg.AssetExecutionContext,
    recipe: Recipe,
    articles: Artifact,
    chain: Sequence[Artifact],
    rows: Callable[[], Iterator[tuple[int, T]]],
) -> PreviousShard[T] | None:
    """Return the rows of a shard, verified when they are first needed; None where the shard has none to reuse.

    `chain` is what the rows are read from: each output is made from the one before it, the last by the recipe.
    `articles` knows which pages the shard has.
    """

    try:
        # An output that has no manifest is not whole, and `verified` says so.
        manifests = [artifact.manifest() or artifact.verified() for artifact in chain]
        pages = (articles.manifest() or articles.verified()).counts
    except ArtifactError as error:
        _warn(context, error)
        return None
    made_from_each_other = all(
        made.recipe.inputs.get(source.label) == found.data_sha256
        for source, (found, made) in zip(chain, pairwise(manifests), strict=False)
    )
    if not (pages["rows"] and made_from_each_other and _same_recipe(manifests[-1].recipe, recipe)):
        return None

    def verified_rows() -> Iterator[tuple[int, T]]:
        try:
            for artifact in chain:
                artifact.verified()
        except ArtifactError as error:
            _warn(context, error)
            return iter(())
        return rows()

    rate = chain[-1].run_record().get(MAKING_RATE)
    return PreviousShard(pages["first_page_id"], pages["last_page_id"], verified_rows, rate)


def _same_recipe(made: Recipe, recipe: Recipe) -> bool:
    """Whether two recipes differ in the pages alone that they are for."""
    alike = (made.code_version, made.settings, made.libraries) == (
        recipe.code_version,
        recipe.settings,
        recipe.libraries,
    )
    return alike and made.inputs.get("tokenizer") == recipe.inputs.get("tokenizer")


def _warn(context: dg.AssetExecutionContext, error: ArtifactError) -> None:
    context.log.warning(f"nothing is reused from a shard of an earlier dump: {error}")
