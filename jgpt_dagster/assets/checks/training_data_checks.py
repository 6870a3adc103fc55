"""Checks of the tokenizer and the training set."""

from itertools import islice

import dagster as dg

from jgpt_dagster.assets.checks.blocking_check import blocking_check
from jgpt_dagster.assets.checks.check_result import listed, result
from jgpt_dagster.assets.checks.corpus_checks import SAMPLE_DOCUMENTS, decodes_to_text
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.literal_text import markdown_text, one_line
from jgpt_dagster.lm.tokenizer.text_tokenizer import document_text
from jgpt_dagster.orchestration.partitions import dump_key, dump_partitions
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.parquet import read_rows


@blocking_check(TOKENIZER, lambda context, store: [store.directory(TOKENIZER)])
def text_survives_encoding(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """Documents that the tokenizer was trained on come back from their token ids. Their dump may have been removed."""
    tokenizer, manifest = open_tokenizer(store)
    shards = (store.root.parquet_by_label(label) for label in manifest.recipe.inputs)
    shard = next((shard for shard in shards if shard.manifest()), None)
    if shard is None:
        return result(True, "the corpora that it was trained on were removed")
    shard.verified()
    documents = [lines for (lines,) in islice(read_rows(shard.path, ["lines"]), SAMPLE_DOCUMENTS)]
    wrong = [
        document
        for document, ids in zip(documents, tokenizer.encode_documents(documents), strict=True)
        if not decodes_to_text(tokenizer, document, ids)
    ]
    found = f"{len(documents) - len(wrong)} of {len(documents)} documents come back"
    if not wrong:
        return result(True, found)
    first = f"number {documents.index(wrong[0]) + 1} of {markdown_text(shard.label)}"
    found += (
        f". The first that does not is {first}. The tokenizer's files were changed, or its code has a bug: train it "
        "again (`retrain: true`), then tokens and models"
    )
    return result(False, found, begins_with=one_line(document_text(wrong[0], tokenizer.profile)[:40]))


@blocking_check(
    TRAINING_SET,
    lambda context, store: [store.directory(TRAINING_SET, dump_key(context))],
    partitions=dump_partitions,
)
def documents_add_up(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
    """If no corpus is weighted, every document is trained on, held out, or skipped as empty."""
    manifest = store.directory(TRAINING_SET, dump_key(context)).verified()
    counts = manifest.counts
    if set(manifest.recipe.settings["weights"].values()) != {1.0}:
        return result(True, "corpora are weighted: documents count as often as they are repeated")
    parts = {name: counts[f"{name}_documents"] for name in ("train", "validation", "skipped")}
    found = f"{listed(parts)} of {counts['documents']:,} documents"
    return result(sum(parts.values()) == counts["documents"], found, **parts)


TRAINING_DATA_CHECKS = [text_survives_encoding, documents_add_up]
