"""Checks of the stages of a corpus: nothing is missing, nothing is there twice, and tokens decode to their text."""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import dagster as dg

from jgpt_dagster.assets.checks.blocking_check import blocking_check
from jgpt_dagster.assets.checks.check_result import listed, result, warning
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.web.document_selection import DROP_REASONS
from jgpt_dagster.corpus.wikipedia.leftover_markup import excerpt, lines_with_leftovers
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer, document_text
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key, shard_keys
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

# Enough to catch what a tokenizer or a writer does wrong everywhere, in well under a second.
SAMPLE_DOCUMENTS = 50

LEAST_KEPT = 0.01
"""The share of a corpus's documents below which the filters are more likely wrong than the corpus."""


def build_corpus_checks(corpus: Corpus) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a corpus's stages."""
    text_checks = _wiki_text_checks(corpus) if corpus.dated else [_no_document_missing(corpus), _documents_kept(corpus)]
    return [*text_checks, _every_document_segmented(corpus), _tokens_decode(corpus)]


def decodes_to_text(tokenizer: TextTokenizer, document: list[list[str]], ids: Any) -> bool:
    """Return whether ids decode to a document's text. Under `seed`, unknown characters are lost by design."""
    if tokenizer.profile == "seed" and tokenizer.unk_id in ids:
        return True
    return ids[-1] == tokenizer.eos_id and tokenizer.decode(ids) == document_text(document, tokenizer.profile)


