"""Asset checks: what each stage promises, looked at from outside. Blocking where what follows builds on it.

They read what lies on disk, so a check that is run again later still tells the truth.
"""

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg

from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.corpus.web.document_selection import DROP_REASONS
from jgpt_dagster.corpus.wikipedia.leftover_markup import excerpt, lines_with_leftovers
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer, document_text
from jgpt_dagster.orchestration.partitions import (
    dump_and_shard,
    dump_partitions,
    dump_shard_partitions,
    shard_partitions,
)
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

# Enough to catch what a tokenizer or a writer does wrong everywhere, in well under a second.
_SAMPLE_DOCUMENTS = 50


@dg.asset_check(asset="wikipedia_articles", partitions_def=dump_shard_partitions, blocking=True)
def pages_add_up(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Every page is an article, a redirect, of another namespace or rejected, and every article is a row."""
    counts = store.parquet("wikipedia_articles", *dump_and_shard(context.partition_key)).verified().counts
    parts = {name: counts[name] for name in ("articles", "redirects", "other_namespaces", "rejected")}
    passed = sum(parts.values()) == counts["pages"] and counts["rows"] == counts["articles"]
    listed = f"{_listed(parts)} in {counts['pages']:,} pages; {counts['rows']:,} rows"
    return _result(passed, listed, **parts, pages=counts["pages"])


@dg.asset_check(asset="wikipedia_articles", partitions_def=dump_shard_partitions, blocking=True)
def eligible_pages_have_rows(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """A shard that has pages to take has rows. (A small wiki leaves some shards without any page.)"""
    counts = store.parquet("wikipedia_articles", *dump_and_shard(context.partition_key)).verified().counts
    eligible = counts["pages"] - counts["redirects"] - counts["other_namespaces"]
    return _result(counts["rows"] > 0 or not eligible, f"{eligible} eligible pages, {counts['rows']} rows")


@dg.asset_check(asset="wikipedia_articles", partitions_def=dump_shard_partitions)
def no_markup_left(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Under `clean`, no line shows markup, an entity, an empty bracket or the like. Only warns, and names a line.

    Text that is literal in its article (a `[[` in `<code>`) counts as well. What `seed` leaves behind is the recipe's.
    """
    shard = store.parquet("wikipedia_articles", *dump_and_shard(context.partition_key))
    counts = shard.verified().counts
    found = {name: count for name, count in counts["faults"].items() if count}
    listed = f"{_listed(found) or 'none'} in {counts['lines']:,} lines"
    passed = not found or store.profile == "seed"
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=listed if passed else f"{listed}; {_first_fault(shard)}",
    )


