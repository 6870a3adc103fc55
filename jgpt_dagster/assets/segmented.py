"""`wikipedia_segmented` and `cc100_segmented`: documents normalised, split into sentences, and these into words."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa

from jgpt_dagster.assets.columns import column_metadata
from jgpt_dagster.assets.stage import StageConfig, failures_in_plain_words, materialize, preview, progress
from jgpt_dagster.corpus.schemas import ARTICLES_SEGMENTED, DOCUMENTS_SEGMENTED
from jgpt_dagster.corpus.segment import SegmentCounts, segment_documents
from jgpt_dagster.partitions import (
    dump_and_shard,
    dump_shard_partitions,
    shard_partitions,
)
from jgpt_dagster.resources import CorpusStore, SegmenterResource
from jgpt_dagster.storage.artifact import ParquetArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows

CODE_VERSION = "1"


@dg.asset(
    group_name="wikipedia",
    kinds={"parquet", "python"},
    partitions_def=dump_shard_partitions,
    deps=["wikipedia_articles"],
    metadata=column_metadata(ARTICLES_SEGMENTED),
    code_version=CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def wikipedia_segmented(
    context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, segmenter: SegmenterResource
) -> dg.MaterializeResult:
    """One row an article: its lines, their sentences, their words."""
    dump, shard = dump_and_shard(context.partition_key)
    source = store.parquet("wikipedia_articles", dump, shard)
    target = store.parquet("wikipedia_segmented", dump, shard)
    return _segment(context, config, store, segmenter, source, target, ARTICLES_SEGMENTED)


@dg.asset(
    group_name="cc100",
    kinds={"parquet", "python"},
    partitions_def=shard_partitions,
    deps=["cc100_documents"],
    metadata=column_metadata(DOCUMENTS_SEGMENTED),
    code_version=CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def cc100_segmented(
    context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, segmenter: SegmenterResource
) -> dg.MaterializeResult:
    """One row a document: its lines, their sentences, their words."""
    source = store.parquet("cc100_documents", shard=context.partition_key)
    target = store.parquet("cc100_segmented", shard=context.partition_key)
    return _segment(context, config, store, segmenter, source, target, DOCUMENTS_SEGMENTED)


def _segment(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    store: CorpusStore,
    engine: SegmenterResource,
    source: ParquetArtifact,
    target: ParquetArtifact,
    schema: pa.Schema,
) -> dg.MaterializeResult:
    with failures_in_plain_words(), engine.open() as segmenter:
        documents = source.verified()
        recipe = Recipe(
            stage=target.asset,
            code_version=CODE_VERSION,
            settings={"text": store.profile},
            inputs={source.label: documents.data_sha256},
            libraries={**library_versions("neologdn", "pyarrow"), "segmenter": segmenter.fingerprint},
        )

        def make(target: ParquetArtifact, recipe: Recipe) -> None:
            counts = SegmentCounts()
            keys: deque[tuple[Any, ...]] = deque()
            bar = progress(context, target, "documents", documents.counts["rows"])

            def lines() -> Iterator[list[str]]:
                for *key, document in read_rows(source.path):
                    keys.append(tuple(key))
                    yield document

            results = segment_documents(lines(), store.profile, segmenter, counts=counts)
            rows = ((*keys.popleft(), document) for document in bar.track(results))
            target.write(schema, rows, recipe, lambda: asdict(counts))

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe(target)
        )


def _describe(target: ParquetArtifact) -> Mapping[str, Any]:
    rows = islice(read_rows(target.path), 200)
    sentences = ((str(key), line[0]) for key, *_, lines in rows for line in lines[1:2] if line)
    return {"preview": preview(list(islice(sentences, 6)))}