def _wiki_text_checks(corpus: Corpus) -> list[dg.AssetChecksDefinition]:
    partitions = corpus_partitions(corpus)

    def text_shard(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> list[Artifact]:
        return [_text_shard(store, corpus, context)]

    @blocking_check(corpus.text_asset, text_shard, partitions=partitions)
    def pages_add_up(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """Every page is an article, a redirect, of another namespace, rejected or excluded; every article is a row."""
        counts = _text_shard(store, corpus, context).verified().counts
        outcomes = ("articles", "redirects", "other_namespaces", "rejected", "excluded")
        parts = {name: counts[name] for name in outcomes if name in counts}
        passed = sum(parts.values()) == counts["pages"] and counts["rows"] == counts["articles"]
        found = f"{listed(parts)} in {counts['pages']:,} pages; {counts['rows']:,} rows"
        return result(passed, found, **parts, pages=counts["pages"])

    @blocking_check(corpus.text_asset, text_shard, partitions=partitions)
    def eligible_pages_have_rows(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """A shard with eligible pages has rows. (A small wiki leaves some shards without any page.)"""
        counts = _text_shard(store, corpus, context).verified().counts
        eligible = counts["pages"] - counts["redirects"] - counts["other_namespaces"] - counts.get("excluded", 0)
        return result(counts["rows"] > 0 or not eligible, f"{eligible} eligible pages, {counts['rows']} rows")

    @dg.asset_check(asset=corpus.text_asset, partitions_def=partitions)
    def no_markup_left(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """Under `clean`, no line shows markup, an entity, an empty bracket or the like. Only warns, and shows a line.

        Text that is literal in its article (a `[[` in `<code>`) counts as well. What `seed` leaves is the recipe's.
        """
        shard = _text_shard(store, corpus, context)
        counts = shard.verified().counts
        found = {name: count for name, count in counts["faults"].items() if count}
        description = f"{listed(found) or 'none'} in {counts['lines']:,} lines"
        if not found or store.profile == "seed":
            return warning(True, description)
        return warning(False, description, **_first_faulty_line(shard))

    @dg.asset_check(asset=corpus.text_asset, partitions_def=partitions)
    def articles_kept(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """Rejections and exclusions leave more than a few articles. Only warns: whoever excludes pages may want it so.

        A shard without eligible pages passes.
        """
        counts = _text_shard(store, corpus, context).verified().counts
        eligible = counts["pages"] - counts["redirects"] - counts["other_namespaces"]
        return _kept(counts["rows"], eligible) if eligible else warning(True, "no eligible pages")

    return [pages_add_up, eligible_pages_have_rows, articles_kept, no_markup_left]


def _no_document_missing(corpus: Corpus) -> dg.AssetChecksDefinition:
    def shards(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> list[Artifact]:
        """Return the shards of the run, or all of them if the check is run by itself."""
        of_a_run = context.has_partition_key or context.has_partition_key_range
        keys = shard_keys(context) if of_a_run else store.shard_keys
        return [store.parquet(corpus.text_asset, shard=key) for key in keys]

    # A run writes many shards and Dagster records one evaluation of a run, so this check has no partitions of its own.
    @blocking_check(corpus.text_asset, shards)
    def no_document_missing(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """Every n-th document is in its shard, rejected, excluded, or dropped for a reason: none missing, none twice.

        Checks the shards of the run, or all of them if the check is run by itself.
        """
        return _documents_accounted_for(store, corpus, [shard.partition for shard in shards(context, store)])

    return no_document_missing


def _documents_kept(corpus: Corpus) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=corpus.text_asset)
    def documents_kept(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """The filters keep more than a few documents. Only warns: whoever set the filters may want it so."""
        of_a_run = context.has_partition_key or context.has_partition_key_range
        keys = shard_keys(context) if of_a_run else store.shard_keys
        shards = [store.parquet(corpus.text_asset, shard=key).verified().counts for key in keys]
        kept, documents = (sum(shard[name] for shard in shards) for name in ("rows", "documents"))
        return _kept(kept, documents)

    return documents_kept


def _kept(kept: int, documents: int) -> dg.AssetCheckResult:
    """Return the result of a check that enough documents were kept; Dagster plots the share."""
    share = round(kept / documents, 4) if documents else 0.0
    return warning(*kept_outcome(kept, documents), kept=kept, documents=documents, kept_share=share)


def kept_outcome(kept: int, documents: int) -> tuple[bool, str]:
    """Return whether enough of a corpus's documents were kept, and that in words."""
    share = kept / documents if documents else 0.0
    return kept > 0 and share >= LEAST_KEPT, f"{kept:,} of {documents:,} documents kept ({share:.1%})"


def _every_document_segmented(corpus: Corpus) -> dg.AssetChecksDefinition:
    noun, key_column = corpus.document_noun, corpus.key_column

    @blocking_check(
        corpus.segmented_asset,
        lambda context, store: [store.parquet(corpus.segmented_asset, *shard_key(context, corpus))],
        name=f"every_{noun}_segmented",
        partitions=corpus_partitions(corpus),
        description=f"There is one row for each {noun}, in the same order.",
    )
    def every_document_segmented(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        source = _text_shard(store, corpus, context)
        target = store.parquet(corpus.segmented_asset, *shard_key(context, corpus))
        expected, found = (artifact.verified().counts["rows"] for artifact in (source, target))
        rows = 0
        for before, after in zip(_keys(source, key_column), _keys(target, key_column), strict=False):
            if before != after:
                return result(False, f"row {rows} is {key_column} {after}, expected {before}")
            rows += 1
        return result(rows == expected == found, f"{found} rows of {expected}")

    return every_document_segmented


def _tokens_decode(corpus: Corpus) -> dg.AssetChecksDefinition:
    @blocking_check(
        corpus.tokens_asset,
        lambda context, store: [store.directory(corpus.tokens_asset, *shard_key(context, corpus))],
        name=f"{corpus.document_noun}_tokens_decode",
        partitions=corpus_partitions(corpus),
    )
    def tokens_decode(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """The token file has one document for each row of the corpus, and documents decode to their text."""
        partition = shard_key(context, corpus)
        segmented = store.parquet(corpus.segmented_asset, *partition)
        tokens = store.directory(corpus.tokens_asset, *partition)
        documents, rows = tokens.verified().counts["documents"], segmented.verified().counts["rows"]
        if documents != rows:
            return result(False, f"{documents} documents, expected {rows}")
        tokenizer, _ = open_tokenizer(store)
        file = TokenFile(tokens.path)
        sample = islice(read_rows(segmented.path, [corpus.key_column, "lines"]), SAMPLE_DOCUMENTS)
        wrong = [
            key
            for index, (key, document) in enumerate(sample)
            if key != file.documents["key"][index] or not decodes_to_text(tokenizer, document, file.document(index))
        ]
        sampled = min(len(file), SAMPLE_DOCUMENTS)
        return result(
            not wrong, f"{sampled - len(wrong)} of {sampled} documents decode to their text; wrong: {wrong[:10]}"
        )

    return tokens_decode


def _text_shard(store: CorpusStore, corpus: Corpus, context: dg.AssetCheckExecutionContext) -> ParquetArtifact:
    return store.parquet(corpus.text_asset, *shard_key(context, corpus))


def _documents_accounted_for(store: CorpusStore, corpus: Corpus, keys: Sequence[str]) -> dg.AssetCheckResult:
    totals = Counter[str]()
    for key in keys:
        shard = store.parquet(corpus.text_asset, shard=key)
        counts = shard.verified().counts
        expected = range(int(key), counts["archive_documents"], store.shards)
        parts, last = Counter(rows=0, rejected=0), -1
        rows = ((number, "rows") for number in _keys(shard, corpus.key_column))
        for number, kind in heapq.merge(rows, ((number, "rejected") for number in _rejected_ids(shard))):
            if number <= last or number not in expected:
                return result(False, f"the document ids of shard {key} are not in order, or not its own")
            parts[kind] += 1
            last = number
        parts.update({name: counts[f"dropped_{name}"] for name in DROP_REASONS})
        parts.update({"excluded": counts["excluded"]} if "excluded" in counts else {})
        if parts.total() != len(expected):
            return result(False, f"shard {key}: {listed(parts)} of {len(expected):,} documents")
        totals.update(parts)
    return result(True, f"{len(keys)} shards: {listed(totals)} of {sum(totals.values()):,} documents", **totals)


def _rejected_ids(shard: ParquetArtifact) -> Iterator[int]:
    with shard.rejected_path.open() as lines:
        yield from (json.loads(line)["document_id"] for line in lines)


def _first_faulty_line(shard: ParquetArtifact) -> dict[str, Any]:
    """Return the kind and page of the first leftover markup, and the line around it, as metadata."""
    for page_id, title, (_, *lines) in read_rows(shard.path, ["page_id", "title", "lines"]):
        for line, names in lines_with_leftovers(lines):
            found = {"first_kind": names[0], "page_id": page_id, "title": title, "line": excerpt(line, names[0])}
            return {name: one_line(value) if isinstance(value, str) else value for name, value in found.items()}
    return {"line": "no row shows any: materialize it with `force: true`"}


def _keys(artifact: ParquetArtifact, key_column: str) -> Iterator[int]:
    return (row[0] for row in read_rows(artifact.path, [key_column]))
