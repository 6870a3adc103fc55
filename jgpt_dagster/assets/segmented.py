"""`<corpus>_segmented`: documents normalised, split into sentences, and these into words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa

from jgpt_dagster.assets.column_schemas import column_metadata
from jgpt_dagster.assets.materialize import (
    StageConfig,
    as_dagster_failure,
    materialize,
    preview,
    progress,
    reuse_facts,
)
from jgpt_dagster.assets.previous_dump import SegmentedLines, previous_segmented
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.corpus.schemas import ARTICLES_SEGMENTED, DOCUMENTS_SEGMENTED
from jgpt_dagster.corpus.text.segment import SegmentCounts, segment_documents
from jgpt_dagster.orchestration.partitions import (
    dump_and_shard,
    dump_shard_partitions,
    shard_partitions,
)
from jgpt_dagster.orchestration.resources import CorpusStore, SegmenterResource
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

CODE_VERSION = "2"

PreviousSegmented = PreviousRows[tuple[list[str], SegmentedLines]]

# Where nearly all is reused, a chunk this large still gives the engine a batch that is worth its while.
_CHUNK_ROWS = 1024
_CHUNK_CHARACTERS = 4 << 20


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
    """One row an article: its lines, their sentences, their words.

    An article whose lines an earlier dump has too is taken from there.
    """
    dump, shard = dump_and_shard(context.partition_key)
    source = store.parquet("wikipedia_articles", dump, shard)
    target = store.parquet("wikipedia_segmented", dump, shard)

    def earlier(recipe: Recipe) -> PreviousSegmented:
        return PreviousRows([]) if config.force else previous_segmented(context, store, dump, recipe)

    return _segment(context, config, store, segmenter, source, target, ARTICLES_SEGMENTED, earlier)


def build_segmented(corpus: str) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_segmented` of a corpus that has no dumps."""

    @dg.asset(
        name=f"{corpus}_segmented",
        group_name=corpus,
        kinds={"parquet", "python"},
        partitions_def=shard_partitions,
        deps=[f"{corpus}_documents"],
        metadata=column_metadata(DOCUMENTS_SEGMENTED),
        code_version=CODE_VERSION,
        op_tags={"dagster-celery/queue": "cpu"},
    )
    def segmented(
        context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, segmenter: SegmenterResource
    ) -> dg.MaterializeResult:
        """One row a document: its lines, their sentences, their words."""
        source = store.parquet(f"{corpus}_documents", shard=context.partition_key)
        target = store.parquet(f"{corpus}_segmented", shard=context.partition_key)
        return _segment(
            context, config, store, segmenter, source, target, DOCUMENTS_SEGMENTED, lambda recipe: PreviousRows([])
        )

    return segmented


def _segment(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    store: CorpusStore,
    engine: SegmenterResource,
    source: ParquetArtifact,
    target: ParquetArtifact,
    schema: pa.Schema,
    previous_rows: Callable[[Recipe], PreviousSegmented],
) -> dg.MaterializeResult:
    with as_dagster_failure(), engine.open() as segmenter:
        documents = source.verified()
        recipe = Recipe(
            stage=target.asset,
            code_version=CODE_VERSION,
            settings={"text": store.profile},
            inputs={source.label: documents.data_sha256},
            libraries={**library_versions("neologdn", "pyarrow"), "segmenter": segmenter.fingerprint},
        )

        def make(target: ParquetArtifact, recipe: Recipe) -> Mapping[str, Any]:
            earlier = previous_rows(recipe)
            counts, tally, fallbacks = SegmentCounts(), ReuseStats(earlier.rate), segmenter.fallbacks
            bar = progress(context, target, "documents", documents.counts["rows"])

            def segmented(chunk: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
                """Segment what no earlier dump has, and put the rows together in their order."""
                known = [_known(earlier, key, lines, tally) for key, *_, lines in chunk]
                unknown = [row[-1] for row, found in zip(chunk, known, strict=True) if found is None]
                size = sum(len(line) for lines in unknown for line in lines)
                results = tally.measure(
                    lambda: iter(list(segment_documents(unknown, store.profile, segmenter))), len(unknown), size
                )
                for (*key, lines), found in zip(chunk, known, strict=True):
                    result = next(results) if found is None else found
                    counts.add(lines, result)
                    bar.count_secondary("sentences", sum(map(len, result)))
                    bar.count_input_bytes(len("".join(lines).encode()))
                    yield (*key, result)

            rows = (row for chunk in _chunks(read_rows(source.path)) for row in segmented(chunk))
            target.write(schema, bar.track(rows), recipe, lambda: asdict(counts))
            return {**reuse_facts(tally), "fallbacks": segmenter.fallbacks - fallbacks}

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe(target)
        )


def _known(earlier: PreviousSegmented, key: int, lines: list[str], tally: ReuseStats) -> SegmentedLines | None:
    """Return what an earlier dump made of the same lines of the same page."""
    found = earlier.seek(key)
    if found is None or found[0] != lines:
        return None
    tally.count_reused(sum(map(len, lines)))
    return found[1]


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows into chunks that keep the engine busy and memory bounded."""
    chunk: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(map(len, row[-1]))
        if len(chunk) >= _CHUNK_ROWS or size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _describe(target: ParquetArtifact) -> Mapping[str, Any]:
    rows = islice(read_rows(target.path), 200)
    sentences = ((str(key), line[0]) for key, *_, lines in rows for line in lines[1:2] if line)
    return {"preview": preview(list(islice(sentences, 6)))}
