"""Rows that a stage can reuse: of the previous dump, by how its shards were made, or of the output as it was before.

A row is reused only if the stage's code version, settings and libraries are equal, so that the output's bytes are those
of a full rebuild. A shard that is damaged or was made differently is skipped, and its rows are made again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, repeat
from typing import Any, TypeVar

import dagster as dg

from jgpt_dagster.assets.metadata import FULL_SECONDS, MAKING_RATE
from jgpt_dagster.assets.own_rows import Before, before, same_rows
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.exclusions.screen import exclusions_of, without_exclusions
from jgpt_dagster.corpus.left_out.ledger import LedgerRow
from jgpt_dagster.corpus.row_reuse import PreviousRows, PreviousShard
from jgpt_dagster.lm.data.token_files import EncodedDocument, TokenFile
from jgpt_dagster.orchestration.partitions import ShardKey
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact, ArtifactError
from jgpt_dagster.storage.manifest import ACCOUNT, Recipe
from jgpt_dagster.storage.parquet import read_rows, read_text_rows
from jgpt_dagster.storage.text_cells import TextCell

T = TypeVar("T")

_LAST_KEY = (1 << 63) - 1


def previous_articles(
    context: dg.AssetExecutionContext, store: CorpusStore, corpus: Corpus, key: ShardKey, recipe: Recipe
) -> PreviousRows[tuple[int, str, TextCell, LedgerRow]]:
    """Return (revision id, title, lines, row of the account) by page id, from the previous dump.

    A shard that was made of the same pages, and without documents that are excluded no more, has its own rows reused.
    Under `seed` there is no account, and its rows are empty.
    """

    def part(shard: str, dump: str) -> PreviousShard[tuple[int, str, TextCell, LedgerRow]] | None:
        articles = store.parquet(corpus.text_asset, dump, shard)
        manifest = articles.manifest()
        has_account = store.profile == "clean"
        if has_account and manifest and ACCOUNT not in manifest.files:
            context.log.info(
                f"{articles.label} is from before there were accounts of what is left out: nothing is reused"
            )
            return None

        def rows() -> Iterator[tuple[int, tuple[int, str, TextCell, LedgerRow]]]:
            columns = ["page_id", "revision_id", "title", "lines"]
            account: Iterator[LedgerRow] = read_rows(articles.account_path) if has_account else repeat(())
            for (page_id, *row), figures in zip(read_text_rows(articles.path, columns), account, strict=has_account):
                yield page_id, (*row, figures)

        return _part(context, recipe, articles, [articles], rows)

    target = store.parquet(corpus.text_asset, key.dump, key.shard)
    own = target.manifest()
    lost_rows = own and exclusions_of(own.recipe) and own.recipe.inputs == recipe.inputs
    if own and lost_rows and not target.find_mismatch(own) and (found := part(key.shard, key.dump or "")):
        return PreviousRows([found])
    return _previous_rows(store, corpus, corpus.text_asset, key, part)


def previous_segmented(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    corpus: Corpus,
    key: ShardKey,
    recipe: Recipe,
    own: Before | None,
) -> PreviousRows[tuple[TextCell | None, TextCell]]:
    """Return (lines, segmented lines) by key: those of `own`, the output as it was before, or of the previous dump.

    Lines that are None are those that the text has now.
    """
    if own:
        target = store.parquet(corpus.segmented_asset, *key)
        rows_now = read_text_rows(target.path, [corpus.key_column, "lines"])
        return _own(own, lambda: ((number, (None, lines)) for number, lines in rows_now))

    def part(shard: str, dump: str) -> PreviousShard[tuple[TextCell | None, TextCell]] | None:
        articles = store.parquet(corpus.text_asset, dump, shard)
        segmented = store.parquet(corpus.segmented_asset, dump, shard)

        def rows() -> Iterator[tuple[int, tuple[TextCell | None, TextCell]]]:
            sources = read_text_rows(articles.path, ["page_id", "lines"])
            results = read_text_rows(segmented.path, ["lines"])
            for (page_id, lines), (result,) in zip(sources, results, strict=True):
                yield page_id, (lines, result)

        return _part(context, recipe, articles, [articles, segmented], rows)

    return _previous_rows(store, corpus, corpus.segmented_asset, key, part)


def previous_tokens(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    corpus: Corpus,
    key: ShardKey,
    recipe: Recipe,
    own: Before | None,
) -> PreviousRows[tuple[TextCell | None, EncodedDocument]]:
    """Return (segmented lines, document) by key: those of `own`, the output as it was before, or of the previous dump.

    Lines that are None are those that the segmented text has now.
    """
    if own:
        file = TokenFile(store.directory(corpus.tokens_asset, *key).path)
        return _own(own, lambda: ((document.key, (None, document)) for document in file))

    def part(shard: str, dump: str) -> PreviousShard[tuple[TextCell | None, EncodedDocument]] | None:
        articles = store.parquet(corpus.text_asset, dump, shard)
        segmented = store.parquet(corpus.segmented_asset, dump, shard)
        tokens = store.directory(corpus.tokens_asset, dump, shard)

        def rows() -> Iterator[tuple[int, tuple[TextCell | None, EncodedDocument]]]:
            texts = read_text_rows(segmented.path, ["lines"])
            for (lines,), document in zip(texts, TokenFile(tokens.path), strict=True):
                yield document.key, (lines, document)

        return _part(context, recipe, articles, [segmented, tokens], rows)

    return _previous_rows(store, corpus, corpus.tokens_asset, key, part)


def rows_before(target: Artifact, source: Artifact, recipe: Recipe) -> Before | None:
    """Return an output as it was before, if its source has kept the rows of the one that it was made of, else None.

    The source may have lost or regained other rows since. Only what the recipe makes of a row counts. It is undamaged.
    """
    found = before(target)
    if found is None or not _same_recipe(found.manifest.recipe, recipe):
        return None
    made_of, now = (inputs.get(source.recipe_label) for inputs in (found.manifest.recipe.inputs, recipe.inputs))
    if made_of == now or made_of not in same_rows(source) or target.find_mismatch(found.manifest):
        return None
    return found


def speed_before(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record of an output says of the cost of making it, for that of one that reuses all its rows."""
    known = {MAKING_RATE: record.get(MAKING_RATE), FULL_SECONDS: _full_seconds(record)}
    return {name: value for name, value in known.items() if value is not None}


