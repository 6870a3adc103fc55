"""What an earlier dump has for a later one: which of its shards were made in the same way, and the rows in them.

A row may be reused where the stage's code version, settings and libraries are the same; the output's bytes are then
those of a full rebuild. A shard that is missing, damaged or made otherwise is passed over: its rows are made anew.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import dagster as dg
import numpy as np

from jgpt_dagster.corpus.reuse import EarlierRows, KeyedRows
from jgpt_dagster.lm.tokens import TokenFile
from jgpt_dagster.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact, ArtifactError
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import read_rows

T = TypeVar("T")

Lines = list[str]
SegmentedLines = list[list[str]]


def earlier_articles(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> EarlierRows[tuple[int, str, Lines]]:
    """Return (revision id, title, lines) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> KeyedRows[tuple[int, str, Lines]] | None:
        articles = store.parquet("wikipedia_articles", earlier, shard)
        if not _made_alike(articles, recipe):
            return None
        columns = ["page_id", "revision_id", "title", "lines"]
        rows = ((row[0], row[1:]) for row in read_rows(articles.path, columns))
        return _keyed(context, store, earlier, shard, [articles], lambda: rows)

    return _earlier_rows(store, "wikipedia_articles", dump, part)


def earlier_segmented(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> EarlierRows[tuple[Lines, SegmentedLines]]:
    """Return (lines, segmented lines) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> KeyedRows[tuple[Lines, SegmentedLines]] | None:
        articles = store.parquet("wikipedia_articles", earlier, shard)
        segmented = store.parquet("wikipedia_segmented", earlier, shard)
        if not (_made_alike(segmented, recipe) and _made_from(segmented, articles)):
            return None

        def rows() -> Iterator[tuple[int, tuple[Lines, SegmentedLines]]]:
            sources, results = read_rows(articles.path, ["page_id", "lines"]), read_rows(segmented.path, ["lines"])
            for (page_id, lines), (result,) in zip(sources, results, strict=True):
                yield page_id, (lines, result)

        return _keyed(context, store, earlier, shard, [articles, segmented], rows)

    return _earlier_rows(store, "wikipedia_segmented", dump, part)


def earlier_tokens(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, recipe: Recipe
) -> EarlierRows[tuple[SegmentedLines, np.ndarray]]:
    """Return (segmented lines, token ids) by page id, as an earlier dump has them."""

    def part(shard: str, earlier: str) -> KeyedRows[tuple[SegmentedLines, np.ndarray]] | None:
        segmented = store.parquet("wikipedia_segmented", earlier, shard)
        tokens = store.directory("wikipedia_tokens", earlier, shard)
        if not (_made_alike(tokens, recipe) and _made_from(tokens, segmented)):
            return None
        manifest = tokens.manifest()
        if manifest is None or manifest.recipe.inputs["tokenizer"] != recipe.inputs["tokenizer"]:
            return None

        def rows() -> Iterator[tuple[int, tuple[SegmentedLines, np.ndarray]]]:
            file = TokenFile(tokens.path)
            for index, (page_id, lines) in enumerate(read_rows(segmented.path, ["page_id", "lines"])):
                yield page_id, (lines, file.document(index))

        return _keyed(context, store, earlier, shard, [segmented, tokens], rows)

    return _earlier_rows(store, "wikipedia_tokens", dump, part)


def _earlier_rows(
    store: CorpusStore, asset: str, dump: str, part: Callable[[str, str], KeyedRows[T] | None]
) -> EarlierRows[T]:
    """Return the rows of the newest earlier dump of which an asset has every shard."""
    dates = sorted((path.name.removeprefix("dump=") for path in (store.root.path / asset).glob("dump=*")), reverse=True)
    for earlier in dates:
        shards = (store.root.shard(asset, earlier, shard) for shard in store.shard_keys)
        if earlier < dump and all(shard.manifest() is not None for shard in shards):
            parts = [part(shard, earlier) for shard in store.shard_keys]
            return EarlierRows(found for found in parts if found is not None)
    return EarlierRows([])


def _made_alike(artifact: Artifact, recipe: Recipe) -> bool:
    """Whether an output was made as the recipe says, from whatever pages."""
    manifest = artifact.manifest()
    if manifest is None:
        return False
    made = manifest.recipe
    return (made.code_version, made.settings, made.libraries) == (
        recipe.code_version,
        recipe.settings,
        recipe.libraries,
    )


def _made_from(artifact: Artifact, source: Artifact) -> bool:
    """Whether an output was made from an input as it is now, so that their rows go together."""
    manifest, source_manifest = artifact.manifest(), source.manifest()
    return (
        manifest is not None
        and source_manifest is not None
        and manifest.recipe.inputs.get(source.label) == source_manifest.data_sha256
    )


def _keyed(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    earlier: str,
    shard: str,
    artifacts: Sequence[Artifact],
    rows: Callable[[], Iterator[tuple[int, T]]],
) -> KeyedRows[T] | None:
    """Return the rows of a shard, verified when they are first needed; None where the shard has none."""
    articles = store.parquet("wikipedia_articles", earlier, shard).manifest()
    if articles is None or not articles.counts["rows"]:
        return None

    def verified_rows() -> Iterator[tuple[int, T]]:
        try:
            for artifact in artifacts:
                artifact.verified()
        except ArtifactError as error:
            context.log.warning(f"nothing is reused from this shard: {error}")
            return iter(())
        return rows()

    return KeyedRows(articles.counts["first_page_id"], articles.counts["last_page_id"], verified_rows)