@dg.asset_check(asset="wikipedia_segmented", partitions_def=dump_shard_partitions, blocking=True)
def every_article_segmented(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """There is one row an article, in the same order."""
    dump, shard = dump_and_shard(context.partition_key)
    source, target = (store.parquet(name, dump, shard) for name in ("wikipedia_articles", "wikipedia_segmented"))
    return _same_keys(source, target, "page_id")


@dg.asset_check(asset="tokenizer", blocking=True)
def text_survives_encoding(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Documents that it was trained on come back from their token ids. Their dump may be gone."""
    tokenizer, manifest = open_tokenizer(store)
    shards = (store.root.parquet_by_label(label) for label in manifest.recipe.inputs)
    shard = next((shard for shard in shards if shard.manifest()), None)
    if shard is None:
        return _result(True, "the corpora that it was trained on were removed")
    shard.verified()
    documents = [lines for (lines,) in islice(read_rows(shard.path, ["lines"]), _SAMPLE_DOCUMENTS)]
    wrong = [
        document
        for document, ids in zip(documents, tokenizer.encode_documents(documents), strict=True)
        if not _comes_back(tokenizer, document, ids)
    ]
    found = f"{len(documents) - len(wrong)} of {len(documents)} documents come back"
    if wrong:
        first = document_text(wrong[0], tokenizer.profile)[:40].strip()
        found += (
            f". The first that does not begins with {first!r}. The tokenizer's files were changed, or its code has a "
            "fault: train it anew (`retrain: true`), and tokens and models after it"
        )
    return _result(not wrong, found)


@dg.asset_check(asset="wikipedia_tokens", partitions_def=dump_shard_partitions, blocking=True)
def article_tokens_decode(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """The token file has a document a row of the corpus, and documents decode to their text."""
    dump, shard = dump_and_shard(context.partition_key)
    segmented = store.parquet("wikipedia_segmented", dump, shard)
    return _tokens_decode(store, segmented, "page_id", store.directory("wikipedia_tokens", dump, shard))


@dg.asset_check(asset="training_set", partitions_def=dump_partitions, blocking=True)
def documents_add_up(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Where no corpus is weighted, every document is trained on, held out, or skipped as empty."""
    manifest = store.directory("training_set", context.partition_key).verified()
    counts = manifest.counts
    if set(manifest.recipe.settings["weights"].values()) != {1.0}:
        return _result(True, "corpora are weighted: documents count as often as they are seen")
    parts = {name: counts[f"{name}_documents"] for name in ("train", "validation", "skipped")}
    listed = f"{_listed(parts)} of {counts['documents']:,} documents"
    return _result(sum(parts.values()) == counts["documents"], listed, **parts)


@dg.asset_check(asset="pretrained_model", partitions_def=dump_partitions, blocking=True)
def loss_fell(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """The loss is finite, and lower at the end than at the beginning of a run that began from scratch and warmed up."""
    manifest = store.model_directory("pretrained_model", context.partition_key).verified()
    counts = manifest.counts
    first, last = counts["first_loss"], counts["last_loss"]
    must_fall = not counts["warm_start"] and counts["steps"] > counts["warmup_steps"]
    passed = math.isfinite(first) and math.isfinite(last) and (last < first or not must_fall)
    return _result(passed, f"loss {first:.4f} at first, {last:.4f} at last", first_loss=first, last_loss=last)


@dg.asset_check(asset="evaluation", partitions_def=dump_partitions, blocking=True)
def scores_are_finite(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Something was held out and scored."""
    counts = store.model_directory("evaluation", context.partition_key).verified().counts
    value = counts["bits_per_character"]
    return _result(math.isfinite(value) and counts["tokens"] > 0, f"{value:.4f} bits per character")


@dg.asset_check(asset="evaluation", partitions_def=dump_partitions)
def better_than_bigrams(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """The model needs fewer bits than a table of which token follows which. Only warns: a short trial run may not."""
    counts = store.model_directory("evaluation", context.partition_key).verified().counts
    model, bigrams = counts["bits_per_character"], counts["bigram_bits_per_character"]
    low, high = counts["bigram_margin_low"], counts["bigram_margin_high"]
    sure = (
        "too few documents for an interval" if low is None else f"95 % interval of the margin {low:.4f} to {high:.4f}"
    )
    return dg.AssetCheckResult(
        passed=model < bigrams,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{model:.4f} bits per character, bigrams {bigrams:.4f}; {sure}",
    )


@dg.asset_check(asset="release", partitions_def=dump_partitions, blocking=True)
def opens_offline(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """`AutoTokenizer` and `AutoModelForCausalLM` open the directory, and they fit each other."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    release = store.model_directory("release", context.partition_key)
    release.verified()
    tokenizer = AutoTokenizer.from_pretrained(release.path, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(release.path, local_files_only=True)
    parameters = model.num_parameters()
    passed = len(tokenizer) == model.config.vocab_size
    return _result(passed, f"{len(tokenizer):,} tokens, {parameters:,} parameters", parameters=parameters)


def build_corpus_checks(corpus: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a corpus that has no dumps."""

    # A run writes many shards and Dagster records one evaluation of a run, so this check has no partitions of its own.
    @dg.asset_check(asset=f"{corpus}_documents", blocking=True)
    def no_document_missing(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """Every n-th document is in its shard, rejected, or dropped for a reason: none missing, none twice.

        Looks at the shards of the run, or at all of them where the check is run by itself.
        """
        of_a_run = context.has_partition_key or context.has_partition_key_range
        keys = context.partition_keys if of_a_run else store.shard_keys
        return _documents_accounted_for(store, corpus, keys)

    @dg.asset_check(asset=f"{corpus}_segmented", partitions_def=shard_partitions, blocking=True)
    def every_document_segmented(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """There is one row a document, in the same order."""
        source, target = (
            store.parquet(name, shard=context.partition_key) for name in (f"{corpus}_documents", f"{corpus}_segmented")
        )
        return _same_keys(source, target, "document_id")

    @dg.asset_check(asset=f"{corpus}_tokens", partitions_def=shard_partitions, blocking=True)
    def document_tokens_decode(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """The token file has a document a row of the corpus, and documents decode to their text."""
        segmented = store.parquet(f"{corpus}_segmented", shard=context.partition_key)
        return _tokens_decode(
            store, segmented, "document_id", store.directory(f"{corpus}_tokens", shard=context.partition_key)
        )

    return [no_document_missing, every_document_segmented, document_tokens_decode]


def _result(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=passed, description=description, metadata=metadata)


def _documents_accounted_for(store: CorpusStore, corpus: str, keys: Sequence[str]) -> dg.AssetCheckResult:
    totals = Counter[str]()
    for key in keys:
        shard = store.parquet(f"{corpus}_documents", shard=key)
        counts = shard.verified().counts
        expected = range(int(key), counts["archive_documents"], store.shards)
        parts, last = Counter(rows=0, rejected=0), -1
        rows = ((number, "rows") for number in _keys(shard, "document_id"))
        for number, kind in heapq.merge(rows, ((number, "rejected") for number in _rejected_ids(shard))):
            if number <= last or number not in expected:
                return _result(False, f"the document ids of shard {key} are not in order, or not its own")
            parts[kind] += 1
            last = number
        parts.update({name: counts[f"dropped_{name}"] for name in DROP_REASONS})
        if parts.total() != len(expected):
            return _result(False, f"shard {key}: {_listed(parts)} of {len(expected):,} documents")
        totals.update(parts)
    return _result(True, f"{len(keys)} shards: {_listed(totals)} of {sum(totals.values()):,} documents", **totals)


def _rejected_ids(shard: ParquetArtifact) -> Iterator[int]:
    with shard.rejected_path.open() as lines:
        yield from (json.loads(line)["document_id"] for line in lines)


def _listed(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in parts.items())


def _first_fault(shard: ParquetArtifact) -> str:
    """Name the page of the first faulty line, and show the line around its fault."""
    for page_id, title, (_, *lines) in read_rows(shard.path, ["page_id", "title", "lines"]):
        for line, names in lines_with_leftovers(lines):
            return f"the first: {names[0]} on page {page_id} '{title}': {excerpt(line, names[0])}"
    return "no row shows any: materialize it with `force: true`"


def _same_keys(source: ParquetArtifact, target: ParquetArtifact, key: str) -> dg.AssetCheckResult:
    expected, found = (artifact.verified().counts["rows"] for artifact in (source, target))
    rows = 0
    for before, after in zip(_keys(source, key), _keys(target, key), strict=False):
        if before != after:
            return _result(False, f"row {rows} is {key} {after}, expected {before}")
        rows += 1
    return _result(rows == expected == found, f"{found} rows of {expected}")


def _keys(artifact: ParquetArtifact, key: str) -> Iterator[int]:
    return (row[0] for row in read_rows(artifact.path, [key]))


def _tokens_decode(
    store: CorpusStore, segmented: ParquetArtifact, key: str, tokens: DirectoryArtifact
) -> dg.AssetCheckResult:
    documents, rows = tokens.verified().counts["documents"], segmented.verified().counts["rows"]
    if documents != rows:
        return _result(False, f"{documents} documents, expected {rows}")
    tokenizer, _ = open_tokenizer(store)
    file = TokenFile(tokens.path)
    wrong = [
        page
        for index, (page, document) in enumerate(islice(read_rows(segmented.path, [key, "lines"]), _SAMPLE_DOCUMENTS))
        if page != file.documents["key"][index] or not _comes_back(tokenizer, document, file.document(index))
    ]
    sampled = min(len(file), _SAMPLE_DOCUMENTS)
    return _result(
        not wrong, f"{sampled - len(wrong)} of {sampled} documents decode to their text; wrong: {wrong[:10]}"
    )


def _comes_back(tokenizer: TextTokenizer, document: list[list[str]], ids: Any) -> bool:
    """Whether ids decode to a document's text. Under `seed`, unknown characters are lost by design."""
    if tokenizer.profile == "seed" and tokenizer.unk_id in ids:
        return True
    return ids[-1] == tokenizer.eos_id and tokenizer.decode(ids) == document_text(document, tokenizer.profile)
