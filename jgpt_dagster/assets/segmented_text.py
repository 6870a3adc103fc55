"""`<corpus>_segmented`: documents normalised, split into sentences, and sentences into words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.column_metadata import column_metadata
from jgpt_dagster.assets.materialize import (
    Materialization,
    StageConfig,
    materialize,
    progress,
    reuse_facts,
)
from jgpt_dagster.assets.metadata import preview
from jgpt_dagster.assets.previous_dump import previous_segmented, rows_before
from jgpt_dagster.assets.stage_pictures import reuse
from jgpt_dagster.assets.tokenizer import require_tokenizer_engine
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.corpus.text.segment import SegmentCounts, segment_documents
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore, SegmenterResource
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows, read_text_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.text_cells import TextCell, to_lists

CODE_VERSION = "3"

PreviousSegmented = PreviousRows[tuple[TextCell | None, TextCell]]

# Even if nearly all rows are reused, a chunk this large gives the engine a batch that is worth its while.
_CHUNK_ROWS = 1024
_CHUNK_CHARACTERS = 4 << 20


def build_segmented(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_segmented`."""
    description = f"One row for each {corpus.document_noun}: its lines, their sentences, their words."
    if corpus.dated:
        description += "\n\nAn article whose lines an earlier dump has too is taken from there."

    @stage_asset(
        corpus.segmented_asset,
        group=corpus.name,
        kinds={"parquet", "python"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[corpus.text_asset],
        metadata=column_metadata(corpus.segmented_schema),
        description=description,
    )
    def segmented(
        context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, segmenter: SegmenterResource
    ) -> Materialization:
        partition = shard_key(context, corpus)
        source, target = (store.parquet(asset, *partition) for asset in (corpus.text_asset, corpus.segmented_asset))
        with segmenter.open() as engine:
            require_tokenizer_engine(store.catalog.tokenizer, store.segmenter, engine.fingerprint)
            documents = source.verified()
            recipe = Recipe(
                stage=target.asset,
                code_version=CODE_VERSION,
                settings={"text": store.profile},
                inputs={source.recipe_label: documents.data_sha256},
                libraries={**_libraries(store.profile), "segmenter": engine.fingerprint},
            )

            def make(target: ParquetArtifact, recipe: Recipe) -> Mapping[str, Any]:
                previous: PreviousSegmented = PreviousRows([])
                own = rows_before(target, source, recipe)
                if not config.force:
                    previous = previous_segmented(context, store, corpus, partition, recipe, own)
                counts, stats, fallbacks = (
                    SegmentCounts(),
                    ReuseStats(previous.rate, previous.full_seconds),
                    engine.fallbacks,
                )
                bar = progress(context, target, "documents", documents.counts["rows"])

                def segment_chunk(chunk: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
                    """Segment what the previous dump does not have, and yield the rows in their order."""
                    reused = [_reused(previous, key, lines, stats) for key, *_, lines in chunk]
                    new = [row[-1] for row, found in zip(chunk, reused, strict=True) if found is None]
                    texts, size = to_lists(new), sum(lines.characters for lines in new)
                    results = stats.measure(
                        lambda: list(segment_documents(texts, store.profile, engine)), len(texts), size
                    )
                    made = zip(texts, results, strict=True)
                    for (*key, lines), found in zip(chunk, reused, strict=True):
                        bar.count_input_bytes(lines.size)
                        if found is None:
                            text, result = next(made)
                            counts.add(text, result)
                            bar.count_secondary("sentences", sum(map(len, result)))
                            yield (*key, result)
                        else:
                            counts.add_cells(lines, found)
                            bar.count_secondary("sentences", found.strings)
                            yield (*key, found)

                rows = (row for chunk in _chunks(source, corpus) for row in segment_chunk(chunk))
                made = target.write(corpus.segmented_schema, bar.track(rows), recipe, lambda: asdict(counts))
                same_rows = own.facts(made) if own else {}
                return {**reuse_facts(stats), "fallbacks": engine.fallbacks - fallbacks, **same_rows}

            return materialize(
                context,
                store,
                target,
                recipe,
                make,
                force=config.force,
                describe=lambda _: {
                    **reuse(store, lambda dump: store.parquet(target.asset, dump, partition.shard), partition.dump),
                    **_describe(target, corpus.key_column),
                },
            )

    return segmented


def _libraries(profile: TextProfile) -> dict[str, str]:
    return library_versions("pyarrow", *(("neologdn",) if profile == "seed" else ()))


def _reused(previous: PreviousSegmented, key: int, lines: TextCell, stats: ReuseStats) -> TextCell | None:
    """Return what there is for the same lines of the same document; None if they are new."""
    found = previous.seek(key)
    if found is None or found[0] not in (None, lines):
        return None
    stats.count_reused(lines.characters)
    return found[1]


def _chunks(source: ParquetArtifact, corpus: Corpus) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows in chunks that keep the engine busy and memory bounded."""
    return batches(
        read_text_rows(source.path, corpus.segmented_schema.names),
        max_items=_CHUNK_ROWS,
        max_size=_CHUNK_CHARACTERS,
        size=lambda row: row[-1].characters,
    )


def _describe(target: ParquetArtifact, key_column: str) -> Mapping[str, Any]:
    rows = islice(read_rows(target.path), 200)
    sentences = ((str(key), line[0]) for key, *_, lines in rows for line in lines[1:2] if line)
    return {"preview": preview((key_column, "sentence"), islice(sentences, 6))}