def _own(own: Before, rows: Callable[[], Iterator[tuple[int, T]]]) -> PreviousRows[T]:
    part = PreviousShard(0, _LAST_KEY, rows, own.record.get(MAKING_RATE))
    return PreviousRows([part], _full_seconds(own.record))


def _previous_rows(
    store: CorpusStore, corpus: Corpus, asset: str, key: ShardKey, part: Callable[[str, str], PreviousShard[T] | None]
) -> PreviousRows[T]:
    """Return the rows of the newest earlier dump for which an asset has every shard, complete or not.

    A corpus without dumps has no earlier rows.
    """
    for dump in reversed(store.root.dumps(asset)) if key.dump else ():
        shards = store.catalog.all_shards(corpus, asset, dump)
        if dump < (key.dump or "") and all(shard.location.exists() for shard in shards):
            parts = [part(shard, dump) for shard in store.shard_keys]
            record = shards[store.shard_keys.index(key.shard)].run_record()
            return PreviousRows((found for found in parts if found is not None), _full_seconds(record))
    return PreviousRows([])


def _full_seconds(record: Mapping[str, Any]) -> float | None:
    """Return how long the last run of a shard took that reused nothing, from the record of its last run, if known."""
    seconds: float | None = record.get(FULL_SECONDS if record.get("reused_rows") else "seconds")
    return seconds


def _part(
    context: dg.AssetExecutionContext,
    recipe: Recipe,
    articles: Artifact,
    chain: Sequence[Artifact],
    rows: Callable[[], Iterator[tuple[int, T]]],
) -> PreviousShard[T] | None:
    """Return the rows of a shard, verified when they are first needed; None if the shard has none to reuse.

    `chain` is what the rows are read from: each output is made from the one before it, the last by the recipe.
    `articles` knows which pages the shard has.
    """
    try:
        # An output without a manifest is incomplete, and `verified` says so.
        manifests = [artifact.manifest() or artifact.verified() for artifact in chain]
        pages = (articles.manifest() or articles.verified()).counts
    except ArtifactError as error:
        _warn(context, error)
        return None
    made_from_each_other = all(
        made.recipe.inputs.get(source.recipe_label) == found.data_sha256
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
    """Return whether two recipes differ only in the pages that they are for."""
    return (
        made.code_version == recipe.code_version
        and without_exclusions(made).settings == without_exclusions(recipe).settings
        and made.libraries == recipe.libraries
        and made.inputs.get("tokenizer") == recipe.inputs.get("tokenizer")
    )


def _warn(context: dg.AssetExecutionContext, error: ArtifactError) -> None:
    context.log.warning(f"nothing is reused from a shard of an earlier dump: {error}")
